"""An application of EMR Serverless and its job runs: what they go through, and when. As ``cluster.py``: only ``settle``
moves anything, to where it is at a moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.aws.cluster import Timing
from tests.fakes.aws.spark_submit import parse_serverless

JOB_ENDED = ("SUCCESS", "FAILED", "CANCELLED")
IDLE_MINUTES = 15
TIMEOUT_MINUTES = 720
# A worker where the job says nothing.
CORES, MEMORY_GB, EXECUTORS = 4.0, 14.0, 3


@dataclass
class JobRun:
    """A job run.

    Attributes:
        request: Parameters of ``StartJobRun``.
        halt: Set when its program is to end.
    """

    id: str
    request: dict[str, Any]
    created: float
    state: str = "SUBMITTED"
    details: str = ""
    attempt: int = 1
    started: float | None = None
    ended: float | None = None
    changed: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    halt: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return str(self.request.get("name", ""))

    @property
    def deadline(self) -> float | None:
        """When it is cancelled for having taken too long."""
        minutes = self.request.get("executionTimeoutMinutes", TIMEOUT_MINUTES)
        return None if not minutes or self.started is None else self.started + 60 * minutes

    def end(self, state: str, at: float, details: str = "") -> None:
        self.state, self.ended, self.changed, self.details = state, at, at, details
        self.halt.set()

    def hours(self, now: float) -> dict[str, float]:
        """What is billed: cores and memory of driver and executors, for as long as it ran."""
        if self.started is None:
            return {"vCPUHour": 0.0, "memoryGBHour": 0.0, "storageGBHour": 0.0}
        wanted = parse_serverless(self.request["jobDriver"]["sparkSubmit"]).settings
        executors = float(wanted.get("spark.executor.instances", EXECUTORS))
        cores = float(wanted.get("spark.driver.cores", CORES))
        cores += executors * float(wanted.get("spark.executor.cores", CORES))
        memory = _gigabytes(wanted.get("spark.driver.memory"))
        memory += executors * _gigabytes(wanted.get("spark.executor.memory"))
        hours = ((self.ended or now) - self.started) / 3600
        return {"vCPUHour": cores * hours, "memoryGBHour": memory * hours, "storageGBHour": 0.0}


def _gigabytes(text: str | None) -> float:
    if text is None:
        return MEMORY_GB
    number = float(text[:-1])
    return number / 1024 if text[-1].lower() == "m" else number


class Application:
    """An application.

    Args:
        application_id: Its id.
        request: Parameters of ``CreateApplication``.
        at: When it was created.
        timing: How long its phases take.
        start: Starts a job run that is due.
    """

    def __init__(
        self,
        application_id: str,
        request: dict[str, Any],
        *,
        at: float,
        timing: Timing,
        start: Callable[[Application, JobRun], None],
    ) -> None:
        self.id = application_id
        self.request = request
        self.created = at
        self.state, self.since = "CREATING", at
        self.details = ""
        self.tags: dict[str, str] = dict(request.get("tags", {}))
        self.jobs: list[JobRun] = []
        self._timing = timing
        self._start = start

    @property
    def starts_itself(self) -> bool:
        return bool(self.request.get("autoStartConfiguration", {}).get("enabled", True))

    @property
    def idle_seconds(self) -> float | None:
        """After how long without a job it stops, if it does."""
        policy = self.request.get("autoStopConfiguration", {})
        return 60.0 * policy.get("idleTimeoutMinutes", IDLE_MINUTES) if policy.get("enabled", True) else None

    def alive(self) -> bool:
        """Whether it costs money, or may at any moment."""
        return self.state in ("STARTING", "STARTED", "STOPPING") or self.busy()

    def busy(self) -> bool:
        return any(job.state not in JOB_ENDED for job in self.jobs)

    def settle(self, now: float) -> None:
        """Bring it to where it is now."""
        while self._advance(now):
            pass
        for job in self.jobs:
            if job.state == "RUNNING" and job.deadline is not None and now >= job.deadline:
                job.end("CANCELLED", job.deadline, "The job run exceeded its execution timeout.")

    def _advance(self, now: float) -> bool:
        for phase, seconds, following in (
            ("CREATING", 0.0, "CREATED"),
            ("STARTING", self._timing.starting, "STARTED"),
            ("STOPPING", self._timing.terminating, "STOPPED"),
        ):
            if self.state == phase and now >= self.since + seconds:
                self.enter(following, self.since + seconds)
                return True
        if self.state in ("CREATED", "STOPPED") and self.busy() and self.starts_itself:
            self.enter("STARTING", now)
            return True
        return self.state == "STARTED" and self._work(now)

    def _work(self, now: float) -> bool:
        waiting = [job for job in self.jobs if job.state in ("SUBMITTED", "PENDING", "SCHEDULED")]
        for job in waiting:
            job.state, job.started, job.changed = "RUNNING", max(job.created, self.since), now
            self._start(self, job)
        due = self._idle_since() + self.idle_seconds if self.idle_seconds is not None else None
        if not self.busy() and due is not None and now >= due:
            self.enter("STOPPING", due)
            self.details = "AUTO_STOPPING"
            return True
        return False

    def _idle_since(self) -> float:
        return max([self.since, *(job.ended for job in self.jobs if job.ended is not None)])

    def enter(self, state: str, at: float) -> None:
        self.state, self.since, self.details = state, at, ""

    def finish(self, job: JobRun, code: int, words: str, at: float) -> None:
        """The program of a job run has ended; a failure may be tried again."""
        if job.state in JOB_ENDED:
            return
        if code == 0:
            job.end("SUCCESS", at)
        elif job.attempt < job.request.get("retryPolicy", {}).get("maxAttempts", 1):
            job.attempt, job.state, job.changed = job.attempt + 1, "PENDING", at
        else:
            job.end("FAILED", at, words[:256])
