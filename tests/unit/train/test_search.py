"""The search on a small night: what it publishes, what it never looks at, and that nothing but the seed decides."""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.fakes.trained_night import publish_preprocess, small_plan, small_spec

from nightshift import train
from nightshift.errors import DataError, EngineNotInstalled, JobError, StorageError
from nightshift.plan import Plan, digest_of
from nightshift.spec import engines
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Store
from nightshift.train.engines import xgboost as native
from nightshift.train.search import trials

pytestmark = pytest.mark.thorough

PARAMS = {"max_depth": [1, 4], "learning_rate": {"low": 0.05, "high": 0.5, "log": True}}
SEARCH: dict[str, Any] = {"trials": 6, "folds": 2, "params": PARAMS}


def plan_of(root: Path, *, threads: int = 2, **search: Any) -> Plan:
    training = {"engine": "xgboost", "params": {"n_estimators": 8}, "search": {**SEARCH, **search}}
    return replace(small_plan(root, spec=small_spec(training=training)), threads=threads)


def run(plan: Plan, root: Path, **preprocess: Any) -> tuple[StageResult, dict[str, Any], Store]:
    store = Store.of(plan)
    scratch = root / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    result = train.run(plan, StageIO(store, {"preprocess": publish_preprocess(plan, **preprocess)}, scratch))
    assert result.ref is not None
    return result, json.loads(store.read(store.resolve(result.ref), "search.json")), store


def without_seconds(study: dict[str, Any]) -> dict[str, Any]:
    return {**study, "trials": [{**one, "seconds": None} for one in study["trials"]]}


def test_it_publishes_the_study_and_the_model_of_the_best_trial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    plan = plan_of(tmp_path)

    result, study, store = run(plan, tmp_path)

    best = max(study["trials"], key=lambda one: one["mean"] if one["state"] == "complete" else -1)
    assert (study["best"], study["metric"], len(study["trials"])) == (best["number"], "roc_auc", 6)
    assert 0.8 < best["mean"] < 1
    assert all(len(one["values"]) == 2 for one in study["trials"] if one["state"] == "complete")
    assert all(1 <= one["params"]["max_depth"] <= 4 for one in study["trials"])
    assert [(fold["learned"]["to"], fold["judged"]["to"]) for fold in study["folds"]] == [
        ("2024-02-23T00:00:00+00:00", "2024-02-25T00:00:00+00:00"),
        ("2024-02-25T00:00:00+00:00", "2024-02-27T00:00:00+00:00"),
    ]
    assert study["folds"][1]["learned"]["rows"] == 5 * 250

    assert result.ref is not None
    manifest = store.resolve(result.ref)
    card = json.loads(store.read(manifest, "model.json"))
    assert card["params"] == best["params"] == {"n_estimators": 8, **best["params"]}
    of_study = [{name: value for name, value in one.items() if name != "seconds"} for one in study["trials"]]
    assert card["search"]["digest"] == digest_of({**study, "trials": of_study})
    assert result.summary["search"] == f"6 trials, best roc_auc {best['mean']:.5g} by xgboost"
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("search: trial ")]
    assert len(lines) == 6
    assert all("; best 0." in line for line in lines)
    # Engines tell about the last training only.
    assert sum(record.getMessage().startswith("train: xgboost on") for record in caplog.records) == 1
    assert list(store.objects.walk("search/")) == []


def test_the_model_is_the_one_that_its_parameters_give(tmp_path: Path) -> None:
    result, study, _ = run(plan_of(tmp_path / "a"), tmp_path / "a")
    best = study["trials"][study["best"]]["params"]
    spec = small_spec(training={"engine": "xgboost", "params": best})
    plain = replace(small_plan(tmp_path / "b", spec=spec), threads=2)
    (tmp_path / "b").mkdir()
    again = train.run(plain, StageIO(Store.of(plain), {"preprocess": publish_preprocess(plain)}, tmp_path / "b"))
    assert again.summary["model_digest"] == result.summary["model_digest"]
    assert "search" not in again.summary


