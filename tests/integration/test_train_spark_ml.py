"""Every algorithm of Spark ML on every task it learns: the graph says what Spark says, and the same again gives the same."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from tests.fakes.training_window import LANES, NUMBERS, given, rows_of

from nightshift.errors import DataError, JobError, SpecError
from nightshift.model.scores import REFERENCE, from_column
from nightshift.model.session import Scorer
from nightshift.plan import Plan
from nightshift.register.parity_gate import ParityReport, require_parity
from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_ml_params import ALGORITHMS
from nightshift.spec.values import Task
from nightshift.stage import StageIO, StageResult
from nightshift.train import run
from nightshift.train.engines import spark_trees
from nightshift.train.feature_moments import Moments, moments_of

# Py4J leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.jvm,
    pytest.mark.long,
    pytest.mark.usefixtures("spark"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

ROWS = 2_000
CLASSES = ("early", "due", "late")
PARAMS: dict[str, dict[str, Any]] = {
    "logistic_regression": {"reg_param": 0.01, "max_iter": 8},
    "linear_regression": {},
    "random_forest": {"num_trees": 4, "max_depth": 5, "feature_subset_strategy": 0.7, "subsampling_rate": 0.8},
    "gbt": {"max_iter": 4, "max_depth": 3, "step_size": 0.3},
}
CASES = [(algorithm, task) for task, algorithms in ALGORITHMS.items() for algorithm in algorithms]


GATES: dict[Task, dict[str, Any]] = {
    "binary": {"minimum": 0.6},
    "multiclass": {"metric": "accuracy", "minimum": 0.3},
    "regression": {"metric": "rmse", "maximum": 90, "versus_champion": {"margin": 0.5}},
}


def asked(plan: Plan, task: Task, **training: Any) -> Plan:
    """The same plan with another question, as a spec says it."""
    label: dict[str, Any] = {"column": "days_late", "task": task, "delay": "1d"}
    label |= {"binary": {"positive": ">= 1"}, "multiclass": {"classes": CLASSES}, "regression": {}}[task]
    versus = {**GATES[task].get("versus_champion", {}), "least": {"days": 2}}
    changed = {"label": label, "gates": {**GATES[task], "versus_champion": versus}, "training": training}
    return replace(plan, spec=ModelSpec.model_validate({**plan.spec.model_dump(mode="json"), **changed}))


def relabelled(table: pa.Table, task: Task) -> pa.Table:
    """Labels of the task, from the same features."""
    if task == "binary":
        return table
    vectors = np.nan_to_num(np.array(table.column("__features").to_pylist()))
    value = 40 * vectors[:, 0] + 25 * vectors[:, 5] + 100 + np.random.default_rng(7).normal(scale=10, size=len(table))
    labels = value if task == "regression" else np.digitize(value, [80, 120]).astype(np.int8)
    return table.set_column(table.column_names.index("__label"), "__label", pa.array(labels))


def rows_beside(table: pa.Table, places: dict[int, list[float]]) -> pa.Table:
    """Rows of a holdout: real ones, and some with a number at or beside a place where a tree divides, nothing, or
    a number as large as there is; lanes that were seen, others, and none."""
    chance = np.random.default_rng(3)
    numbers = np.array([table.column(name).to_pylist() for name in NUMBERS], np.float32).T[:400]
    lanes = chance.choice(np.array([*LANES, "rail", "", None], object), len(numbers))
    for row in range(200):
        for place, values in places.items():
            numbers[row, place] = chance.choice(np.array(values, np.float32))
    numbers[190] = np.nan
    for row, place in enumerate(range(len(NUMBERS)), 191):
        numbers[row, place] = 3.4e38 if row % 2 else -3.4e38
    vectors = np.column_stack([numbers, *(lanes == lane for lane in LANES)]).astype(np.float32)
    return pa.table(
        {
            **{name: numbers[:, place] for place, name in enumerate(NUMBERS)},
            "lane": pa.array(lanes),
            "__features": pa.array(list(vectors), pa.list_(pa.float32())),
        }
    )


@dataclass(frozen=True)
class Trained:
    """What a run published."""

    io: StageIO
    result: StageResult

    def read(self, name: str) -> bytes:
        assert self.result.ref is not None
        return self.io.store.read(self.io.store.resolve(self.result.ref), name)

    @property
    def card(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.read("model.json"))
        return told

    def scores(self, table: pa.Table) -> np.ndarray[Any, Any]:
        return Scorer.load(self.read("graph.onnx")).score(table)

    def parity(self) -> ParityReport:
        """What stage register demands."""
        assert self.result.ref is not None
        io = StageIO(self.io.store, {**self.io.upstream, "train": self.result.ref}, self.io.scratch)
        return require_parity(io, Scorer.load(self.read("graph.onnx"), digest=self.card["graph_sha256"]))


def trained(
    root: Path,
    table: pa.Table,
    algorithm: str,
    task: Task = "binary",
    *,
    params: dict[str, Any] | None = None,
    files: int = 2,
    holdout: pa.Table | None = None,
    **training: Any,
) -> Trained:
    chosen = {"algorithm": algorithm, **(PARAMS[algorithm] if params is None else params)}
    change = partial(asked, task=task, **{"engine": "spark_ml", "params": chosen, "seed": 5, **training})
    plan, io = given(root, table, files=files, holdout=holdout, change=change)
    return Trained(io, run(plan, io))


def divided_at(model: Trained) -> dict[int, list[float]]:
    """By feature, float32 numbers at and beside the thresholds of a model's trees."""
    if "trees.json" not in model.card["artifacts"]:
        return {place: [0.0, 1.0] for place in range(len(NUMBERS))}
    nodes = [node for tree in json.loads(model.read("trees.json"))["trees"] for node in tree]
    places: dict[int, list[float]] = {}
    for node in nodes:
        place = node["split"]["featureIndex"]
        if 0 <= place < len(NUMBERS):
            near = np.float32(node["split"]["leftCategoriesOrThreshold"][0])
            beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
            places.setdefault(place, []).extend(map(float, (near, *beside)))
    return places


