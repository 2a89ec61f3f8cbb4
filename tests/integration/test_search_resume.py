"""A search that is killed goes on where it was, and says the same as one that was left alone."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.trained_night import publish_preprocess, small_plan, small_spec

from nightshift import train
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store

SEARCH = {
    "trials": 8,
    "folds": 2,
    "parallel": 2,
    "params": {"max_depth": [1, 5], "learning_rate": {"low": 0.05, "high": 0.5, "log": True}},
    "engines": [{"engine": "xgboost", "params": {"n_estimators": 4, "reg_lambda": [0, 5]}}],
}
CHILD = """
import json, logging, sys
from pathlib import Path
from nightshift import train
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
folder = Path(sys.argv[1])
plan = Plan.from_json((folder / "plan.json").read_bytes())
train.run(plan, StageIO(Store.of(plan), {"preprocess": Ref(**json.loads(sys.argv[2]))}, folder))
"""


def prepared(root: Path) -> tuple[Plan, Ref]:
    root.mkdir()
    spec = small_spec(training={"engine": "xgboost", "params": {"n_estimators": 6}, "search": SEARCH})
    plan = replace(small_plan(root, spec=spec), threads=2)
    (root / "plan.json").write_bytes(plan.to_json())
    return plan, publish_preprocess(plan)


def finished(plan: Plan, given: Ref, root: Path) -> tuple[str, dict[str, Any]]:
    store = Store.of(plan)
    result = train.run(plan, StageIO(store, {"preprocess": given}, root))
    assert result.ref is not None
    study = json.loads(store.read(store.resolve(result.ref), "search.json"))
    assert list(store.objects.walk("search/")) == []
    return result.ref.digest, {**study, "trials": [{**one, "seconds": None} for one in study["trials"]]}


def test_a_killed_search_goes_on_and_says_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan, given = prepared(tmp_path / "killed")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "killed"), json.dumps(vars(given))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert child.stdout is not None
    told = next(line for line in child.stdout if line.startswith("search: trial 3 "))
    child.send_signal(signal.SIGKILL)
    child.stdout.close()
    assert child.wait(60) == -signal.SIGKILL, told
    store = Store.of(plan)
    records = [stored.name for stored in store.objects.walk("search/")]
    assert len(records) >= 4
    assert store.taken("train", plan.interval.key) == []

    caplog.set_level(logging.INFO, "nightshift")
    resumed = finished(plan, given, tmp_path / "killed")

    assert f"search: {len(records)} results of an earlier try are there" in caplog.text
    assert resumed == finished(*prepared(tmp_path / "undisturbed"), tmp_path / "undisturbed")


def test_a_kill_after_every_single_result_loses_none(tmp_path: Path) -> None:
    """The same at the point where a record has just been written, twice in a row."""
    plan, given = prepared(tmp_path / "killed")
    for after in (1, 2):
        died = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "killed"), json.dumps(vars(given))],
            env={**os.environ, "NIGHTSHIFT_CRASH_AT": "search:mid_write"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        assert len(list(Store.of(plan).objects.walk("search/"))) >= after
    assert finished(plan, given, tmp_path / "killed") == finished(*prepared(tmp_path / "whole"), tmp_path / "whole")
