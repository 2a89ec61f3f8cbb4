"""A night on the double's EMR without an Airflow around it: the tasks of the real DAG, run by Airflow's rules for
retries, failures and teardowns, each with a context of its own. A task can be killed where a test wants it.

Steps of the double that succeed run no program; their results are put where the job would have left them.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

from airflow.sdk import dag
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from tests.fakes.airflow_run import state_of_run
from tests.fakes.aws import AwsDouble
from tests.fakes.published_night import MODELS, demo_spec

from nightshift.plan import STAGES
from nightshift.spec.models import ModelSpec
from nightshift_airflow import lifecycle
from nightshift_airflow.compute.emr import stage_run
from nightshift_airflow.compute.emr.operators import EmrOperator, EmrStageOperator
from nightshift_airflow.compute.emr.reaper import ReaperOperator
from nightshift_airflow.describe import dag_of

NIGHT = "2013-07-15"
RUN = "manual__2013-07-15T00:00:00+00:00"


@contextmanager
def quick_clients() -> Iterator[None]:
    """One client for each service, caller and way to retry: to make one takes longer than a whole night."""
    import boto3

    real, made = boto3.session.Session.client, {}

    def client(self: Any, service_name: str, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        key = (
            service_name,
            str(getattr(config, "retries", None)),
            str(sorted(kwargs.items())),
            os.environ.get("AWS_ENDPOINT_URL"),
            os.environ.get("AWS_ACCESS_KEY_ID"),
        )
        if key not in made:
            made[key] = real(self, service_name, *args, config=config, **kwargs)
        return made[key]

    boto3.session.Session.client = client
    try:
        yield
    finally:
        boto3.session.Session.client = real


class Killed(BaseException):
    """``kill -9``: nothing of the task runs any more, no handler and no callback."""


def emr_spec(**emr: Any) -> ModelSpec:
    """The demo model on EMR."""
    sql = (MODELS / "flight_delays.sql").read_text()
    return demo_spec(retries=1, prepare_sql=sql, compute={"target": "emr", "emr": emr})


def tasks_of(spec: ModelSpec) -> dict[str, Any]:
    """Tasks of the retraining DAG, in order: what EMR adds, and the stages."""

    @dag(**dag_of(spec, "retraining"))
    def nightly() -> None:
        with lifecycle.compute(spec):
            given = lifecycle.ingest(spec)
            for stage in STAGES[1:5]:
                given = getattr(lifecycle, stage)(given)
        lifecycle.deploy(lifecycle.register(given))

    return {task.task_id: task for task in nightly().topological_sort()}


@dataclass
class Night:
    """One run of the DAG.

    Attributes:
        tasks: Of the DAG, in order.
        deferrable: Tasks wait in a triggerer.
        states: What became of each task.
        xcom: What each task gave.
        said: Every error, by task, in order.
        timeouts: For how long a task was deferred for nothing.
        marked: States that somebody gave tasks, which then do not run.
        before: Called before every try of a task, with its id and the number of the try.
        triggerer: Called with each trigger; gives its event, or None where no triggerer ever looks at it again.
    """

    double: AwsDouble
    tasks: dict[str, Any]
    deferrable: bool = False
    states: dict[str, str] = field(default_factory=dict)
    xcom: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    timeouts: dict[str, timedelta] = field(default_factory=dict)
    marked: dict[str, str] = field(default_factory=dict)
    before: Callable[[str, int], None] = lambda task, number: None
    triggerer: Callable[[Any], Any] | None = None
    over: bool = False

    def run(self, *, until: str | None = None) -> str:
        """Run all tasks by Airflow's rules; gives the run's state. ``until``: the last one before it is paused."""
        for name, task in self.tasks.items():
            self.states[name] = self.marked.get(name) or self._may_run(name, task) or self._tries(name, task)
            if name == until:
                return "running"
        self.over = True
        return state_of_run(self.dag, self.states)

    @property
    def dag(self) -> Any:
        return next(iter(self.tasks.values())).dag

    def _may_run(self, name: str, task: Any) -> str | None:
        """The state that a task gets without being run, if so."""
        before = [self.states[one] for one in task.upstream_task_ids]
        if task.is_teardown:
            setups = [self.states[one] for one in task.upstream_task_ids if self.tasks[one].is_setup]
            if all(state == "skipped" for state in setups):
                return "skipped"
            return None if "success" in setups else "upstream_failed"
        if any(state in ("failed", "upstream_failed") for state in before):
            return "upstream_failed"
        return "skipped" if "skipped" in before else None

    def _tries(self, name: str, task: Any) -> str:
        for number in range(1, task.retries + 2):
            try:
                self.before(name, number)
                self.xcom[name] = self._try(name, number)
                return "success"
            except AirflowSkipException:
                return "skipped"
            except AirflowFailException as error:
                self.said.append((name, str(error)))
                return "failed"
            except Exception as error:  # noqa: BLE001 (as Airflow does)
                self.said.append((name, str(error)))
            except Killed:
                self.said.append((name, "the worker is gone"))
        return "failed"

    def _try(self, name: str, number: int) -> Any:
        task = self._fresh(name)
        if not isinstance(task, EmrOperator | EmrStageOperator):
            return {"status": "succeeded"}  # a process of Airflow's machine: not what this is about
        context = self.context(name, number)
        try:
            return task.execute(context)
        except TaskDeferred as deferred:
            return self._resume(name, deferred, context)

    def _resume(self, name: str, deferred: TaskDeferred, context: Any) -> Any:
        """Go on as Airflow does: without an event, when the time is over that the task itself has set, or never."""
        event = self._fire(deferred.trigger)
        if event is not None:
            return self._fresh(name).resume_execution(deferred.method_name, {"event": event}, context)
        assert deferred.timeout is not None, f"{name} stays deferred for ever: Airflow knows no time for it"
        self.timeouts[name] = deferred.timeout
        return self._fresh(name).resume_execution(
            "__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT.value}, context
        )

    def _fresh(self, name: str) -> Any:
        """The task as another process would have it, its template rendered."""
        task = self.tasks[name]
        if name in STAGES and isinstance(task, EmrStageOperator):
            task._running = None
            before = STAGES.index(name) - 1
            task.upstream = self.xcom[STAGES[before]] if before >= 0 else None
        return task

    def _fire(self, trigger: Any) -> Any:
        return self.triggerer(trigger) if self.triggerer else fired(trigger)

    def context(self, name: str, number: int) -> dict[str, Any]:
        """What Airflow gives a task."""
        at = datetime(2013, 7, 15, 2, tzinfo=UTC)
        ti = SimpleNamespace(
            dag_id="flight_delays__retraining",
            run_id=RUN,
            task_id=name,
            try_number=number,
            xcom_pull=self._pull,
            xcom_push=lambda key, value: self.xcom.update({name: value} if key == "return_value" else {}),
            get_dagrun_state=lambda dag_id, run_id: "failed" if self.over else "running",
            get_task_states=lambda dag_id, run_ids: {RUN: {**dict.fromkeys(self.tasks), **self.states}},
        )
        run = SimpleNamespace(
            run_id=RUN, run_type="manual", run_after=at, data_interval_end=at, triggering_user_name="x"
        )
        events: Any = defaultdict(lambda: SimpleNamespace(extra={}))
        return {"ti": ti, "dag_run": run, "params": {"night": NIGHT, "dry_run": False}, "outlet_events": events}

    def _pull(self, task_ids: str) -> Any:
        return self.xcom.get(task_ids)

    def reap(self) -> Any:
        """One run of the reaper; gives what it gave."""
        operator = ReaperOperator(task_id="reap_clusters")
        return operator.execute(self.context("reap_clusters", 1))["reaped"]

    def alive(self) -> list[str]:
        """Clusters that still cost money."""
        return [f"{cluster.id} {cluster.state}" for cluster in self.double.alive() if cluster.state != "TERMINATING"]


def fired(trigger: Any) -> Any:
    """The event of a trigger, after it has been through Airflow's database."""
    classpath, arguments = trigger.serialize()
    assert classpath.endswith(".WaiterTrigger")
    again = type(trigger)(**json.loads(json.dumps(arguments)))

    async def first() -> Any:
        async for event in again.run():
            return json.loads(json.dumps(event.payload))
        raise AssertionError("a trigger gives an event")

    return asyncio.run(first())


