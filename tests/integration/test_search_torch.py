"""A search that tries networks: one at a time in a process, without checkpoints, and not where there is no torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.fakes.trained_night import publish_preprocess, small_plan, small_spec

from nightshift import train
from nightshift.errors import EngineNotInstalled
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Store
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.search import run

pytestmark = pytest.mark.torch
# Py4J leaves its sockets to the garbage collector.
with_spark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
NETWORK = {"epochs": 3, "hidden_width": 16, "batch_size": 32}
SPACE = {"learning_rate": {"low": 0.001, "high": 0.05, "log": True}, "dropout": [0.0, 0.5]}


def plan_of(root: Path, **search: Any) -> Plan:
    asked = {"trials": 4, "folds": 2, "parallel": 2, "params": SPACE, **search}
    training = {"engine": "torch", "params": NETWORK, "search": asked}
    return replace(small_plan(root, spec=small_spec(training=training)), threads=2)


def study_of(root: Path, **search: Any) -> tuple[str, dict[str, Any]]:
    root.mkdir(exist_ok=True)
    plan = plan_of(root, **search)
    store = Store.of(plan)
    result = train.run(plan, StageIO(store, {"preprocess": publish_preprocess(plan)}, root))
    assert result.ref is not None
    study = json.loads(store.read(store.resolve(result.ref), "search.json"))
    return result.ref.digest, {**study, "trials": [{**one, "seconds": None} for one in study["trials"]]}


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those that are written."""
    written: list[str] = []
    real = Checkpoints.write

    def write(self: Checkpoints, name: str, data: bytes) -> None:
        written.append(name)
        real(self, name, data)

    monkeypatch.setattr(Checkpoints, "write", write)
    return written


def test_networks_side_by_side_say_what_they_say_alone(tmp_path: Path, checkpoints: list[str]) -> None:
    """Torch's random numbers, threads and settings are those of the whole process."""
    trees = [{"engine": "xgboost", "params": {"n_estimators": [2, 9]}}]
    first, again = (study_of(tmp_path / name, trials=8, parallel=4, engines=trees) for name in ("a", "b"))
    assert first == again
    assert {one["engine"] for one in first[1]["trials"]} == {"torch", "xgboost"}
    assert all(one["state"] != "failed" for one in first[1]["trials"])
    # The training at the end leaves one after each epoch, a trial none.
    assert len(checkpoints) in (0, 2 * NETWORK["epochs"])


def test_a_trial_leaves_no_checkpoint(tmp_path: Path, checkpoints: list[str]) -> None:
    study_of(tmp_path, trials=2, folds=1)
    assert len(checkpoints) == NETWORK["epochs"]
    assert len(set(checkpoints)) == 1


@pytest.mark.jvm
@pytest.mark.long
@with_spark
def test_networks_on_slots_say_what_threads_say(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = study_of(tmp_path / "threads", trials=2)
    monkeypatch.setattr(run, "submitted_to", lambda: "standalone")
    assert study_of(tmp_path / "slots", trials=2) == here


@pytest.mark.jvm
@with_spark
def test_executors_without_torch_end_the_search(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no property of a point: the trees would win, and nobody would know that no network was ever tried."""
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    monkeypatch.setitem(spark.sparkContext.environment, "PYTHONPATH", str(broken.parent))
    monkeypatch.setattr(run, "submitted_to", lambda: "standalone")
    trees = [{"engine": "xgboost", "params": {"n_estimators": [2, 9]}}]
    with pytest.raises(
        EngineNotInstalled, match=r"torch cannot be imported where a trial ran .*No module named 'torch'"
    ):
        study_of(tmp_path / "night", engines=trees)
