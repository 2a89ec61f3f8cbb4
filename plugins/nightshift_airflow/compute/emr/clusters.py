"""Finds, creates and ends clusters. What belongs to a run is told by tags, so nothing depends on a stored id."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.errors import JobError, NightshiftError, SettingsError
from nightshift_airflow.compute.emr.account import Account, Refused, in_our_words, tags_of
from nightshift_airflow.compute.emr.identity import Identity
from nightshift_airflow.compute.emr.waiting import Patience

log = logging.getLogger(__name__)

COSTING = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
UP = ("RUNNING", "WAITING")
ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
PROTECTED = "termination protected"  # AWS's words; its code is that of any other bad request
# A cluster may be listed a little later than it was created.
LOOKS = 5
PAUSE = 2.0


@dataclass(frozen=True)
class Cluster:
    """A cluster as AWS describes it.

    Attributes:
        id: Such as ``j-2AXXXXXXGAPLF``.
        name: Its name.
        state: Such as ``WAITING``.
        reason: Why it is in that state; empty where AWS says nothing.
        created: When it was asked for.
        tags: Its tags.
    """

    id: str
    name: str
    state: str
    reason: str
    created: datetime
    tags: Mapping[str, str]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Cluster:
        status = told["Status"]
        change = status.get("StateChangeReason", {})
        reason = ": ".join(part for part in (change.get("Code"), change.get("Message")) if part)
        created = status["Timeline"]["CreationDateTime"]
        return cls(told["Id"], told["Name"], status["State"], reason, created, tags_of(told))

    def __str__(self) -> str:
        return f"{self.id} ({self.state}{f', {self.reason}' if self.reason else ''})"


class Clusters:
    """The clusters of an account.

    Args:
        account: The account.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def describe(self, cluster_id: str) -> Cluster:
        """Raises NightshiftError: There is none, or AWS does not say."""
        told = self._account.call(
            f"look at the cluster {cluster_id}",
            lambda: self._account.hook.conn.describe_cluster(ClusterId=cluster_id)["Cluster"],
        )
        return Cluster.of(told)

    def of_run(self, identity: Identity) -> list[Cluster]:
        """Living clusters of a run, the oldest first.

        Raises:
            NightshiftError: AWS does not say.
        """
        errors: list[NightshiftError] = []
        found = self._of_run(identity, errors)
        raise_all(errors)
        return found

    def _of_run(self, identity: Identity, errors: list[NightshiftError]) -> list[Cluster]:
        """The same, without those that nobody may look at."""
        found = []
        for cluster_id, name in self.living():
            if name == identity.name:
                with collected(errors):
                    found.append(self.describe(cluster_id))
        ours = [cluster for cluster in found if identity.owns(cluster.tags) and cluster.state in COSTING]
        return sorted(ours, key=lambda cluster: (cluster.created, cluster.id))

    def living(self) -> list[tuple[str, str]]:
        """Id and name of every living cluster of the account, whoever's it is.

        Raises:
            NightshiftError: AWS does not say.
        """

        def listed() -> list[tuple[str, str]]:
            pages = self._account.hook.conn.get_paginator("list_clusters").paginate(ClusterStates=list(COSTING))
            return [(each["Id"], each["Name"]) for page in pages for each in page["Clusters"]]

        return self._account.call("list the clusters", listed)

    # -- creating --------------------------------------------------------------------------------------

    def one_for(self, identity: Identity, request: Mapping[str, Any]) -> Cluster:
        """The run's cluster: the one that lives, else a new one; of several the oldest, and the others are ended.

        Raises:
            NightshiftError: It cannot be created, or AWS does not say whether it was.
        """
        found = self.of_run(identity)
        if not found:
            return self._once_known(self._create(identity, request))
        for extra in found[1:]:
            log.warning("a second cluster of this run, %s: ending it", extra)
            self.end(extra.id)
        log.info("this run has the cluster %s already", found[0])
        return found[0]

    def _once_known(self, cluster_id: str) -> Cluster:
        """A cluster that was created a moment ago: it may not be known everywhere at once."""
        patience = Patience(f"look at the cluster {cluster_id}")
        while True:
            try:
                return self.describe(cluster_id)
            except Refused as error:
                patience.bear(error)
                time.sleep(PAUSE)

    def _create(self, identity: Identity, request: Mapping[str, Any]) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        def create() -> str:
            try:
                return str(self._account.once().create_job_flow(dict(request))["JobFlowId"])
            except (BotoCoreError, ClientError) as error:
                if not outcome_unknown(error):
                    raise
                log.warning("nobody can tell whether the cluster was created: %s", error)
                return self._unheard(identity, in_our_words(error, "create the cluster"))

        return self._account.call("create the cluster", create)

    def _unheard(self, identity: Identity, error: NightshiftError) -> str:
        """The id of a cluster whose creation nobody answered; raises the error if none appears."""
        for _ in range(LOOKS):
            found = self.of_run(identity)
            if found:
                return found[0].id
            time.sleep(PAUSE)
        raise error

    # -- ending ----------------------------------------------------------------------------------------

    def end(self, cluster_id: str) -> None:
        """Begin to end a cluster, protected or not; one that has ended is no error.

        Raises:
            NightshiftError: AWS refuses, and the cluster lives.
        """
        try:
            self._terminate(cluster_id)
        except NightshiftError:
            if self._lives(cluster_id):
                raise
        log.info("cluster %s is being ended", cluster_id)

    def _terminate(self, cluster_id: str) -> None:
        """First without a look at its protection: whoever may not take it off may still end what has none."""

        def terminate() -> None:
            self._account.hook.conn.terminate_job_flows(JobFlowIds=[cluster_id])

        def unprotect() -> None:
            self._account.hook.conn.set_termination_protection(JobFlowIds=[cluster_id], TerminationProtected=False)

        try:
            self._account.call(f"end the cluster {cluster_id}", terminate)
        except Refused as error:
            if PROTECTED not in error.message:
                raise
            log.warning("the cluster %s is protected: taking that off", cluster_id)
            self._account.call(f"take the protection off the cluster {cluster_id}", unprotect)
            self._account.call(f"end the cluster {cluster_id}", terminate)

    def _lives(self, cluster_id: str) -> bool:
        """Whether it costs money, as far as anybody knows."""
        try:
            return self.describe(cluster_id).state in COSTING
        except NightshiftError as error:
            log.warning("%s", error.message)
            return True

    def end_all(self, identity: Identity, *, also: str | None = None) -> list[str]:
        """Begin to end everything of a run; gives the ids. What cannot be ended keeps nothing else alive.

        Args:
            identity: The run.
            also: An id that somebody remembers: a new cluster may not be listed yet.

        Raises:
            NightshiftError: AWS does not say what there is, or refuses.
        """
        errors: list[NightshiftError] = []
        ids: list[str] = []
        with collected(errors):
            ids += [cluster.id for cluster in self._of_run(identity, errors)]
        if also is not None and also not in ids:
            with collected(errors):
                remembered = self.describe(also)
                if identity.owns(remembered.tags) and remembered.state in COSTING:
                    ids.append(also)
        for cluster_id in ids:
            with collected(errors):
                self.end(cluster_id)
        raise_all(errors)
        return ids


@contextmanager
def collected(errors: list[NightshiftError]) -> Iterator[None]:
    """Keep an error for later: there is more to do, whatever has gone wrong."""
    try:
        yield
    except NightshiftError as error:
        log.error("%s", error.message)
        errors.append(error)


def raise_all(errors: Sequence[NightshiftError]) -> None:
    """Raises NightshiftError: There is an error; of several the message has all, once each."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = JobError if any(error.retryable for error in errors) else SettingsError
        raise kind("\n".join(dict.fromkeys(error.message for error in errors)), hint=errors[0].hint)


def outcome_unknown(error: Exception) -> bool:
    """Whether a request may have been carried out although it failed here."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    from botocore.exceptions import HTTPClientError

    return isinstance(error, HTTPClientError)


def require_up(cluster: Cluster, log_uri: str) -> None:
    """Raises JobError: The cluster has ended, or is ending."""
    if cluster.state not in UP:
        raise JobError(
            f"the cluster {cluster.id} did not start: {cluster.state}, {cluster.reason or 'AWS does not say why'}.",
            hint=f"its logs are below {log_uri}/{cluster.id}/node/; docs/emr.md says what the usual reasons are",
        )
