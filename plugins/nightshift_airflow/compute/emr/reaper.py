"""Ends clusters of ours that nobody looks after any more. Whatever has no tags of ours is never touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from nightshift.emr_settings import connection_of
from nightshift.errors import JobError, NightshiftError
from nightshift.settings import Settings
from nightshift_airflow.compute.emr.clusters import COSTING
from nightshift_airflow.compute.emr.identity import deadline_of, from_tag, is_ours, prefix_of
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

    def sentence(self, *, dry_run: bool) -> str:
        """For people."""
        verb = "would be ended" if dry_run else f"could not be ended ({self.error})" if self.error else "was ended"
        whose = f"{self.model}, run {self.run_id}"
        return f"the cluster {self.cluster_id} of {whose}, {verb} after {self.hours:g} h: {self.why}"


@dataclass(frozen=True)
class Unseen:
    """A cluster with a name of ours that nobody could look at.

    Attributes:
        cluster_id: Its id.
        name: Its name.
        error: Why not.
    """

    cluster_id: str
    name: str
    error: str

    def sentence(self) -> str:
        """For people."""
        return f"the cluster {self.cluster_id}, {self.name}, may be overdue: {self.error}"


def reap(
    clusters: Clusters, env: str, *, now: datetime, over: Over, dry_run: bool = False
) -> Iterator[Reaped | Unseen]:
    """End every cluster of an environment whose time is over; gives each when that is done, also one that would not go.

    Args:
        clusters: Of the account.
        env: The environment; clusters of others are theirs to end.
        now: The present.
        over: Whether a run, by DAG and run id, has ended for certain.
        dry_run: Only say which.

    Raises:
        NightshiftError: AWS does not say what there is.
    """
    for cluster_id, name in clusters.living():
        try:
            cluster = clusters.describe(cluster_id)
        except NightshiftError as error:
            if name.startswith(prefix_of(env)):
                yield Unseen(cluster_id, name, error.message)
            else:
                log.warning("not ours by its name, %s: %s", name, error.message)
            continue
        if is_ours(cluster.tags, env) and cluster.state in COSTING:
            yield from _reap(clusters, cluster, now=now, over=over, dry_run=dry_run)


def _reap(clusters: Clusters, cluster: Cluster, *, now: datetime, over: Over, dry_run: bool) -> Iterator[Reaped]:
    why, tags = overdue(cluster, now, over), cluster.tags
    if why is None:
        log.info("%s of %s is looked after: its run goes on", cluster, tags.get("model"))
        return
    error = None
    if not dry_run:
        try:
            clusters.end(cluster.id)
        except NightshiftError as caught:
            error = caught.message
    hours = round((now - cluster.created).total_seconds() / 3600, 2)
    yield Reaped(cluster.id, tags.get("model", "?"), from_tag(tags.get("run_id", "?")), why, hours, error)


def overdue(cluster: Cluster, now: datetime, over: Over) -> str | None:
    """Why a cluster should be gone by now; None where it should not."""
    deadline = deadline_of(cluster.tags)
    if deadline is None and now >= cluster.created + WITHOUT_DEADLINE:
        return f"its tag deadline cannot be read, and it is older than {WITHOUT_DEADLINE}"
    if deadline is not None and now >= deadline:
        return f"its deadline was {deadline:%Y-%m-%d %H:%M} UTC"
    if over(from_tag(cluster.tags.get("dag_id", "")), from_tag(cluster.tags.get("run_id", ""))):
        return "its run has ended"
    return None


class ReaperOperator(BaseOperator):
    """Runs the reaper, and says loudly what it found: every find is a fault somewhere else."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives what was ended.

        Raises:
            AirflowFailException: AWS refuses to say what there is.
            NightshiftError: Something may live on, or AWS does not answer.
        """
        from nightshift_airflow.compute.emr.account import Account
        from nightshift_airflow.compute.emr.clusters import Clusters

        with for_airflow():
            settings, dry_run = Settings.from_environment(), context["params"].get("dry_run", False)
            clusters = Clusters(Account(connection_of()))
            ended: list[Reaped] = []
            troubles: list[str] = []
            for one in reap(clusters, settings.env, now=datetime.now(UTC), over=_over(context), dry_run=dry_run):
                if isinstance(one, Unseen):
                    log.error("%s", one.sentence())
                    troubles.append(one.sentence())
                    continue
                _tell(context, one, settings, dry_run=dry_run)
                ended.append(one)
                troubles += [one.sentence(dry_run=dry_run)] if one.error else []
            if troubles:
                raise JobError(
                    "\n".join(troubles),
                    hint="end them in the AWS console; docs/emr.md says what the orchestrator's policy must allow",
                )
            if not ended:
                log.info("no cluster of the environment %s is overdue", settings.env)
            return {"reaped": [asdict(one) for one in ended]}


def _tell(context: Context, one: Reaped, settings: Settings, *, dry_run: bool) -> None:
    """Say it loudly; a dry run says it to whoever asked for it, and to nobody else."""
    sentence = one.sentence(dry_run=dry_run)
    log.error("LEAKED: %s", sentence)
    if not dry_run:
        notify_leak(context, one.model, settings, sentence)


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