def test_the_same_search_twice_says_the_same(tmp_path: Path) -> None:
    families = [{"engine": "xgboost", "params": {"n_estimators": 5, "grow_policy": "lossguide", "max_leaves": [2, 8]}}]
    both = [
        run(plan_of(tmp_path / name, engines=families, trials=8, parallel=2), tmp_path / name) for name in ("a", "b")
    ]
    (one, study, _), (other, again, _) = both
    assert without_seconds(study) == without_seconds(again)
    assert one.ref is not None
    assert other.ref is not None
    assert one.ref.digest == other.ref.digest
    assert {told["family"] for told in study["trials"]} == {"xgboost-1", "xgboost-2"}
    assert all(("max_leaves" in told["params"]) == (told["family"] == "xgboost-2") for told in study["trials"])


def test_another_seed_is_another_search(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    training = plan.spec.training.model_copy(update={"seed": 1})
    other = replace(plan, spec=plan.spec.model_copy(update={"training": training}))
    assert run(plan, tmp_path)[1]["trials"][0]["params"] != run(other, tmp_path)[1]["trials"][0]["params"]


def test_the_holdout_takes_no_part(tmp_path: Path) -> None:
    def corrupted(columns: dict[str, Any]) -> dict[str, Any]:
        return {**columns, "__label": (1 - np.array(columns["__label"])).astype("int8").tolist()}

    _, study, _ = run(plan_of(tmp_path / "a"), tmp_path / "a")
    _, again, _ = run(plan_of(tmp_path / "b"), tmp_path / "b", holdout=corrupted)
    assert without_seconds(study) == without_seconds(again)


def test_only_the_deciding_metric_and_the_search_are_in_the_key(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, trials=2)
    result, *_, store = run(plan, tmp_path)
    gates = plan.spec.gates.model_copy(update={"minimum": 0.9})
    again = replace(plan, spec=plan.spec.model_copy(update={"gates": gates}))
    assert result.ref is not None
    upstream = {"preprocess": store.resolve(result.ref).inputs["preprocess"]}
    assert train.run(again, StageIO(store, upstream, tmp_path)).reused
    assert not train.run(plan_of(tmp_path, trials=3), StageIO(store, upstream, tmp_path)).reused


class Faulty(native.XGBoost):
    """Fails where a test says so."""

    name = "xgboost"

    def __init__(self, fault: Exception, fails: Any) -> None:
        self.fault, self.fails = fault, fails

    def fit(self, window: Any, training: Any, **options: Any) -> Any:
        if window.part is not None and self.fails(training.params):
            raise self.fault
        return super().fit(window, training, **options)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(fault: Exception, fails: Any) -> None:
        monkeypatch.setattr(trials, "engine_of", lambda training: Faulty(fault, fails))

    return install


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path: Path, faulty: Any) -> None:
    faulty(RuntimeError("no such luck\nsecond line"), lambda params: params["max_depth"] > 2)
    _, study, _ = run(plan_of(tmp_path), tmp_path)
    states = {one["params"]["max_depth"] > 2: one["state"] for one in study["trials"]}
    assert states == {True: "failed", False: "complete"}
    [reason] = {one["error"] for one in study["trials"] if one["state"] == "failed"}
    assert reason == "RuntimeError: no such luck"
    assert study["trials"][study["best"]]["params"]["max_depth"] <= 2


def test_an_engine_that_is_not_there_ends_the_search(tmp_path: Path, faulty: Any) -> None:
    faulty(ModuleNotFoundError("No module named 'xgboost'"), lambda params: params["max_depth"] > 2)
    with pytest.raises(EngineNotInstalled, match=r"xgboost cannot be imported where a trial ran .*No module named"):
        run(plan_of(tmp_path), tmp_path)


def test_where_all_fail_the_commonest_reason_is_told_and_nothing_published(tmp_path: Path, faulty: Any) -> None:
    faulty(DataError("the rows are cursed."), lambda params: True)
    plan = plan_of(tmp_path)
    with pytest.raises(DataError, match=r"all 6 trials of the search failed; 6 of them: the rows are cursed\."):
        run(plan, tmp_path)
    assert Store.of(plan).taken("train", plan.interval.key) == []