def quality(task: Task, table: pa.Table, scores: np.ndarray[Any, Any]) -> float:
    """Larger is better, and 0 is a guess."""
    labels = table.column("__label").to_numpy()
    if task == "binary":
        return 2 * float(roc_auc_score(labels, scores)) - 1
    if task == "regression":
        return float(r2_score(labels, scores))
    sums = scores.astype(float)
    return 1 - float(log_loss(labels, sums / sums.sum(axis=1, keepdims=True))) / float(np.log(3))


@pytest.mark.parametrize(("algorithm", "task"), CASES)
def test_the_graph_says_what_spark_says_and_the_same_again_gives_the_same(
    algorithm: str, task: Task, tmp_path: Path
) -> None:
    table, unseen = (relabelled(rows_of(ROWS, seed=seed), task) for seed in (1, 2))
    first = trained(tmp_path / "first", table, algorithm, task)
    beside = rows_beside(table, divided_at(first))
    again = trained(tmp_path / "again", table.take(np.arange(ROWS)[::-1]), algorithm, task, files=5, holdout=beside)

    assert first.parity().rows == 250
    assert again.parity().tables["holdout"].rows == len(beside)
    for name in ("graph.onnx", "model.json", *first.card["artifacts"]):
        assert first.read(name) == again.read(name)
    assert quality(task, unseen, first.scores(unseen)) > 0.3
    importances = first.card["importances"]
    assert importances["weight"] > 2 * importances["noise"]
    assert first.card["params"].items() >= {"algorithm": algorithm, **PARAMS[algorithm]}.items() - {
        ("feature_subset_strategy", 0.7)
    }
    assert (first.card["threshold"] is None) == (task != "binary")
    assert first.result.summary["engine"] == "spark_ml"


def test_a_forest_of_one_leaf_and_a_window_without_a_value(tmp_path: Path) -> None:
    table = rows_of(400)
    vectors = np.array(table.column("__features").to_pylist(), np.float32)
    vectors[:, 4] = np.nan
    bare = table.set_column(table.column_names.index("noise"), "noise", pa.array(vectors[:, 4]))
    lists = pa.array(list(vectors), pa.list_(pa.float32()))
    bare = bare.set_column(bare.column_names.index("__features"), "__features", lists)
    model = trained(tmp_path, bare, "random_forest", "binary", params={"num_trees": 1, "max_depth": 0}, threshold=0.5)

    assert model.parity().rows == 250
    assert model.card["size"] == "1 trees, 1 nodes"
    assert json.loads(model.read("trees.json"))["filled_with"][4] == 0
    reference = from_column(model.io.store.read_table(model.io.store.resolve(model.result.ref), "reference")[REFERENCE])  # type: ignore[arg-type]
    assert set(reference.tolist()) == set(model.scores(bare.slice(0, 9)).tolist())


