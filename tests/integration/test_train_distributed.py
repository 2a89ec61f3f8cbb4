"""Training on two workers of a local Spark: as good as native training, the same every time, and no worse guarded."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score
from tests.fakes.training_window import PARAMS, given, rows_of

from nightshift.errors import DataError, IntegrityError, SpecError
from nightshift.model.booster import feature_matrix, load_booster, predict
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.stage import StageIO, StageResult
from nightshift.train import run
from nightshift.train.threshold import Ranking, max_f1

# Py4J leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.jvm,
    pytest.mark.usefixtures("spark"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

ROWS = 20_000
# How far a distributed model's ROC AUC may be from the native one's: half of what a gate tolerates by default.
TOLERANCE = 0.0025


class Trained:
    """A model with everything that a test looks at."""

    def __init__(self, io: StageIO, result: StageResult) -> None:
        assert result.ref is not None
        manifest = io.store.resolve(result.ref)
        self.summary = result.summary
        self.booster = io.store.read(manifest, "booster.ubj")
        self.graph = io.store.read(manifest, "graph.onnx")
        self.card: dict[str, Any] = json.loads(io.store.read(manifest, "model.json"))

    def probabilities(self, table: pa.Table) -> np.ndarray[Any, Any]:
        return predict(load_booster(self.booster), feature_matrix(table["__features"], 7))


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return rows_of(ROWS)


@pytest.fixture(scope="module")
def native(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    plan, io = given(tmp_path_factory.mktemp("native"), table)
    return Trained(io, run(plan, io))


@pytest.fixture(scope="module")
def distributed(spark: object, table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    plan, io = given(tmp_path_factory.mktemp("distributed"), table, workers=2)
    return Trained(io, run(plan, io))


def test_the_quality_is_that_of_native_training(native: Trained, distributed: Trained) -> None:
    unseen = rows_of(ROWS, seed=2)
    labels = unseen["__label"].to_numpy()
    one, two = (roc_auc_score(labels, model.probabilities(unseen)) for model in (native, distributed))

    assert one > 0.8
    assert abs(one - two) <= TOLERANCE


def test_the_graph_agrees_with_its_booster(distributed: Trained) -> None:
    unseen = rows_of(5_000, seed=3)
    scorer = Scorer.load(distributed.graph, digest=distributed.card["graph_sha256"])
    found = compare(distributed.probabilities(unseen), scorer.score(unseen), threshold=distributed.card["threshold"])
    assert found.require().rows == len(unseen)


def test_model_and_summary_say_what_native_ones_say(native: Trained, distributed: Trained) -> None:
    own = {"workers", "threshold", "graph_sha256", "artifacts", "importances"}
    assert native.card.keys() == distributed.card.keys()
    assert {key for key in native.card if native.card[key] != distributed.card[key]} == own
    assert (native.card["workers"], distributed.card["workers"]) == (1, 2)
    assert native.summary.keys() == distributed.summary.keys()
    for key in ("engine", "size", "train_rows", "features", "fitted_until"):
        assert native.summary[key] == distributed.summary[key]
    assert list(native.card["importances"]) == list(distributed.card["importances"])
    for name, gain in native.card["importances"].items():
        assert distributed.card["importances"][name] == pytest.approx(gain, rel=0.3)


def test_the_threshold_is_that_of_the_largest_f1(table: pa.Table, distributed: Trained) -> None:
    labels, probabilities = table["__label"].to_numpy(), distributed.probabilities(table)

    def f1(threshold: float) -> float:
        called = probabilities >= np.float32(threshold)
        return float(2 * (labels & called).sum() / (labels.sum() + called.sum()))

    assert f1(distributed.card["threshold"]) >= f1(max_f1(Ranking.of(labels, probabilities))) - 1e-4


def test_the_same_rows_in_other_files_give_the_same_model(
    table: pa.Table, distributed: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    plan, io = given(tmp_path, table.take(np.arange(ROWS)[::-1]), files=5, workers=2)
    again = Trained(io, run(plan, io))

    assert (again.booster, again.graph) == (distributed.booster, distributed.graph)
    assert "xgboost on 20000 rows x 7 features, " in caplog.text
    assert "train: round 60/60 logloss 0." in caplog.text


def test_a_result_of_as_many_workers_is_not_trained_again(tmp_path: Path) -> None:
    plan, io = given(tmp_path, rows_of(1_000), workers=2, params={"n_estimators": 2}, threshold=0.5)
    first, second = run(plan, io), run(plan, io)

    assert (first.reused, second.reused) == (False, True)
    assert first.summary["threshold"] == 0.5
    training = plan.spec.training.model_copy(update={"workers": 1})
    other = run(replace(plan, spec=plan.spec.model_copy(update={"training": training})), io)
    assert not other.reused


def test_more_workers_than_slots_end_at_once(tmp_path: Path) -> None:
    plan, io = given(tmp_path, rows_of(2_000), workers=3)
    with pytest.raises(SpecError, match=r"training\.workers is 3.*has 2 slots") as raised:
        run(plan, io)
    assert "NIGHTSHIFT_THREADS" in str(raised.value)


def test_a_window_that_native_training_refuses_is_refused(tmp_path: Path) -> None:
    rows = rows_of(1_000)
    place = rows.column_names.index("__label")
    cases = {
        "negatives only": pa.array([0] * 1_000, pa.int8()),
        "positives only": pa.array([1] * 1_000, pa.int8()),
        "unlabelled": pa.array([None, *[0, 1] * 499, 0], pa.int8()),
    }
    for words, labels in cases.items():
        plan, io = given(tmp_path / words, rows.set_column(place, "__label", labels), workers=2)
        with pytest.raises(DataError, match=words):
            run(plan, io)


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    rows = rows_of(1_000)
    vectors = pa.array([[1.0] * (6 if number == 17 else 7) for number in range(1_000)], pa.list_(pa.float32()))
    changed = rows.set_column(rows.column_names.index("__features"), "__features", vectors)
    plan, io = given(tmp_path, changed, workers=2)
    with pytest.raises(DataError, match="vectors of 7 numbers were expected, but their lengths go from 6 to 7"):
        run(plan, io)


def test_too_few_rows_for_the_workers_are_refused(tmp_path: Path) -> None:
    plan, io = given(tmp_path, rows_of(199), workers=2)
    with pytest.raises(DataError, match="199 rows, too few for 2 workers"):
        run(plan, io)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    plan, io = given(tmp_path, rows_of(1_000), workers=2)
    victim = next((tmp_path / "store").rglob("part-00001.parquet"))
    victim.write_bytes((victim.parent / "part-00000.parquet").read_bytes())
    with pytest.raises(IntegrityError, match=r"1 of 2 files .* other bytes than were published.*part-00001\.parquet"):
        run(plan, io)
    victim.unlink()
    with pytest.raises(IntegrityError, match=r"part-00001\.parquet is gone; preprocess/2024-03-01@1 lists it"):
        run(plan, io)


def test_the_parameters_reach_the_workers(tmp_path: Path) -> None:
    """A parameter that is ignored would leave the model as it is."""
    digests = set()
    for number, change in enumerate(
        (
            {},
            {"max_depth": 2},
            {"max_bin": 16},
            {"reg_lambda": 50},
            {"gamma": 20},
            {"scale_pos_weight": 4},
            {"base_score": 0.1},
        )
    ):
        params = {**PARAMS, "n_estimators": 5, **change}
        plan, io = given(tmp_path / str(number), rows_of(1_000), workers=2, params=params, threshold=0.5)
        digests.add(run(plan, io).summary["model_digest"])
    plan, io = given(
        tmp_path / "seed", rows_of(1_000), workers=2, params={**PARAMS, "n_estimators": 5}, threshold=0.5, seed=6
    )
    digests.add(run(plan, io).summary["model_digest"])
    assert len(digests) == 8