def test_reasons_that_differ_in_numbers_are_one_reason(tmp_path: Path, faulty: Any) -> None:
    epochs = itertools.count(3)

    def fails(params: Any) -> bool:
        if params["max_depth"] == 1:
            raise DataError("the rows are cursed.")
        raise DataError(f"the loss is nan after epoch {next(epochs)}: it was {0.1 / next(epochs)}.")

    faulty(AssertionError("fails raises"), fails)
    words = r"all 6 trials of the search failed; [45] of them much as this one: the loss is nan after epoch 3: it was"
    with pytest.raises(DataError, match=words):
        run(plan_of(tmp_path), tmp_path)


def test_what_may_pass_is_tried_again_by_a_retry(tmp_path: Path, faulty: Any) -> None:
    plan = plan_of(tmp_path, trials=2)
    faulty(JobError("an executor was lost."), lambda params: True)
    with pytest.raises(JobError, match="2 of them: an executor was lost"):
        run(plan, tmp_path)
    faulty(JobError("an executor was lost."), lambda params: False)
    _, study, _ = run(plan, tmp_path)
    assert [one["state"] for one in study["trials"]] == ["complete", "complete"]


def test_bad_trials_are_pruned(tmp_path: Path) -> None:
    """One choice learns nothing; once five trials are complete, it ends after its first fold."""
    search = {"params": {"gamma": {"choices": [0, 1_000_000]}, "max_depth": [1, 6]}, "trials": 12}
    _, study, _ = run(plan_of(tmp_path, **search), tmp_path)
    pruned = [one for one in study["trials"] if one["state"] == "pruned"]
    assert pruned
    assert all(len(one["values"]) == 1 for one in pruned)
    assert all(one["state"] != "pruned" for one in study["trials"][:5])
    _, unpruned, _ = run(plan_of(tmp_path / "b", **{**search, "trials": 8}, prune=False), tmp_path / "b")
    assert {one["state"] for one in unpruned["trials"]} == {"complete"}


def test_minutes_bound_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 10)
    plan = plan_of(tmp_path, trials=None, minutes=2)
    _, study, _ = run(plan, tmp_path)
    assert 1 <= len(study["trials"]) < 12
    assert study["search"]["minutes"] == 2


def test_time_that_passed_before_a_kill_counts(tmp_path: Path, faulty: Any) -> None:
    """The store fails within the third trial; whoever goes on has no time left for a new one, and keeps the two."""
    plan = plan_of(tmp_path, trials=None, minutes=60, folds=1)
    fits = iter(range(100))
    faulty(StorageError("the disk is gone."), lambda params: next(fits) == 2)
    with pytest.raises(StorageError, match="the disk is gone"):
        run(plan, tmp_path)
    objects = Store.of(plan).objects
    _, last = (stored.name for stored in objects.walk("search/"))
    objects.write(last, json.dumps({**json.loads(objects.read(last)), "spent": 3601}).encode())

    faulty(AssertionError("nothing is measured again"), lambda params: True)
    _, study, _ = run(plan, tmp_path)
    assert [one["state"] for one in study["trials"]] == ["complete", "complete"]


DEPTHS: dict[str, Any] = {"max_depth": [2, 3]}


