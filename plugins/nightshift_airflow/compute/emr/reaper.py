"""Ends clusters of ours that nobody looks after any more. Whatever has no tags of ours is never touched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from nightshift.emr_settings import connection_of
from nightshift.errors import JobError, NightshiftError
from nightshift.settings import Settings
from nightshift_airflow.compute.emr.identity import deadline_of
from nightshift_airflow.notifiers import notify_leak
from nightshift_airflow.operators import for_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift_airflow.compute.emr.clusters import Cluster, Clusters

log = logging.getLogger(__name__)

# A cluster of ours whose tag nobody can read any more: longer than a night takes, shorter than a day.
WITHOUT_DEADLINE = timedelta(hours=12)
OVER = ("success", "failed")
Over = Callable[[str, str], bool]


@dataclass(frozen=True)
class Reaped:
    """A cluster that was ended, or that could not be.

    Attributes:
        cluster_id: Its id.
        model: Whose it was.
        run_id: Which run's.
        why: Why it was ended.
        hours: How long it had lived.
        error: Why it could not be ended, if so.
    """

    cluster_id: str
    model: str
    run_id: str
    why: str
    hours: float
    error: str | None = None


def reap(clusters: Clusters, env: str, *, now: datetime, over: Over, dry_run: bool = False) -> list[Reaped]:
    """End every cluster of an environment whose time is over; gives them all, also those that would not go.

    Args:
        clusters: Of the account.
        env: The environment; clusters of others are theirs to end.
        now: The present.
        over: Whether a run, by DAG and run id, has ended for certain.
        dry_run: Only say which.

    Raises:
        NightshiftError: AWS does not say what there is.
    """
    found = []
    for cluster in clusters.ours(env):
        why = overdue(cluster, now, over)
        if why is None:
            log.info("%s of %s is looked after: its run goes on", cluster, cluster.tags.get("model"))
            continue
        error = None
        if not dry_run:
            try:
                clusters.end(cluster.id)
            except NightshiftError as caught:
                error = caught.message
        hours = round((now - cluster.created).total_seconds() / 3600, 2)
        tags = cluster.tags
        found.append(Reaped(cluster.id, tags.get("model", "?"), tags.get("run_id", "?"), why, hours, error))
    return found


def overdue(cluster: Cluster, now: datetime, over: Over) -> str | None:
    """Why a cluster should be gone by now; None where it should not."""
    deadline = deadline_of(cluster.tags)
    if deadline is None and now >= cluster.created + WITHOUT_DEADLINE:
        return f"its tag deadline cannot be read, and it is older than {WITHOUT_DEADLINE}"
    if deadline is not None and now >= deadline:
        return f"its deadline was {deadline:%Y-%m-%d %H:%M} UTC"
    if over(cluster.tags.get("dag_id", ""), cluster.tags.get("run_id", "")):
        return "its run has ended"
    return None


class ReaperOperator(BaseOperator):
    """Runs the reaper, and says loudly what it found: every find is a fault somewhere else."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives what was ended.

        Raises:
            AirflowFailException: AWS refuses.
            NightshiftError: Something lives on, or AWS does not answer.
        """
        from nightshift_airflow.compute.emr.account import Account
        from nightshift_airflow.compute.emr.clusters import Clusters

        with for_airflow():
            settings, dry_run = Settings.from_environment(), context["params"].get("dry_run", False)
            clusters = Clusters(Account(connection_of()))
            found = reap(clusters, settings.env, now=datetime.now(UTC), over=_over(context), dry_run=dry_run)
            if not found:
                log.info("no cluster of the environment %s is overdue", settings.env)
            for one in found:
                log.error("LEAKED: %s", sentence(one, dry_run=dry_run))
                notify_leak(context, one.model, settings, sentence(one, dry_run=dry_run))
            if alive := [one for one in found if one.error]:
                raise JobError(
                    "\n".join(sentence(one, dry_run=dry_run) for one in alive),
                    hint="end them in the AWS console; docs/emr.md says what the orchestrator's policy must allow",
                )
            return {"reaped": [asdict(one) for one in found]}


def sentence(one: Reaped, *, dry_run: bool) -> str:
    """For people."""
    verb = "would be ended" if dry_run else f"could not be ended ({one.error})" if one.error else "was ended"
    return f"the cluster {one.cluster_id} of {one.model}, run {one.run_id}, {verb} after {one.hours:g} h: {one.why}"


def _over(context: Context) -> Over:
    """Whether a run has ended, by this Airflow. One that it does not know may be another Airflow's."""
    state_of: Callable[..., str] = context["ti"].get_dagrun_state
    known: dict[tuple[str, str], bool] = {}

    def over(dag_id: str, run_id: str) -> bool:
        key = (dag_id, run_id)
        if key not in known:
            try:
                known[key] = str(state_of(dag_id=dag_id, run_id=run_id)).rpartition(".")[2].lower() in OVER
            except (AirflowException, AirflowRuntimeError) as error:
                log.info("this Airflow does not know the run %s of %s: %s", run_id, dag_id, error)
                known[key] = False
        return known[key]

    return over
