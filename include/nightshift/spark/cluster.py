"""What can go wrong with a cluster while a job uses it, and how the job gets to know in time.

Spark itself waits for ever where no worker has room, and where every worker has gone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from nightshift.errors import JobError, SettingsError
from nightshift.settings import Settings
from nightshift.storage.objects import Objects

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

WAIT = "NIGHTSHIFT_SPARK_WAIT"
WAIT_SECONDS = 180
POLL = 1.0
PAGE_PORT = 8080
PAGE_SECONDS = 5


class Watch:
    """Sees to it that an application has an executor: when it begins, and until it ends.

    A context manager. It begins when the first executor is there; where there is none for too long, at the
    beginning or later, what the application is doing is cancelled and the block ends with a JobError.

    Args:
        session: The session on the cluster.

    Raises:
        SettingsError: ``NIGHTSHIFT_SPARK_WAIT`` is not a number of seconds.
    """

    def __init__(self, session: SparkSession) -> None:
        self._context: Any = session.sparkContext
        self._patience = wait_seconds()
        self._over = threading.Event()
        self._complaint: JobError | None = None
        self._thread = threading.Thread(target=self._look, name="spark-watch", daemon=True)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._patience
        told = time.monotonic() + 10
        while self._executors() == 0:
            if self._stopped():
                raise self._ended()
            if time.monotonic() >= deadline:
                raise self._no_room()
            if time.monotonic() >= told:
                log.info("waiting for the cluster to have room: %s", _asked(self._context))
                told = deadline
            time.sleep(0.1)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            return
        if self._complaint is not None:
            raise self._complaint from error
        if self._stopped():
            raise self._ended() from error

    def _look(self) -> None:
        seen = time.monotonic()
        while not self._over.wait(POLL):
            if self._stopped():
                return
            if self._executors() > 0:
                seen = time.monotonic()
            elif time.monotonic() - seen >= self._patience:
                self._complaint = self._complaint or self._no_room()
                self._context.cancelAllJobs()

    def _executors(self) -> int:
        status = self._context._jsc.sc().getExecutorMemoryStatus()
        return int(status.size()) - 1  # the driver counts itself

    def _stopped(self) -> bool:
        return bool(self._context._jsc is None or self._context._jsc.sc().isStopped())

    def _ended(self) -> JobError:
        return JobError(
            f"the Spark cluster {self._context.master} ended the application.",
            hint="Spark's lines above say why; the master's page shows the application and its executors' logs",
        )

    def _no_room(self) -> JobError:
        return JobError(
            f"the Spark cluster {self._context.master} gave the job no executor within {self._patience:.0f} s. "
            f"Asked for: {_asked(self._context)}. {_offers(self._context.master)}",
            hint="start more workers, wait for other applications to end, or ask for less: "
            f"NIGHTSHIFT_SPARK_EXECUTOR_MEMORY, NIGHTSHIFT_SPARK_CORES; {WAIT} is how long to wait",
        )


def wait_seconds() -> float:
    """How long to wait for an executor.

    Raises:
        SettingsError: ``NIGHTSHIFT_SPARK_WAIT`` is not a number of seconds.
    """
    text = os.environ.get(WAIT) or str(WAIT_SECONDS)
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise SettingsError(f"{WAIT} is {text!r}.", hint="use a whole number of seconds, 1 or more")
    return float(text)


def prepare_events(uri: str | None) -> None:
    """Make the folder of event logs: Spark does not start where it is missing, and S3 has no empty folders.

    Raises:
        StorageError: The store failed.
        SettingsError: The folder cannot be made.
    """
    if uri is None:
        return
    if uri.startswith("file:"):
        try:
            Path(unquote(urlsplit(uri).path)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"NIGHTSHIFT_SPARK_EVENTS: {uri} cannot be made: {error.strerror}") from error
        return
    Objects(uri.replace("s3a://", "s3://")).create(".keep", b"")


def _asked(context: Any) -> str:
    conf = context.getConf()
    cores = conf.get("spark.executor.cores") or "1"
    return f"an executor with {cores} core and {conf.get('spark.executor.memory')} of memory"


def _offers(master: str) -> str:
    """What the master's page says it has, in words."""
    told = next(filter(None, map(_state, _pages(master), repeat(master))), None)
    if told is None:
        return "The master's page, which knows what there is, cannot be reached from here."
    workers = [worker for worker in told["workers"] if worker["state"] == "ALIVE"]
    if not workers:
        return "The cluster has no living worker."
    free = ", ".join(
        f"{worker['host']} {worker['coresfree']} of {worker['cores']} cores and "
        f"{worker['memoryfree']} of {worker['memory']} MiB"
        for worker in workers
    )
    return f"The cluster has free: {free}."


def _pages(master: str) -> Iterator[str]:
    """Where the master's page may be: as people see it, else at the port that it has by default."""
    shown = Settings.from_environment().spark_ui
    if shown:
        yield shown
    for place in master.removeprefix("spark://").split(","):
        yield f"http://{place.rpartition(':')[0]}:{PAGE_PORT}"


def _state(page: str, master: str) -> Mapping[str, Any] | None:
    """What a page says, if it is this master's."""
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(f"{page}/json/", timeout=PAGE_SECONDS) as answer:
            told: dict[str, Any] = json.load(answer)
        return told if told["url"] in master and "workers" in told else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.debug("%s does not say what the cluster has: %s", page, error)
        return None