def ticking(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Time is only what the study reads, and so much passes with every look at the clock."""
    from nightshift.train.search import study as module

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=itertools.count(0, seconds).__next__))


@pytest.mark.parametrize("bound", [{"trials": 200}, {"trials": None, "minutes": 60}])
def test_a_space_of_few_points_is_tried_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, bound: Any) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    same = [{"engine": "xgboost", "params": {"n_estimators": 8, "max_depth": {"choices": [3, 4]}}}]
    _, study, _ = run(plan_of(tmp_path, folds=1, params=DEPTHS, engines=same, parallel=2, **bound), tmp_path)
    assert sorted(one["params"]["max_depth"] for one in study["trials"]) == [2, 3, 4]
    assert "search: all 3 points of the space are tried" in caplog.text


def test_no_point_is_tried_twice(tmp_path: Path) -> None:
    """One engine is the best as it is, and the other has room: the sampler would ask for the first again and again."""
    weak = {"n_estimators": 1, "max_depth": 1, "learning_rate": {"low": 0.01, "high": 0.02}}
    asked = {"params": {}, "engines": [{"engine": "xgboost", "params": weak}], "trials": 30, "folds": 1}
    _, study, _ = run(plan_of(tmp_path, parallel=3, **asked), tmp_path)
    points = [json.dumps([one["family"], one["params"]], sort_keys=True) for one in study["trials"]]
    assert len(set(points)) == len(points) == 30
    assert study["trials"][study["best"]]["family"] == "xgboost-1"


def test_what_was_begun_in_time_before_a_kill_is_all_that_is_gone_on_with(tmp_path: Path, faulty: Any) -> None:
    """The second of three trials fails with what may pass and leaves no record; a late retry tries it, and no fourth."""
    plan = plan_of(tmp_path, trials=None, minutes=60, folds=1)
    faults = iter([None, JobError("an executor was lost."), None, StorageError("the disk is gone.")])

    def fails(params: Any) -> bool:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return False

    faulty(AssertionError("fails raises"), fails)
    with pytest.raises(StorageError, match="the disk is gone"):
        run(plan, tmp_path)
    objects = Store.of(plan).objects
    for stored in list(objects.walk("search/")):
        objects.write(stored.name, json.dumps({**json.loads(objects.read(stored.name)), "spent": 3601}).encode())
    _, study, _ = run(plan, tmp_path)
    assert [one["state"] for one in study["trials"]] == ["complete"] * 3


def test_a_fold_that_cannot_be_judged_ends_the_stage_before_the_first_trial(tmp_path: Path) -> None:
    def one_class_at_the_end(columns: dict[str, Any]) -> dict[str, Any]:
        late = [moment.day >= 25 for moment in columns["__time"]]
        labels = [1 if is_late else label for label, is_late in zip(columns["__label"], late, strict=True)]
        return {**columns, "__label": labels}

    words = r"the part \[2024-02-25T00:00Z, 2024-02-27T00:00Z\) of the training window has one class only"
    with pytest.raises(DataError, match=words):
        run(plan_of(tmp_path), tmp_path, training=one_class_at_the_end)


def test_a_second_engine_is_one_more_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever engine a spec can name takes part: here the same trees under another name, always a little worse."""
    monkeypatch.setitem(engines.PARAMS, "stumps", engines.PARAMS["xgboost"])

    class Stumps(native.XGBoost):
        name = "stumps"

    real = trials.engine_of
    monkeypatch.setattr(trials, "engine_of", lambda one: Stumps() if one.engine == "stumps" else real(one))
    families = [{"engine": "stumps", "params": {"n_estimators": 1, "max_depth": {"choices": [1, 2]}}}]
    _, study, _ = run(plan_of(tmp_path, engines=families, trials=10), tmp_path)
    assert {one["engine"] for one in study["trials"]} == {"xgboost", "stumps"}
    assert study["trials"][study["best"]]["engine"] == "xgboost"


@pytest.mark.parametrize(
    ("task", "metric", "label", "better"),
    [
        ("regression", "rmse", {}, min),
        ("regression", "mae", {}, min),
        ("multiclass", "log_loss", {"classes": ["low", "middle", "high"]}, min),
        ("multiclass", "roc_auc_ovr", {"classes": ["low", "middle", "high"]}, max),
    ],
)
def test_every_task_is_searched_by_its_own_metric(
    tmp_path: Path, task: str, metric: str, label: dict[str, Any], better: Any
) -> None:
    bound = {"minimum": 0.5} if metric == "roc_auc_ovr" else {"maximum": 9}
    gates = {"metric": metric, **bound, "versus_champion": {"margin": 0.1, "least": {"days": 2}}}
    training = {"engine": "xgboost", "params": {"n_estimators": 8}, "search": {**SEARCH, "trials": 3}}
    spec = small_spec(training=training, gates=gates, label={"column": "days_late", "task": task, **label})
    plan = small_plan(tmp_path, spec=spec)

    def labelled(columns: dict[str, Any]) -> dict[str, Any]:
        weight = np.array([0.0 if one is None else one for one in columns["weight"]])
        places = np.digitize(weight, [-0.5, 0.5]).astype("int8").tolist()
        return {**columns, "__label": (100 + 5 * weight).tolist() if task == "regression" else places}

    _, study, _ = run(plan, tmp_path, training=labelled, holdout=labelled)
    means = [one["mean"] for one in study["trials"]]
    assert study["metric"] == metric
    assert study["trials"][study["best"]]["mean"] == better(means)
    assert all(one["state"] == "complete" for one in study["trials"]), study["trials"]
