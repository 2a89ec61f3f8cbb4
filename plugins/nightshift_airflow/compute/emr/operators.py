"""The tasks that EMR adds to a night, and the stages that run there.

``preflight`` checks everything that can be checked for nothing. ``cluster`` creates the cluster, or finds the one that
this run has; ``release`` ends it, whatever has become of the night. Both are by tag: they need no id. The first two
are setup tasks: Airflow runs no teardown of which no setup succeeded, and a cluster that was asked for may live
although the task that asked for it has failed.

Airflow parses this module; everything that costs time to import is imported by what runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from nightshift.errors import JobError, NightshiftError
from nightshift.spec.models import ModelSpec
from nightshift_airflow.compute.emr.identity import Identity
from nightshift_airflow.links import ClusterLink, show_while_running
from nightshift_airflow.operators import StageOperator, for_airflow, task_defaults
from nightshift_airflow.runs import NightFailed, interval_of, trigger_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift.emr_settings import EmrSettings
    from nightshift.jobs import Cancellation, Job
    from nightshift.settings import Settings
    from nightshift.stage import StageResult
    from nightshift_airflow.compute.emr.account import Account
    from nightshift_airflow.compute.emr.clusters import Cluster, Clusters
    from nightshift_airflow.compute.emr.stage_run import Submitted
    from nightshift_airflow.handover import Handover

log = logging.getLogger(__name__)

START_LIMIT = timedelta(minutes=45)  # on-demand capacity may take its time; spot falls back after minutes
END_LIMIT = timedelta(minutes=30)
LATE = timedelta(minutes=10)  # by which a trigger may miss its time, before Airflow believes it lost
CREATE = "cluster"


class EmrOperator(BaseOperator):
    """What the tasks around the stages share.

    Args:
        spec: The model's spec.
        **kwargs: Arguments of ``BaseOperator``.
    """

    ui_color = "#f3ead9"

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        super().__init__(**{**task_defaults(spec), "pool": "default_pool", **kwargs})
        self.spec = spec
        self.console: str | None = None


class PreflightOperator(EmrOperator):
    """Checks spec, settings and account. Costs nothing; what it refuses, nothing has been paid for."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives what was found, for people.

        Raises:
            AirflowSkipException: There is nothing to do on this night.
            AirflowFailException: The night cannot run on EMR; the message says all that is wrong.
            NightshiftError: AWS does not answer.
        """
        from nightshift.emr_settings import EmrSettings
        from nightshift.jobs import make_plan
        from nightshift.settings import Settings
        from nightshift_airflow.compute.emr.account import Account
        from nightshift_airflow.compute.emr.preflight import PATIENCE, check

        with for_airflow():
            run, settings = context["dag_run"], Settings.from_environment()
            interval = interval_of(run, night=context["params"].get("night"), until=self.spec.source.until)
            plan = make_plan(self.spec, interval, settings, run_id=run.run_id, trigger=trigger_of(run))
            emr = EmrSettings.from_environment()
            return check(plan, settings, emr, Account(emr.connection, patience=PATIENCE))


class ClusterOperator(EmrOperator):
    """Creates the run's cluster, or finds it, and waits until it is up."""

    operator_extra_links = (ClusterLink(),)

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives the cluster's id.

        Raises:
            AirflowFailException: AWS refuses.
            NightshiftError: It does not start, or AWS does not answer.
        """
        with for_airflow():
            run = EmrRun.of(context, self.spec)
            cluster = run.create()
            self._show(context, run, cluster.id)
            arguments = {"ClusterId": cluster.id}
            if deferred():
                self.defer(**run.deferral("job_flow_waiting", arguments, limit=START_LIMIT, carry=arguments))
            from nightshift_airflow.compute.emr.waiting import wait

            wait(run.account, "job_flow_waiting", arguments, poll_s=run.emr.poll_s, limit_s=START_LIMIT.total_seconds())
            return run.up(cluster.id)

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has seen the cluster start, or fail; as ``execute``."""
        from nightshift_airflow.compute.emr.waiting import resumed

        with for_airflow():
            run, cluster_id = EmrRun.of(context, self.spec), event["carry"]["ClusterId"]
            self.console = console(run.account.region, cluster_id)
            resumed(event)
            return run.up(cluster_id)

    def on_kill(self) -> None:
        """Nothing: ``release`` follows, or this task's next try finds the cluster again."""

    def _show(self, context: Context, run: EmrRun, cluster_id: str) -> None:
        self.console = console(run.account.region, cluster_id)
        show_while_running(context, self.console, ClusterLink())
        self.log.info("cluster %s: %s", cluster_id, self.console)


