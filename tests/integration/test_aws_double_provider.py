"""The double's EMR as Airflow's Amazon provider sees it: its hook, its waiters, its operators, its triggers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.fakes.aws import AwsDouble, Clock, Timing, aws_double, requests

PHASES = Timing(starting=60, bootstrapping=60, terminating=60)
SECONDS = 60
PATIENCE = {"waiter_delay": 0, "waiter_max_attempts": 500}


@pytest.fixture(autouse=True)
def airflows_own_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def _double() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/jobs/", clock=Clock(frozen=True), timing=PHASES) as double:
        double.client("s3").create_bucket(Bucket="logs")
        yield double


@pytest.fixture
def double(_double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    _double.reset()
    for name, value in _double.environment.items():
        monkeypatch.setenv(name, value)
    return _double


@pytest.fixture
def hook(double: AwsDouble) -> Any:
    from airflow.providers.amazon.aws.hooks.emr import EmrHook

    return EmrHook(aws_conn_id="aws_default", emr_conn_id=None)


def created(hook: Any, **changes: Any) -> str:
    return hook.create_job_flow(requests.cluster(**changes))["JobFlowId"]


def up(double: AwsDouble, hook: Any, **changes: Any) -> str:
    cluster = created(hook, **changes)
    double.advance(PHASES.starting + PHASES.bootstrapping)
    return cluster


def step_of(double: AwsDouble, cluster: str) -> str:
    return double.client("emr").list_steps(ClusterId=cluster)["Steps"][0]["Id"]


def events(trigger: Any, double: AwsDouble, operation: str, then: Callable[[], None]) -> list[Any]:
    """What a trigger says, as the triggerer runs it; ``then`` happens when it has looked once."""

    def act() -> None:
        double.journal.wait_for(lambda call: call.operation == operation, seconds=SECONDS)
        then()

    async def listen() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    async def both() -> list[Any]:
        acting = asyncio.create_task(asyncio.to_thread(act))
        heard = await listen()
        await acting
        return heard

    return asyncio.run(both())


def test_the_hook_creates_a_cluster_and_its_waiters_see_it_come_and_go(double: AwsDouble, hook: Any) -> None:
    cluster = up(double, hook)
    hook.get_waiter("job_flow_waiting").wait(ClusterId=cluster, WaiterConfig={"Delay": 0, "MaxAttempts": 2})
    assert hook.get_cluster_id_by_name("night", ["WAITING"]) == cluster
    hook.conn.terminate_job_flows(JobFlowIds=[cluster])
    double.advance(PHASES.terminating)
    hook.get_waiter("job_flow_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 0, "MaxAttempts": 2})
    assert double.alive() == []


@pytest.mark.parametrize(("fault", "state"), [("FAILED", "FAILED"), ("SPOT_LOSS", "INTERRUPTED")])
def test_the_waiter_of_steps_ends_when_one_failed(double: AwsDouble, hook: Any, fault: Any, state: str) -> None:
    from airflow.exceptions import AirflowException

    double.inject.step("train", fault)
    cluster = up(double, hook)
    (step,) = hook.add_job_flow_steps(cluster, [requests.step("train")])
    double.join()
    with pytest.raises(AirflowException, match="the step failed"):
        _wait(hook, cluster, step)
    found = double.client("emr").describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"]
    assert found == state


def _wait(hook: Any, cluster: str, step: str) -> None:
    from airflow.providers.amazon.aws.utils.waiter_with_logging import wait

    wait(
        waiter=hook.get_waiter("step_wait_for_terminal"),
        waiter_delay=0,
        waiter_max_attempts=3,
        args={"ClusterId": cluster, "StepId": step},
        failure_message="the step failed",
        status_message="the step is",
        status_args=["Step.Status.State", "Step.Status.FailureDetails"],
    )


def test_the_step_trigger_fires_when_the_step_has_ended(double: AwsDouble, hook: Any) -> None:
    from airflow.providers.amazon.aws.triggers.emr import EmrStepSensorTrigger

    double.inject.step("train", "COMPLETED")
    cluster = created(hook, Steps=[requests.step("train")])
    trigger = EmrStepSensorTrigger(cluster, step_of(double, cluster), **PATIENCE)
    heard = events(trigger, double, "DescribeStep", lambda: double.advance(120))
    assert [each["status"] for each in heard] == ["success"]


@pytest.mark.parametrize(("fault", "state"), [("FAILED", "FAILED"), ("SPOT_LOSS", "INTERRUPTED")])
def test_the_step_trigger_says_that_the_step_failed(double: AwsDouble, hook: Any, fault: Any, state: str) -> None:
    from airflow.providers.amazon.aws.triggers.emr import EmrStepSensorTrigger

    double.inject.step("train", fault)
    cluster = created(hook, Steps=[requests.step("train")])
    step = step_of(double, cluster)
    trigger = EmrStepSensorTrigger(cluster, step, **PATIENCE)
    (heard,) = events(trigger, double, "DescribeStep", lambda: double.advance(120))
    assert heard["status"] == "error"
    assert "Error while waiting for step" in str(heard)
    found = double.client("emr").describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"]
    assert found == state


def test_the_cluster_triggers_wait_for_both_ends_of_its_life(double: AwsDouble, hook: Any) -> None:
    from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger, EmrTerminateJobFlowTrigger

    cluster = created(hook)
    coming = EmrCreateJobFlowTrigger(cluster, aws_conn_id="aws_default", **PATIENCE)
    assert events(coming, double, "DescribeCluster", lambda: double.advance(120)) == [
        {"status": "success", "job_flow_id": cluster}
    ]
    hook.conn.terminate_job_flows(JobFlowIds=[cluster])
    double.journal.clear()
    going = EmrTerminateJobFlowTrigger(cluster, aws_conn_id="aws_default", **PATIENCE)
    assert [each["status"] for each in events(going, double, "DescribeCluster", lambda: double.advance(60))] == [
        "success"
    ]


def test_a_trigger_outlives_throttling(double: AwsDouble, hook: Any) -> None:
    from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger

    cluster = created(hook)
    double.inject.refuse("DescribeCluster", "ThrottlingException", calls=1)
    trigger = EmrCreateJobFlowTrigger(cluster, aws_conn_id="aws_default", **PATIENCE)
    heard = events(trigger, double, "DescribeCluster", lambda: double.advance(120))
    assert [each["status"] for each in heard] == ["success"]
    assert double.journal.of("DescribeCluster")[0].error == "ThrottlingException"


def test_a_trigger_ends_with_an_error_when_credentials_expire(double: AwsDouble, hook: Any) -> None:
    from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger

    cluster = created(hook)
    double.inject.refuse("DescribeCluster", "ExpiredTokenException", calls=None)
    trigger = EmrCreateJobFlowTrigger(cluster, aws_conn_id="aws_default", **PATIENCE)
    (heard,) = events(trigger, double, "DescribeCluster", lambda: None)
    assert heard["status"] == "error"
    assert "The security token included in the request is expired" in str(heard)


def test_the_operators_create_run_and_terminate(double: AwsDouble, hook: Any) -> None:
    from airflow.providers.amazon.aws.operators.emr import (
        EmrAddStepsOperator,
        EmrCreateJobFlowOperator,
        EmrTerminateJobFlowOperator,
    )

    double.inject.step("train", "COMPLETED")
    create = EmrCreateJobFlowOperator(
        task_id="create", job_flow_overrides=requests.cluster(), emr_conn_id=None, wait_for_completion=False
    )
    cluster = create.execute(Context())
    double.advance(120)
    add = EmrAddStepsOperator(task_id="add", job_flow_id=cluster, steps=[requests.step("train")])
    (step,) = add.execute(Context())
    double.join()
    assert double.client("emr").describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"] == "COMPLETED"
    EmrTerminateJobFlowOperator(task_id="end", job_flow_id=cluster).execute(Context())
    double.advance(60)
    assert double.alive() == []
    assert [call.operation for call in double.journal.billable()] == ["RunJobFlow"]


class Context(dict[str, Any]):
    """As much of a task's context as links ask for."""

    class _Task:
        def xcom_push(self, **_: Any) -> None:
            """Links are pushed to nobody."""

    def __init__(self) -> None:
        super().__init__(ti=self._Task(), task_instance=self._Task())
