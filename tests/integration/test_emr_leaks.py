"""Whatever goes wrong, and wherever: no cluster is left. Each case counts what lives when its run is over, and what
lives after the reaper, and ends recovered, or failed with a reason that people understand.

Here: creation, steps, credentials, and AWS itself. In ``test_emr_teardown.py``: workers, triggerers, pauses and the
teardown. In ``test_emr_outcome.py``: what the run's own state is then, also when a person marks it as failed.

The tasks are the real ones and AWS is the double; steps run no program, so a case takes a second.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_faults import hurry, impatient, nothing_left, once, reason, well
from tests.fakes.emr_night import Night, emr_spec, tasks_of

from nightshift_airflow.compute.emr import clusters, operators, stage_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves

SEND = stage_run._add


@pytest.fixture
def double(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    """The same, and no real waiting."""
    hurry(monkeypatch, double)
    return double


@pytest.fixture(params=[pytest.param(False, id="waiting"), pytest.param(True, id="deferred", marks=pytest.mark.long)])
def night(request: pytest.FixtureRequest, double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night that nothing happens to yet."""
    monkeypatch.setattr(operators, "deferred", lambda: request.param)
    return Night(double, tasks_of(emr_spec()), deferrable=request.param)


# -- what goes well ----------------------------------------------------------------------------------------


def test_a_good_night_has_one_cluster_five_steps_and_nothing_left(night: Night, double: AwsDouble) -> None:
    well(double)
    assert night.run() == "success", reason(night)
    nothing_left(night)
    assert len(double.journal.billable()) == 1
    assert len(double.journal.of("AddJobFlowSteps")) == 5
    [cluster] = double.emr.clusters()
    assert [step.name.split(" ")[0] for step in cluster.steps] == list(night.tasks)[2:7]


# -- killed right after create -----------------------------------------------------------------------------


