"""A search with Spark: trials on its slots, and trials that each train on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.fakes.trained_night import publish_preprocess, small_plan, small_spec

from nightshift import train
from nightshift.model.session import Scorer
from nightshift.plan import Plan
from nightshift.register.parity_gate import require_parity
from nightshift.stage import StageIO
from nightshift.storage import Store
from nightshift.train.search import on_spark, run

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]
PARAMS = {"max_depth": [1, 5], "learning_rate": {"low": 0.05, "high": 0.5, "log": True}}


def plan_of(root: Path, *, workers: int = 1, **search: Any) -> Plan:
    asked = {"folds": 2, "params": PARAMS, **search}
    training = {"engine": "xgboost", "params": {"n_estimators": 6}, "workers": workers, "search": asked}
    return replace(small_plan(root, spec=small_spec(training=training)), threads=2)


def study_of(plan: Plan, root: Path) -> tuple[str, dict[str, Any]]:
    store = Store.of(plan)
    root.mkdir(exist_ok=True)
    result = train.run(plan, StageIO(store, {"preprocess": publish_preprocess(plan)}, root))
    assert result.ref is not None
    study = json.loads(store.read(store.resolve(result.ref), "search.json"))
    return result.ref.digest, {**study, "trials": [{**one, "seconds": None} for one in study["trials"]]}


def test_trials_on_slots_say_what_threads_say(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[int] = []
    measured = on_spark.OnSpark._measure

    def counted(self: on_spark.OnSpark, unit: Any) -> Any:
        tasks.append(unit.fold)
        return measured(self, unit)

    monkeypatch.setattr(on_spark.OnSpark, "_measure", counted)
    here = study_of(plan_of(tmp_path / "threads", trials=4, parallel=2), tmp_path / "threads")
    assert tasks == []
    monkeypatch.setattr(run, "submitted_to", lambda: "standalone")
    there = study_of(plan_of(tmp_path / "slots", trials=4, parallel=2), tmp_path / "slots")
    assert sorted(tasks) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert there == here


@pytest.mark.long
def test_each_trial_may_be_distributed_itself(spark: SparkSession, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, trials=2, folds=1, workers=2)
    _, study = study_of(plan, tmp_path / "night")
    assert [one["error"] for one in study["trials"]] == [None, None]
    [fold] = study["folds"]
    assert (fold["learned"]["rows"], fold["judged"]["rows"]) == (4 * 250, 3 * 250)
    assert all(0.7 < one["mean"] < 1 for one in study["trials"])


@pytest.mark.long
def test_one_study_chooses_between_engines(spark: SparkSession, tmp_path: Path) -> None:
    others = [{"engine": "spark_ml", "params": {"algorithm": "logistic_regression", "max_iter": [3, 6]}}]
    plan = plan_of(tmp_path, trials=4, folds=1, engines=others)
    _, study = study_of(plan, tmp_path / "night")
    assert {one["engine"] for one in study["trials"]} == {"xgboost", "spark_ml"}
    assert [one["error"] for one in study["trials"]] == [None] * 4
    store = Store.of(plan)
    trained = store.latest("train", plan.interval.key)
    assert trained is not None
    best = max(study["trials"], key=lambda one: one["mean"])
    assert json.loads(store.read(trained, "model.json"))["engine"] == best["engine"] == trained.result["engine"]
    preprocess = trained.inputs["preprocess"]
    io = StageIO(store, {"preprocess": preprocess, "train": trained.ref}, tmp_path)
    assert require_parity(io, Scorer.load(store.read(trained, "graph.onnx"))).rows > 700