class ReleaseOperator(EmrOperator):
    """Ends whatever this run has on EMR, and waits until it is gone. Then it fails if the night has failed."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives the ids of what was ended.

        Raises:
            NightFailed: Nothing is left of a night that has failed.
            AirflowFailException: AWS refuses.
            NightshiftError: Something lives on, or AWS does not answer.
        """
        from nightshift_airflow.compute.emr.outcome import went_wrong

        with for_airflow():
            ended = self._end(context)
        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
        if why := went_wrong(states, lambda task: ti.xcom_pull(task_ids=task), around=("preflight", CREATE)):
            raise NightFailed(f"{why}; the cluster is gone.")
        return {"ended": ended}

    def _end(self, context: Context) -> list[str]:
        """Gives the ids of what was ended.

        Raises:
            NightshiftError: AWS refuses or does not answer, or something lives on.
        """
        from nightshift.emr_settings import connection_of
        from nightshift.settings import Settings
        from nightshift_airflow.compute.emr.account import Account
        from nightshift_airflow.compute.emr.clusters import Clusters
        from nightshift_airflow.compute.emr.waiting import wait

        account = Account(connection_of())
        clusters = Clusters(account)
        identity = identity_of(context, self.spec, Settings.from_environment())
        remembered = context["ti"].xcom_pull(task_ids=CREATE) or {}
        ended = clusters.end_all(identity, also=remembered.get("cluster_id"))
        deadline = time.monotonic() + END_LIMIT.total_seconds()
        for cluster_id in ended:
            left = max(1.0, deadline - time.monotonic())
            wait(account, "job_flow_terminated", {"ClusterId": cluster_id}, poll_s=poll_s(), limit_s=left)
        if alive := clusters.of_run(identity):
            raise JobError(f"the cluster {', '.join(map(str, alive))} lives on.", hint="this task tries again")
        self.log.info("ended: %s", ", ".join(ended) or "nothing, there was nothing left")
        return ended


class EmrStageOperator(StageOperator):
    """Runs one stage as a step of the run's cluster."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"pool": "default_pool", **kwargs})
        self.operator_extra_links = (ClusterLink(),)
        self.console: str | None = None
        self._running: Submitted | None = None

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has seen the step end; as ``execute``."""
        return self._concluded(context, lambda: self._finish(context, event))

    def on_kill(self) -> None:
        """Cancel the step: called when the task is cancelled, marked, or out of time."""
        super().on_kill()
        if self._running is not None:
            self._running.cancel()

    def _do(
        self, context: Context, settings: Settings, handover: Handover, job: Job, cancellation: Cancellation
    ) -> StageResult:
        from nightshift_airflow.compute.emr.stage_run import submit

        run = EmrRun.of(context, self.spec)
        cluster = run.living(context)
        self.console = console(run.account.region, cluster.id)
        show_while_running(context, self.console, ClusterLink())
        code = run.code()
        attempt = context["ti"].try_number
        self._running = submitted = submit(
            run.account, run.emr, job, cluster_id=cluster.id, spec=self.spec, code=code, attempt=attempt
        )
        if cancellation.reason:  # on_kill came before there was anything to cancel
            submitted.cancel()
            raise JobError(f"the {job.stage} job was ended: {cancellation.reason}.")
        if deferred():
            carry = {**submitted.to_dict(), "handover": handover.so_far()}
            limit = self.execution_timeout or timedelta(hours=6)
            arguments, result = submitted.arguments(), submitted.result
            self.defer(**run.deferral("step_wait_for_terminal", arguments, limit=limit, carry=carry, result=result))
        return submitted.wait(self.execution_timeout or timedelta(hours=6))

    def _finish(self, context: Context, event: Mapping[str, Any]) -> Handover:
        from nightshift_airflow.compute.emr.stage_run import Submitted
        from nightshift_airflow.compute.emr.waiting import resumed
        from nightshift_airflow.handover import Handover

        run, carry = EmrRun.of(context, self.spec), event["carry"]
        submitted = Submitted.from_dict(run.account, run.emr, carry)
        self.console = console(run.account.region, submitted.cluster_id)
        try:
            resumed(event)
        except NightshiftError:
            submitted.cancel()
            raise
        return Handover.from_dict(carry["handover"]).followed_by(submitted.outcome())


