"""Distributed training needs all its workers at once. Spark, left alone, waits for ever where it cannot have them,
and gives up where it loses one of them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nightshift.errors import JobError, SpecError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

T = TypeVar("T")
ATTEMPTS = 3
# Executors register one after another, within seconds; so long after the last one, no more will come.
SETTLED_SECONDS = 20.0
# A worker that was lost, and is started again by whatever looks after it, is back well within this.
LOST_SECONDS = 90.0
# A failed task may be heard of before the loss of its executor.
NOTICE_SECONDS = 5.0
POLL = 0.5
TELL_SECONDS = 15.0
GROUP = "nightshift-training"
# How a Python process of an executor says what was wrong.
PYTHON_ERROR = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception): .+)$", re.MULTILINE)
LONGEST_REASON = 400


def with_all_workers(spark: SparkSession, workers: int, train: Callable[[], T]) -> T:
    """Train as soon as there is a slot for every worker; begin anew where an executor was lost.

    Args:
        spark: The session.
        workers: How many slots the training needs.
        train: The training.

    Raises:
        SpecError: This machine will never have as many slots.
        JobError: The cluster does not have as many, lost one too often, or the training failed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        slots = Slots(spark, workers, again=attempt > 1)
        try:
            with slots:
                return train()
        except JobError as error:
            if attempt == ATTEMPTS or not slots.lost_some():
                raise
            log.warning(
                "an executor was lost: %s Training begins anew when there are %d slots.", error.message, workers
            )
    raise AssertionError("the loop returns or raises")


class Slots:
    """The tasks that Spark can run at once, as far as a training is concerned.

    A context manager around the training. It begins when there is a slot for every worker; while the block runs
    it says how things stand. Where slots are lost for too long, Spark's jobs are cancelled. What Spark fails
    with leaves the block as a JobError.

    Args:
        spark: The session.
        workers: How many slots the training needs.
        again: An executor was lost: what looks after it gets time to start it again.

    Raises:
        SpecError: This machine will never have as many.
        JobError: The cluster does not have as many, or the training failed.
    """

    def __init__(self, spark: SparkSession, workers: int, *, again: bool) -> None:
        self._context: Any = spark.sparkContext
        self._workers = workers
        self._again = again
        self._executors: frozenset[str] = frozenset()
        self._began = time.monotonic()
        self._over = threading.Event()
        self._complaint: JobError | None = None
        self._thread = threading.Thread(target=self._look, name="training-slots", daemon=True)

    def __enter__(self) -> Self:
        self._wait()
        self._executors = self._present()
        self._began = time.monotonic()
        self._context.setJobGroup(GROUP, f"training on {self._workers} workers")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        self._over.set()
        self._thread.join()
        if self._context._jsc is not None:
            for name in ("spark.jobGroup.id", "spark.job.description"):
                self._context.setLocalProperty(name, None)
        if self._complaint is not None and error is not None:
            raise self._complaint from error
        if isinstance(error, Py4JError | PySparkException):
            raise JobError(
                f"training on {self._workers} workers failed: {reason_of(error)}",
                hint="the workers' own words are in the logs of their executors, on the page of Spark's master; "
                "one that is gone without a word had too little memory, or its machine was lost",
            ) from error

    def count(self) -> int:
        """How many tasks Spark can run at once now: the cores of all executors by ``spark.task.cpus``."""
        spark = self._context._jsc.sc()
        return int(spark.maxNumConcurrentTasks(spark.resourceProfileManager().resourceProfileFromId(0)))

    def lost_some(self) -> bool:
        """Whether an executor that was there when the block began is gone."""
        deadline = time.monotonic() + NOTICE_SECONDS
        while self._running():
            if not self._executors <= self._present():
                return True
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL)
        return False

    def _running(self) -> bool:
        return self._context._jsc is not None and not self._context._jsc.sc().isStopped()

    def _present(self) -> frozenset[str]:
        infos = self._context._jsc.sc().statusTracker().getExecutorInfos()
        return frozenset(f"{info.host()}:{info.port()}" for info in infos)

    def _wait(self) -> None:
        patience = LOST_SECONDS if self._again else SETTLED_SECONDS
        most, since = self.count(), time.monotonic()
        if most < self._workers and self._context._jsc.sc().isLocal():
            raise SpecError(
                f"training.workers is {self._workers}, but Spark runs on this machine and has {most} slots.",
                hint=f"set training.workers to 1, which is faster on one machine, or NIGHTSHIFT_THREADS to "
                f"{self._workers}, or run on a cluster: compute.target: standalone",
            )
        while most < self._workers:
            if time.monotonic() - since >= patience:
                raise self._too_few(most)
            time.sleep(POLL)
            if (now := self.count()) > most:
                most, since = now, time.monotonic()

    def _too_few(self, slots: int) -> JobError:
        before = "an executor was lost while it trained, and no other came: " if self._again else ""
        return JobError(
            f"{before}training.workers is {self._workers}, but the Spark cluster {self._context.master} gives this job "
            f"{slots} slot{'' if slots == 1 else 's'} (one for each core of its executors).",
            hint="lower training.workers, start more Spark workers, or wait until other applications have ended; "
            "NIGHTSHIFT_SPARK_CORES limits a job too",
        )

    def _look(self) -> None:
        from py4j.protocol import Py4JError

        try:
            self._look_on()
        except Py4JError as error:
            # Spark's JVM is gone; the training itself fails with that.
            log.debug("Spark no longer answers: %s", error)

    def _look_on(self) -> None:
        full, told = time.monotonic(), time.monotonic()
        while not self._over.wait(POLL):
            if not self._running():
                return
            slots, now = self.count(), time.monotonic()
            if slots >= self._workers:
                full = now
            elif now - full >= LOST_SECONDS:
                self._complaint = self._complaint or JobError(
                    f"Spark lost slots while it trained: {slots} of the {self._workers} that training.workers asks "
                    f"for are left, and no other came within {LOST_SECONDS:.0f} s.",
                    hint="see on the page of Spark's master which worker is gone, and why",
                )
                self._context.cancelJobGroup(GROUP)
            if now - told >= TELL_SECONDS:
                told = now
                log.info("train: %.0f s, %s, %d slots", now - self._began, doing(self._context), slots)


def doing(context: SparkContext) -> str:
    """What Spark says about the tasks at work."""
    status = context.statusTracker()
    stages = [found for number in status.getActiveStageIds() if (found := status.getStageInfo(number)) is not None]
    if not stages:
        return "no task at work"
    at_work, again = sum(stage.numActiveTasks for stage in stages), max(stage.currentAttemptId for stage in stages)
    return f"{at_work} tasks at work" + (f", attempt {again + 1}" if again else "")


def reason_of(error: Exception) -> str:
    """The line of Spark's long text that says what was wrong."""
    java = getattr(error, "java_exception", None)
    text = str(java.getMessage() if java is not None else error)
    said = PYTHON_ERROR.findall(text)
    line = said[-1] if said else next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return line.strip()[:LONGEST_REASON]