def test_killed_after_create_returned_and_before_the_id_is_stored(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(double)
    once(monkeypatch, clusters.Clusters, "_create")
    assert night.run() == "success", reason(night)
    assert len(double.journal.billable()) == 1, "the second try finds the cluster of the first"
    nothing_left(night)


def test_killed_after_create_for_good(night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    night.tasks["cluster"].retries = 0
    once(monkeypatch, clusters.Clusters, "_create")
    assert night.run() == "failed"
    assert "the night failed in cluster; the cluster is gone." in reason(night), (
        "preflight succeeded: the teardown runs"
    )
    nothing_left(night)


def test_the_answer_to_create_is_lost(night: Night, double: AwsDouble) -> None:
    well(double)
    double.inject.lose_answer("RunJobFlow")
    assert night.run() == "success", reason(night)
    assert len(double.emr.clusters()) == 1
    nothing_left(night)


def test_a_new_cluster_is_not_known_everywhere_at_once(night: Night, double: AwsDouble) -> None:
    well(double)
    double.inject.refuse("DescribeCluster", "InvalidRequestException", calls=3)
    assert night.run() == "success", reason(night)
    assert len(double.journal.billable()) == 1
    nothing_left(night)


@pytest.mark.parametrize("fault", ["BOOTSTRAP_FAILURE", "NO_CAPACITY", "INTERNAL_ERROR"])
def test_a_cluster_that_does_not_start(night: Night, double: AwsDouble, fault: Any) -> None:
    double.inject.cluster("*", fault, times=None)
    assert night.run() == "failed"
    assert "did not start: TERMINATED_WITH_ERRORS" in reason(night)
    assert "s3://ns-logs/emr/j-" in reason(night)
    nothing_left(night)


# -- steps -------------------------------------------------------------------------------------------------


def test_a_step_fails(night: Night, double: AwsDouble) -> None:
    double.inject.step("train *", "FAILED", times=None, message="java.lang.OutOfMemoryError: Java heap space")
    well(double)
    assert night.run() == "failed"
    assert night.states["evaluate"] == "upstream_failed"
    assert "OutOfMemoryError" in reason(night)
    assert "s3://ns-logs/emr/j-" in reason(night)
    nothing_left(night)


def test_a_step_fails_once(night: Night, double: AwsDouble) -> None:
    double.inject.step("train *", "FAILED", times=1)
    well(double)
    assert night.run() == "success", reason(night)
    [cluster] = double.emr.clusters()
    assert [step.name[-5:] for step in cluster.steps if step.name.startswith("train")] == ["try 1", "try 2"]
    nothing_left(night)


def test_a_step_hangs(night: Night, double: AwsDouble) -> None:
    double.inject.step("preprocess *", "HANG", times=None)
    well(double)
    night.tasks["preprocess"].execution_timeout = timedelta(seconds=0.3)
    assert night.run() == "failed"
    assert "was not over within" in reason(night)
    assert double.journal.of("CancelSteps")
    nothing_left(night)


def test_spot_takes_the_cluster_and_the_next_try_gets_another(night: Night, double: AwsDouble) -> None:
    double.inject.step("train *", "SPOT_LOSS", times=1)
    well(double)
    assert night.run() == "success", reason(night)
    assert "INSTANCE_FAILURE" in reason(night)
    assert [cluster.state for cluster in double.emr.clusters()] == ["TERMINATED_WITH_ERRORS", "TERMINATED"]
    nothing_left(night)


def test_a_step_that_left_no_result_is_done_again(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(double)
    send, forgotten = stage_run._add, []

    def forget(account: Any, emr: Any, cluster_id: str, step: dict[str, Any]) -> str:
        if step["Name"].startswith("train ") and not forgotten:
            forgotten.append(step["Name"])
            return SEND(account, emr, cluster_id, step)
        return send(account, emr, cluster_id, step)

    monkeypatch.setattr(stage_run, "_add", forget)
    assert night.run() == "success", reason(night)
    assert "is COMPLETED and left no result" in reason(night)
    nothing_left(night)


def test_the_answer_to_a_step_is_lost(night: Night, double: AwsDouble) -> None:
    well(double)
    double.inject.lose_answer("AddJobFlowSteps")
    assert night.run() == "success", reason(night)
    [cluster] = double.emr.clusters()
    assert len(cluster.steps) == 5, "and not six"
    nothing_left(night)


# -- AWS is busy, or takes the credentials back ------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("DescribeStep", "ThrottlingException"),
        ("DescribeStep", "ExpiredTokenException"),
        ("DescribeCluster", "ExpiredTokenException"),
        pytest.param("DescribeCluster", "ThrottlingException", marks=pytest.mark.long),
        pytest.param("ListClusters", "InternalServerException", marks=pytest.mark.long),
    ],
)
def test_a_wait_outlives_what_passes(night: Night, double: AwsDouble, operation: str, code: str) -> None:
    well(double)
    double.inject.refuse(operation, code, calls=8)
    assert night.run() == "success", reason(night)
    nothing_left(night)


def test_credentials_that_stay_expired_fail_the_night_and_leave_nothing(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    well(double)
    night.before = lambda task, number: (
        double.inject.refuse("*", "ExpiredTokenException", calls=None)
        if task == "train" and number == 1
        else double.inject.clear()
        if task == "release"
        else None
    )
    assert night.run() == "failed"
    assert "The security token included in the request is expired" in reason(night)
    nothing_left(night)


def test_credentials_that_expire_for_good_before_the_teardown_are_said_and_leave_it_to_the_reaper(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    well(double)
    night.before = lambda task, number: (
        double.inject.refuse("*", "ExpiredTokenException", calls=None) if task == "release" else None
    )
    assert night.run() == "failed"
    told = [said for task, said in night.said if task == "release"]
    assert len(told) == night.tasks["release"].retries + 1, "each try might have had credentials again"
    assert all("The security token included in the request is expired" in said for said in told)
    double.inject.clear()
    assert len(night.alive()) == 1
    assert len(night.reap()) == 1
    assert night.alive() == []


def test_a_teardown_that_has_credentials_again_ends_the_cluster(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    well(double)

    def expire(task: str, number: int) -> None:
        double.inject.clear()
        well(double)
        if task == "release" and number < 3:
            double.inject.refuse("*", "ExpiredTokenException", calls=None)

    night.before = expire
    assert night.run() == "success", reason(night)
    nothing_left(night)
