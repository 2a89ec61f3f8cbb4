"""Whatever goes wrong, and wherever: no cluster is left. Each case counts what lives when its run is over, and what
lives after the reaper, and ends recovered, or failed with a reason that people understand. Runs that a person marks as
failed are in ``test_emr_outcome.py``.

The tasks are the real ones and AWS is the double; steps run no program, so a case takes a second.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_night import Killed, Night, emr_spec, fired, hurry, tasks_of

from nightshift_airflow.compute.emr import account, clusters, operators, stage_run, triggers, waiting

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves

HOUR = 3600.0
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


def well(double: AwsDouble) -> None:
    """Every step that nothing else is wished for succeeds."""
    double.inject.step("*", "COMPLETED", times=None)


def once(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, *, after: bool = True) -> None:
    """Kill whoever calls this, the first time."""
    real, killed = getattr(target, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        if killed or not after:
            return real(*args, **kwargs)
        killed.append(True)
        real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(target, name, call)


def reason(night: Night) -> str:
    return "\n".join(f"{task}: {said}" for task, said in night.said)


def nothing_left(night: Night) -> None:
    """After the reaper, and without its help."""
    assert night.alive() == []
    assert night.reap() == []


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
    monkeypatch.setattr(account, "PATIENCE", 0.2)
    monkeypatch.setattr(account.Account.__init__, "__kwdefaults__", {"patience": 0.2})
    monkeypatch.setattr(waiting.Patience.__init__, "__kwdefaults__", {"seconds": 0.2})
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


# -- somebody, or something, ends tasks --------------------------------------------------------------------


def test_the_worker_is_lost_and_the_next_try_finds_the_step(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(double)
    once(monkeypatch, stage_run, "submit")
    assert night.run() == "success", reason(night)
    [cluster] = double.emr.clusters()
    assert len(cluster.steps) == 5, "the second try attaches to the step of the first"
    nothing_left(night)


@pytest.mark.parametrize("last", ["cluster", "ingest", "evaluate"])
def test_the_dag_is_paused_for_good(night: Night, double: AwsDouble, last: str) -> None:
    """Nothing of the run goes on, so EMR itself ends the cluster: idle, for as long as was asked for."""
    well(double)
    assert night.run(until=last) == "running"
    assert len(night.alive()) == 1
    double.advance(16 * 60)
    assert night.alive() == []
    assert double.journal.sent("RunJobFlow")["AutoTerminationPolicy"] == {"IdleTimeout": 900}


def test_paused_while_a_step_hangs_the_deadline_ends_it(night: Night, double: AwsDouble) -> None:
    """The one case where nothing of the run and nothing of EMR helps."""
    double.inject.step("ingest *", "HANG", times=None)
    night.tasks["ingest"].execution_timeout = timedelta(seconds=0.2)
    night.before = lambda task, number: no_cancelling(double) if task == "ingest" else None
    night.run(until="ingest")
    double.advance(7 * HOUR)
    assert len(night.alive()) == 1, "busy, so EMR does not end it"
    assert night.reap() == [], "and its run may still go on"
    later(double, 2 * HOUR)
    [found] = night.reap()
    assert "its deadline was" in found["why"]
    assert night.alive() == []


def no_cancelling(double: AwsDouble) -> None:
    """From here on a step that hangs goes on hanging."""
    double.inject.refuse("CancelSteps", "AccessDeniedException", calls=None)


def later(double: AwsDouble, seconds: float) -> None:
    """Move the deadlines of what lives into the past: the reaper's clock is the real one."""
    for cluster in double.alive():
        cluster.tags["deadline"] = "2013-07-15T10:00:00Z"
    double.advance(seconds)


def test_the_teardown_is_killed_every_time(night: Night, double: AwsDouble) -> None:
    well(double)

    def kill(task: str, number: int) -> None:
        if task == "release":
            raise Killed

    night.before = kill
    assert night.run() == "failed"
    assert len(night.alive()) == 1
    [found] = night.reap()
    assert found["why"] == "its run has ended"
    assert night.alive() == []
    assert night.reap() == [], "said once"


def test_the_teardown_is_not_allowed_and_says_so(night: Night, double: AwsDouble) -> None:
    well(double)
    night.before = lambda task, number: (
        double.inject.refuse("TerminateJobFlows", "AccessDeniedException", calls=None) if task == "release" else None
    )
    assert night.run() == "failed", "a teardown that fails fails the run"
    assert "not authorized to perform" in reason(night)
    assert night.tasks["release"].on_failure_fail_dagrun is True
    double.inject.clear()
    assert len(night.reap()) == 1
    assert night.alive() == []


def test_somebody_protected_the_cluster(night: Night, double: AwsDouble) -> None:
    well(double)

    def protect(task: str, number: int) -> None:
        if task == "release":
            [cluster] = double.alive()
            cluster.protected = True

    night.before = protect
    assert night.run() == "success", reason(night)
    nothing_left(night)


def test_a_triggerer_is_killed_and_another_takes_over(night: Night, double: AwsDouble) -> None:
    well(double)
    night.triggerer = restarted
    assert night.run() == "success", reason(night)
    nothing_left(night)


