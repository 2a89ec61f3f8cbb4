"""Somebody, or something, ends tasks, or keeps the teardown from its work: no cluster is left, as in ``test_emr_leaks.py``.
The last section takes one safeguard away after the other, and sees that something is left then.
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
from tests.fakes.emr_faults import HOUR, hurry, later, no_cancelling, nothing_left, once, reason, well
from tests.fakes.emr_night import Killed, Night, emr_spec, fired, tasks_of

from nightshift_airflow.compute.emr import clusters, operators, request, stage_run, triggers

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves


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


@pytest.mark.parametrize("protected", [False, True])
def test_the_teardown_may_not_change_protection(night: Night, double: AwsDouble, protected: bool) -> None:
    """Where there is none it has no need to; else it says so."""
    well(double)

    def before(task: str, number: int) -> None:
        if task == "release":
            [cluster] = double.alive()
            cluster.protected = protected
            double.inject.refuse("SetTerminationProtection", "AccessDeniedException", calls=None)

    night.before = before
    assert night.run() == ("failed" if protected else "success")
    assert len(night.alive()) == protected
    assert ("could not take the protection off the cluster j-" in reason(night)) == protected
    double.inject.clear()
    assert len(night.reap()) == protected
    assert night.alive() == []


@pytest.mark.parametrize("operation", ["TerminateJobFlows", "DescribeCluster"])
def test_one_cluster_that_would_not_go_keeps_no_other_alive(night: Night, double: AwsDouble, operation: str) -> None:
    """Two of one run, which a fault of AWS may have made: the first is refused, the second ended."""
    well(double)

    def second(task: str, number: int) -> None:
        if task == "release":
            double.client("emr").run_job_flow(**double.journal.sent("RunJobFlow"))
            double.inject.refuse(operation, "AccessDeniedException", calls=1)

    night.before = second
    assert night.run() == "failed"
    assert "is not authorized to perform" in reason(night)
    assert len(night.alive()) == 1
    assert len(night.reap()) == 1
    assert night.alive() == []


def test_a_step_that_a_person_adds_is_left_alone(night: Night, double: AwsDouble) -> None:
    well(double)

    def add(task: str, number: int) -> None:
        if task == "train":
            [cluster] = double.alive()
            program = {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://ns-code/jobs/debug.py"]}
            step = {"Name": "train debug", "ActionOnFailure": "CONTINUE", "HadoopJarStep": program}
            double.client("emr").add_job_flow_steps(JobFlowId=cluster.id, Steps=[step])

    night.before = add
    assert night.run() == "success", reason(night)
    assert double.journal.of("CancelSteps") == []
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


def test_without_an_idle_timeout_something_is_left(
    night: Night, double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused DAG then costs until the deadline, and but for the reaper without end."""
    real = request.cluster_request

    def asked(*about: Any, **more: Any) -> dict[str, Any]:
        return {name: value for name, value in real(*about, **more).items() if name != "AutoTerminationPolicy"}

    monkeypatch.setattr(request, "cluster_request", asked)
    well(double)
    assert night.run(until="evaluate") == "running"
    double.advance(16 * 60)
    assert len(night.alive()) == 1
    double.advance(24 * HOUR)
    assert len(night.alive()) == 1, "nothing of EMR ends it"
    assert night.reap() == [], "its run may go on"
    later(double, 0)
    assert len(night.reap()) == 1
    assert night.alive() == []


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