class EmrRun:
    """What every task of a run on EMR needs to know.

    Args:
        identity: Whose cluster it is.
        spec: The model's spec.
        settings: The environment.
        emr: The account's part of it.
    """

    def __init__(self, identity: Identity, spec: ModelSpec, settings: Settings, emr: EmrSettings) -> None:
        from nightshift_airflow.compute.emr.account import Account
        from nightshift_airflow.compute.emr.clusters import Clusters

        self.identity = identity
        self.emr = emr
        self.account: Account = Account(emr.connection)
        self.clusters: Clusters = Clusters(self.account)
        self._spec = spec
        self._settings = settings

    @classmethod
    def of(cls, context: Context, spec: ModelSpec) -> EmrRun:
        """Raises SettingsError: The environment does not say enough."""
        from nightshift.emr_settings import EmrSettings
        from nightshift.settings import Settings

        settings = Settings.from_environment()
        return cls(identity_of(context, spec, settings), spec, settings, EmrSettings.from_environment())

    def create(self) -> Cluster:
        """The run's cluster, a new one if it has none.

        Raises:
            NightshiftError: It cannot be created.
        """
        from nightshift_airflow.compute.emr.packages import dependencies
        from nightshift_airflow.compute.emr.request import cluster_request

        request = cluster_request(
            self._spec.compute.emr,
            self.emr,
            self.identity,
            needed=dependencies(self.account, self.emr),
            region=self.account.region,
            storage=self._settings.storage,
            now=datetime.now(UTC),
        )
        return self.clusters.one_for(self.identity, request)

    def up(self, cluster_id: str) -> dict[str, Any]:
        """Raises JobError: The cluster has not started."""
        from nightshift_airflow.compute.emr.clusters import require_up

        require_up(self.clusters.describe(cluster_id), self.emr.log_uri)
        return {"cluster_id": cluster_id, "log_uri": f"{self.emr.log_uri}/{cluster_id}/"}

    def living(self, context: Context) -> Cluster:
        """The cluster to send a step to. A stage that is tried again, because the cluster was lost, gets a new one.

        Raises:
            NightshiftError: There is none.
        """
        from nightshift_airflow.compute.emr.clusters import UP, require_up
        from nightshift_airflow.compute.emr.waiting import wait

        cluster = next(iter(self.clusters.of_run(self.identity)), None)
        if cluster is None:
            remembered = (context["ti"].xcom_pull(task_ids=CREATE) or {}).get("cluster_id")
            if remembered and context["ti"].try_number == 1:
                cluster = self.clusters.describe(remembered)
                require_up(cluster, self.emr.log_uri)
                return cluster
            log.warning("this run has no cluster any more: creating another")
            cluster = self.create()
        if cluster.state not in UP:
            limit = START_LIMIT.total_seconds()
            arguments = {"ClusterId": cluster.id}
            wait(self.account, "job_flow_waiting", arguments, poll_s=self.emr.poll_s, limit_s=limit)
            self.up(cluster.id)
        return cluster

    def code(self) -> Any:
        """Raises NightshiftError: It cannot be uploaded."""
        from nightshift_airflow.compute.emr.packages import dependencies, provide_code

        return provide_code(self.account, self.emr, dependencies(self.account, self.emr))

    def deferral(
        self,
        waiter: str,
        arguments: Mapping[str, str],
        *,
        limit: timedelta,
        carry: Mapping[str, Any],
        result: str | None = None,
    ) -> dict[str, Any]:
        """How a task waits in the triggerer, and when Airflow goes on without it.

        The trigger keeps the limit itself; a trigger that no triggerer runs cannot.
        """
        from nightshift_airflow.compute.emr.triggers import WaiterTrigger

        trigger = WaiterTrigger(
            connection=self.emr.connection,
            waiter=waiter,
            arguments=arguments,
            poll_s=self.emr.poll_s,
            limit_s=limit.total_seconds(),
            until=time.time() + limit.total_seconds(),
            carry=carry,
            result=result,
        )
        return {"trigger": trigger, "method_name": "resume", "timeout": limit + LATE}


def identity_of(context: Context, spec: ModelSpec, settings: Settings) -> Identity:
    """Whose cluster a task's is."""
    ti = context["ti"]
    return Identity(settings.env, spec.model, spec.owner, ti.dag_id, ti.run_id)


def deferred() -> bool:
    """Whether tasks wait in the triggerer: ``[operators] default_deferrable``, as for every operator of AWS."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def poll_s() -> float:
    """How often to look, also where another variable of EMR is wrong: what lives must be ended all the same."""
    from nightshift.emr_settings import EmrSettings
    from nightshift.errors import SettingsError

    try:
        return EmrSettings.from_environment().poll_s
    except SettingsError:
        return 15.0


def console(region: str, cluster_id: str) -> str:
    """The cluster's page in the AWS console."""
    return f"https://{region}.console.aws.amazon.com/emr/home?region={region}#/clusterDetails/{cluster_id}"