def restarted(trigger: Any) -> Any:
    """Run a trigger, cancel it when it has looked and seen nothing yet, and run what Airflow has stored of it."""
    stored = json.loads(json.dumps(trigger.serialize()[1]))
    looked = threading.Event()
    real = trigger._look

    async def look(*about: Any) -> Any:
        await real(*about)
        looked.set()
        return "not yet"

    async def begin() -> None:
        trigger._look = look
        running = asyncio.ensure_future(anext(trigger.run()))
        while not looked.is_set():
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(begin())
    return fired(type(trigger)(**stored))


def test_a_trigger_that_is_taken_up_again_gets_no_new_time(double: AwsDouble) -> None:
    """It looks once more, since it may be over, and then says that it took too long."""
    double.inject.step("*", "HANG", times=None)
    Night(double, tasks_of(emr_spec())).run(until="cluster")
    [cluster] = double.alive()
    program = {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://ns-code/jobs/x.py"]}
    step = {"Name": "any", "ActionOnFailure": "CONTINUE", "HadoopJarStep": program}
    [step_id] = double.client("emr").add_job_flow_steps(JobFlowId=cluster.id, Steps=[step])["StepIds"]
    trigger = triggers.WaiterTrigger(
        connection="aws_default",
        waiter="step_wait_for_terminal",
        arguments={"ClusterId": cluster.id, "StepId": step_id},
        poll_s=0.01,
        limit_s=3600.0,
        until=time.time() - 1,
        carry={},
    )
    told = fired(trigger)
    assert "was not over within 60 minutes" in told["trouble"]["message"]
    assert len(double.journal.of("DescribeStep")) == 1


@pytest.mark.parametrize("lost", ["cluster", "train"])
def test_a_triggerer_is_killed_and_none_takes_over(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Airflow fails the task when the time is over that the task has set; the teardown follows."""
    monkeypatch.setattr(operators, "deferred", lambda: True)
    night = Night(double, tasks_of(emr_spec()), deferrable=True)
    well(double)
    at: list[str] = []
    night.before = lambda task, number: at.append(task)
    night.triggerer = lambda trigger: None if at[-1] == lost else fired(trigger)
    assert night.run() == "failed"
    assert (lost, "Trigger timeout") in night.said
    limit = operators.START_LIMIT if lost == "cluster" else night.tasks["train"].execution_timeout
    assert night.timeouts[lost] > limit, "the trigger says so first, where there is one"
    nothing_left(night)


# -- what is not ours --------------------------------------------------------------------------------------


def test_clusters_of_others_are_never_touched(night: Night, double: AwsDouble) -> None:
    well(double)
    emr = double.client("emr")
    assert night.run(until="cluster") == "running"
    ours = double.journal.sent("RunJobFlow")
    strangers = []
    for name, changes in {
        "no tags": {"Tags": []},
        "same name": {"Tags": [tag for tag in ours["Tags"] if tag["Key"] != "project"]},
        "other environment": {
            "Tags": [{**tag, "Value": "prod"} if tag["Key"] == "env" else tag for tag in ours["Tags"]]
        },
    }.items():
        strangers.append(emr.run_job_flow(**{**ours, "Name": ours["Name"] if name == "same name" else name, **changes}))
    night.said.clear()
    night.run()
    night.over = True
    assert night.reap() == []
    assert {line.split(" ")[0] for line in night.alive()} == {each["JobFlowId"] for each in strangers}


# -- the suite notices -------------------------------------------------------------------------------------


def test_without_the_teardown_something_is_left(night: Night, double: AwsDouble) -> None:
    double.inject.step("train *", "FAILED", times=None)
    well(double)
    del night.tasks["release"]
    assert night.run() == "failed"
    assert len(night.alive()) == 1


def test_without_the_reaper_something_is_left(night: Night, double: AwsDouble) -> None:
    double.inject.step("train *", "HANG", times=None)
    well(double)
    night.tasks["train"].execution_timeout = timedelta(seconds=0.2)

    def kill(task: str, number: int) -> None:
        if task == "train":
            no_cancelling(double)
        if task == "release":
            raise Killed

    night.before = kill
    assert night.run() == "failed"
    double.advance(24 * HOUR)
    assert len(night.alive()) == 1, "a day later: it is busy, and only the reaper would end it"


@pytest.mark.parametrize("lacking", ["project", "env", "run_key"])
def test_without_tags_something_is_left(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    from nightshift_airflow.compute.emr.identity import Identity

    real: Callable[..., dict[str, str]] = Identity.tags
    monkeypatch.setattr(
        Identity,
        "tags",
        lambda self, **kw: {name: value for name, value in real(self, **kw).items() if name != lacking},
    )
    well(double)
    once(monkeypatch, clusters.Clusters, "_create")
    night.run()
    assert night.alive() != [], "the second try did not know the cluster of the first"
    night.reap()
    assert (night.alive() == []) == (lacking == "run_key"), "the reaper goes by project and env"