def test_a_model_of_the_same_window_is_not_learned_again_but_another_seed_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    params = {"algorithm": "random_forest", "num_trees": 2, "max_depth": 2}
    plan, io = given(tmp_path, rows_of(500), engine="spark_ml", params=params, threshold=0.5)
    first, second = run(plan, io), run(plan, io)
    training = plan.spec.training.model_copy(update={"seed": 6})
    other = run(replace(plan, spec=plan.spec.model_copy(update={"training": training})), io)

    assert (first.reused, second.reused, other.reused) == (False, True, False)
    assert first.summary["model_digest"] != other.summary["model_digest"]
    assert "train: spark_ml on 500 rows x 7 features, " in caplog.text
    assert "random_forest, 2 portions" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"__label": pa.array([1] * 400, pa.int8())}, "positives only"),
        ({"__label": pa.array([None, *[0, 1] * 199, 0], pa.int8())}, "unlabelled"),
        ({"__features": pa.array([[1.0] * 6] * 400, pa.list_(pa.float32()))}, "vectors of 7 numbers were expected"),
    ],
)
def test_a_window_that_nothing_can_be_learned_from(change: dict[str, pa.Array], said: str, tmp_path: Path) -> None:
    table = rows_of(400)
    for name, column in change.items():
        table = table.set_column(table.column_names.index(name), name, column)
    with pytest.raises(DataError, match=said):
        trained(tmp_path, table, "gbt")


def test_what_spark_fails_with_has_a_form(tmp_path: Path) -> None:
    table = rows_of(400)
    vectors: list[list[float | None]] = table.column("__features").to_pylist()
    vectors[300][2] = None
    column = pa.array(vectors, pa.list_(pa.float32()))
    broken = table.set_column(table.column_names.index("__features"), "__features", column)
    with pytest.raises(JobError, match=r"training with gbt failed on Spark: .*1 numbers inside the vectors are null"):
        trained(tmp_path, broken, "gbt")


def test_trees_beyond_what_a_graph_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_trees, "MOST_ENTRIES", 10)
    with pytest.raises(
        SpecError, match=r"the 4 trees have \d+ nodes, which are \d+ entries of a graph; 10 are the most"
    ):
        trained(tmp_path, rows_of(400), "gbt")


KILLED = """
import logging, os, sys
from pathlib import Path
from pyspark import SparkContext
from tests.fakes.training_window import given, rows_of
from nightshift.errors import JobError
from nightshift.train import run

class EndOfJava(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("train: spark_ml on "):
            os.kill(SparkContext._gateway.proc.pid, 9)

logging.getLogger("nightshift").addHandler(EndOfJava())
logging.getLogger("nightshift").setLevel(logging.INFO)
plan, io = given(Path(sys.argv[1]), rows_of(1_000), engine="spark_ml", params={"algorithm": "gbt", "max_iter": 5})
try:
    run(plan, io)
except JobError as error:
    print("told:", error.message, SparkContext._active_spark_context)
"""


def test_a_jvm_that_is_gone_is_a_job_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert re.search(r"told: (training with gbt failed on Spark|Spark's JVM ended).* None$", done.stdout, re.M), done


def test_moments_are_those_of_numpy(spark: Any) -> None:
    chance = np.random.default_rng(4)
    matrix = (chance.normal(size=(999, 4)) * [1, 1e-3, 1e6, 1] + [0, 1e4, 0, 0]).astype(np.float32)
    matrix[chance.random(matrix.shape) < 0.3] = np.nan
    matrix[:, 3] = np.nan
    rows = spark.createDataFrame(pa.table({"__features": pa.array(list(matrix), pa.list_(pa.float32()))}))
    found = moments_of(rows.repartition(3), 4)
    values = matrix.astype(np.float64)[:, :3]

    assert found.rows.tolist() == [*(~np.isnan(values)).sum(axis=0), 0]
    assert np.allclose(found.mean[:3], np.nanmean(values, axis=0), rtol=1e-13)
    assert np.allclose(found.spread[:3], np.nanvar(values, axis=0) * found.rows[:3], rtol=1e-9)
    assert (found.mean[3], found.spread[3]) == (0, 0)
    whole = Moments.of(matrix[:400]) + Moments.of(matrix[400:400]) + Moments.of(matrix[400:])
    assert np.allclose(whole.mean, found.mean, rtol=1e-13)
