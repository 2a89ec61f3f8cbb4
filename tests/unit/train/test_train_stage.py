"""The stage on a hand-made training window: what it publishes, when it repeats nothing, what it refuses."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nightshift.errors import DataError, SpecError
from nightshift.model.booster import load_booster, predict
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.plan import Interval, Plan
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Store
from nightshift.train import run
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Impute

SPEC: dict[str, Any] = {
    "version": 1,
    "model": "parcels",
    "owner": "tests@example.com",
    "source": {"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "sent_at"},
    "key": ["parcel"],
    "prepare": "parcels.sql",
    "label": {"column": "days_late", "positive": ">= 1", "delay": "1d"},
    "features": {"numeric": ["weight", "unused"], "categorical": ["lane"]},
    "window": {"train": "7d", "holdout": "3d"},
    "training": {"engine": "xgboost", "params": {"n_estimators": 20, "max_depth": 3, "subsample": 0.7}},
    "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
}
TRANSFORMS = Transforms(
    (NumericColumn("weight", (Impute(1.0),)), NumericColumn("unused")),
    (CategoricalColumn("lane", "one_hot", 9, ("air", "sea")),),
)


def plan_of(tmp_path: Path, **training: Any) -> Plan:
    return Plan(
        spec=ModelSpec.model_validate({**SPEC, "training": {**SPEC["training"], **training}}),
        interval=Interval.of_day(date(2024, 3, 1)),
        storage=(tmp_path / "store").as_uri(),
        env="dev",
        mlflow_uri="unused",
        run_id="test",
        trigger="test",
        threads=1,
        code_version="test",
    )


def window(rows: int = 600) -> pa.Table:
    rng = np.random.default_rng(11)
    weight = rng.uniform(0, 5, rows).astype(np.float32)
    lane = rng.integers(3, size=rows)
    vectors = np.column_stack([weight, np.zeros(rows), lane == 0, lane == 1]).astype(np.float32)
    labels = (rng.random(rows) < 1 / (1 + np.exp(4 - weight - 2 * vectors[:, 3]))).astype(np.int8)
    return pa.table(
        {
            "weight": weight,
            "unused": np.zeros(rows),
            "lane": pa.array(np.array(["air", "sea", "road"], object)[lane]),
            "__features": pa.array(list(vectors), pa.list_(pa.float32())),
            "__label": labels,
        }
    )


def preprocessed(plan: Plan, scratch: Path, table: pa.Table) -> StageIO:
    """Publish what preprocess would."""
    store = Store.of(plan)
    attempt = store.attempt("preprocess", plan.interval.key)
    attempt.put("transforms.json", TRANSFORMS.to_json())
    attempt.put_table("train", table)
    for name, rows in (("probe", table.slice(0, 20)), ("holdout", table.slice(20, 100))):
        attempt.put_table(name, rows)
    manifest = attempt.publish(stage_key="given", code="test")
    return StageIO(store, {"preprocess": manifest.ref}, scratch)


def read(io: StageIO, result: StageResult, path: str) -> bytes:
    assert result.ref is not None
    return io.store.read(io.store.resolve(result.ref), path)


def test_parameters_that_xgboost_refuses_are_the_specs_fault(tmp_path: Path) -> None:
    """Whatever the rules of a spec let through: never an error that another try might pass."""
    plan = plan_of(tmp_path)
    params = {**plan.spec.training.params, "learning_rate": 1e-60}
    training = plan.spec.training.model_copy(update={"params": params})
    with pytest.raises(SpecError, match="xgboost does not take the parameters: Out of range value for learning_rate"):
        run(
            replace(plan, spec=plan.spec.model_copy(update={"training": training})),
            preprocessed(plan, tmp_path, window()),
        )
    wide = training.model_copy(update={"params": {}, "seed": 2**63})
    with pytest.raises(SpecError, match="xgboost does not take the parameters: Invalid Parameter format for seed"):
        run(replace(plan, spec=plan.spec.model_copy(update={"training": wide})), preprocessed(plan, tmp_path, window()))


def test_it_publishes_a_graph_that_agrees_with_its_booster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    plan = plan_of(tmp_path)
    table = window()
    io = preprocessed(plan, tmp_path, table)

    result = run(plan, io)

    graph, booster = read(io, result, "graph.onnx"), read(io, result, "booster.ubj")
    card = json.loads(read(io, result, "model.json"))
    assert (result.stage, result.status, result.reused) == ("train", "succeeded", False)
    assert result.summary["model_digest"] == hashlib.sha256(graph).hexdigest() == card["graph_sha256"]
    assert card["artifacts"] == {"booster.ubj": hashlib.sha256(booster).hexdigest()}
    assert {key: result.summary[key] for key in ("engine", "size", "train_rows", "features", "fitted_until")} == {
        "engine": "xgboost", "size": "20 trees", "train_rows": 600, "features": 4, "fitted_until": "2024-02-27T00:00:00+00:00",
    }  # fmt: skip
    assert card["train_window"] == ["2024-02-20T00:00:00+00:00", card["fitted_until"]]
    assert card["feature_names"] == ["weight", "unused", "lane=air", "lane=sea"]
    assert card["request"] == [["weight", "numeric"], ["unused", "numeric"], ["lane", "categorical"]]
    assert (card["params"], card["seed"], card["threads"]) == (SPEC["training"]["params"], 0, 1)

    scorer = Scorer.load(graph, digest=card["graph_sha256"])
    vectors = np.array(table.column("__features").to_pylist(), np.float32)
    by_booster = predict(load_booster(booster), vectors)
    compare(by_booster, scorer.score(table), threshold=card["threshold"]).require()
    assert scorer.labels(table).tolist() == (scorer.score(table) >= np.float32(card["threshold"])).tolist()
    assert "train: round 20/20 logloss 0." in caplog.text


def test_importances_are_told_by_request_column(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    io = preprocessed(plan, tmp_path, window())

    result = run(plan, io)

    card = json.loads(read(io, result, "model.json"))
    gains = load_booster(read(io, result, "booster.ubj")).get_score(importance_type="total_gain")
    assert list(card["importances"]) == ["lane", "unused", "weight"]
    assert card["importances"]["lane"] == pytest.approx(gains.get("f2", 0) + gains.get("f3", 0))
    assert card["importances"]["weight"] == pytest.approx(gains["f0"])
    assert card["importances"]["unused"] == 0


def test_the_same_inputs_are_not_trained_on_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    io = preprocessed(plan, tmp_path, window())
    first = run(plan, io)

    again = run(plan, io)

    assert again.reused
    assert again.ref == first.ref
    assert run(plan_of(tmp_path, seed=1), io).ref != first.ref


def test_a_threshold_of_the_spec_is_used(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, threshold=0.3)
    io = preprocessed(plan, tmp_path, window())

    result = run(plan, io)

    assert result.summary["threshold"] == float(np.float32(0.3))
    scorer = Scorer.load(read(io, result, "graph.onnx"))
    assert scorer.labels(window()).tolist() == (scorer.score(window()) >= np.float32(0.3)).tolist()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 0], "has negatives only"),
        ([1, 1, 1], "has positives only"),
        ([0, 1, 2], r"has the labels \[0, 1, 2\]"),
        ([0, 1, None], "1 rows of the training window are unlabelled"),
        ([], "has no rows"),
    ],
)
def test_windows_that_teach_nothing_are_refused(tmp_path: Path, labels: list[int | None], words: str) -> None:
    table = window().slice(0, len(labels)).set_column(4, "__label", pa.array(labels, pa.int8()))
    plan = plan_of(tmp_path)
    io = preprocessed(plan, tmp_path, table)

    with pytest.raises(DataError, match=words):
        run(plan, io)
    assert io.store.latest("train", plan.interval.key) is None