def leave_results(double: AwsDouble, **statuses: str) -> Callable[..., str]:
    """What replaces the sending of a step: it is sent, and its result is there, as of a job that went well.

    Args:
        double: AWS.
        **statuses: What stages report instead.
    """
    send = stage_run._add

    def send_and_leave(account: Any, emr: Any, cluster_id: str, step: dict[str, Any]) -> str:
        step_id = send(account, emr, cluster_id, step)
        stage, arguments = step["Name"].split(" ")[0], step["HadoopJarStep"]["Args"]
        bucket, _, key = arguments[-1].removeprefix("s3://").partition("/")
        ref = {"dataset": stage, "interval": "2013-07-14", "version": 1, "digest": f"digest of {stage}"}
        status = statuses.get(stage, "succeeded")
        result = {"stage": stage, "status": status, "ref": ref, "reused": False, "summary": {}, "reason": None}
        if ended(double, cluster_id, step_id) == "COMPLETED":
            double.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(result).encode())
        return step_id

    return send_and_leave


def ended(double: AwsDouble, cluster_id: str, step_id: str) -> str:
    """The state of a step as soon as it is over; of one that hangs, at once."""
    [step] = [
        step
        for cluster in double.emr.clusters()
        if cluster.id == cluster_id
        for step in cluster.steps
        if step.id == step_id
    ]
    hangs = any(rule.kind == "HANG" and fnmatchcase(step.name, rule.matches) for rule in double.inject._steps)
    deadline = time.monotonic() + (0 if hangs else 60)
    while step.state in ("PENDING", "RUNNING") and time.monotonic() < deadline:
        double.settle()
    return str(step.state)
