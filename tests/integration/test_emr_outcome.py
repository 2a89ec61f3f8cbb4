"""A night on EMR that did not go well is a failed run, wherever it failed, and whatever its last task has done."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.airflow_run import StoredRun
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_faults import hurry, well
from tests.fakes.emr_night import RUN, Night, emr_spec, leave_results, tasks_of

from nightshift.plan import STAGES
from nightshift_airflow.compute.emr import stage_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves

BOTH = pytest.mark.parametrize("stages", ["to_evaluate", "all"])


@pytest.fixture
def double(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    """The same, and no real waiting."""
    hurry(monkeypatch, double)
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", "http://mlflow.example:5000")  # register may run on the cluster
    return double


@pytest.fixture(scope="module")
def database() -> None:
    """Airflow's tables, where this process looks for them."""
    from airflow.utils.db import initdb

    initdb()


def night_of(double: AwsDouble, stages: str) -> Night:
    return Night(double, tasks_of(emr_spec(stages=stages)))


def why(night: Night) -> str:
    return "\n".join(said for task, said in night.said if task == "release")


def test_all_stages_run_there_and_nothing_is_left(double: AwsDouble) -> None:
    well(double)
    night = night_of(double, "all")
    assert night.run() == "success", night.said
    [cluster] = double.emr.clusters()
    assert [step.name.split(" ")[0] for step in cluster.steps] == list(STAGES)
    assert night.alive() == []


@pytest.mark.parametrize(
    ("stages", "failing"),
    [("to_evaluate", "train"), ("all", "ingest"), ("all", "train"), ("all", "deploy")],
)
def test_a_stage_that_fails_fails_the_run(double: AwsDouble, stages: str, failing: str) -> None:
    double.inject.step(f"{failing} *", "FAILED", times=None)
    well(double)
    night = night_of(double, stages)
    assert night.run() == "failed"
    assert why(night) == f"the night failed in {failing}; the cluster is gone."
    assert night.alive() == []


@BOTH
def test_a_cluster_that_does_not_start_fails_the_run(double: AwsDouble, stages: str) -> None:
    double.inject.cluster("*", "NO_CAPACITY", times=None)
    night = night_of(double, stages)
    assert night.run() == "failed"
    assert why(night) == "the night failed in cluster; the cluster is gone."


@BOTH
@pytest.mark.parametrize("stage", ["ingest", "train"])
def test_nothing_to_do_is_no_failure(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, stages: str, stage: str
) -> None:
    monkeypatch.setattr(stage_run, "_add", leave_results(double, **{stage: "skipped"}))
    well(double)
    night = night_of(double, stages)
    assert night.run() == "success", night.said
    assert (night.states[stage], night.states["release"]) == ("skipped", "success")


def test_a_refused_version_is_no_failure(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_run, "_add", leave_results(double, deploy="refused"))
    well(double)
    night = night_of(double, "all")
    assert night.run() == "success", night.said
    assert night.states["deploy"] == "skipped"


# -- somebody marks the run as failed ----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("before", "at", "state"),
    [
        ("preflight", "cluster", "queued"),
        ("preprocess", "train", "running"),
        ("preprocess", "train", "deferred"),
        ("preprocess", "train", "up_for_retry"),
    ],
)
def test_a_run_that_is_marked_failed_has_failed(
    double: AwsDouble, database: None, stages: str, before: str, at: str, state: str
) -> None:
    """Airflow fails what runs, skips what is to come, lets the teardown run, and only then gives the run a state."""
    well(double)
    night = night_of(double, stages)
    night.run(until=before)
    stored = StoredRun(night.dag, RUN)
    stored.put({**night.states, at: state})
    night.marked = stored.mark("failed")
    assert night.marked[at] == ("failed" if state in ("running", "deferred") else "skipped")
    night.tasks[at].on_kill()
    assert "release" not in night.marked
    night.run()
    assert night.alive() == []
    stored.put(night.states)
    assert stored.conclude() == "failed"
    words = f"failed in {at}" if state in ("running", "deferred") else f"was ended by somebody before {at}"
    assert why(night) == f"the night {words}; the cluster is gone."


@pytest.mark.parametrize("state", ["running", "queued"])
def test_marked_failed_while_register_and_release_run(
    double: AwsDouble, database: None, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    well(double)
    night = night_of(double, "to_evaluate")
    night.run(until="evaluate")
    stored = StoredRun(night.dag, RUN)
    stored.put({**night.states, "register": state, "release": "running"})
    night.marked = {name: found for name, found in stored.mark("failed").items() if name != "release"}
    night.run()
    stored.put(night.states)
    assert stored.conclude() == "failed"


def test_a_run_that_is_marked_as_successful_is_believed(double: AwsDouble, database: None) -> None:
    well(double)
    night = night_of(double, "all")
    night.run(until="preprocess")
    stored = StoredRun(night.dag, RUN)
    stored.put({**night.states, "train": "running"})
    night.marked = stored.mark("success")
    assert (night.marked["train"], night.marked["evaluate"]) == ("success", "skipped")
    night.run()
    stored.put(night.states)
    assert stored.conclude() == "success", night.said
    assert night.alive() == []


def test_a_good_run_is_one_in_airflows_database_too(double: AwsDouble, database: None) -> None:
    well(double)
    night = night_of(double, "all")
    night.run()
    stored = StoredRun(night.dag, RUN)
    stored.put(night.states)
    assert stored.conclude() == "success"


# -- who hears of it ---------------------------------------------------------------------------------------


def test_a_night_that_failed_is_told_once(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the stage that failed: the end of the cluster is no second failure."""
    from nightshift_airflow import notifiers
    from nightshift_airflow.runs import NightFailed

    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(notifiers, "_send", lambda spec, body, context: heard.append(body))
    notify = notifiers.FailureNotifier(emr_spec())
    context = night_of(double, "all").context("release", 1)
    notify({**context, "exception": NightFailed("the night failed in train; the cluster is gone.")})  # type: ignore[typeddict-item]
    assert heard == []
    notify({**context, "exception": RuntimeError("the cluster j-1 lives on")})  # type: ignore[typeddict-item]
    assert len(heard) == 1
