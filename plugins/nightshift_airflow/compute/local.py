"""Compute target ``local``: a process of the machine that runs the task."""

from __future__ import annotations

import logging
import re

from nightshift.jobs import Cancellation, Job, run_job
from nightshift.stage import StageResult

log = logging.getLogger(__name__)

# Airflow puts a time and a level on every line itself.
_JOB_LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


class LocalCompute:
    """Runs jobs as processes of this machine.

    Args:
        python: The interpreter of jobs; it needs ``nightshift[job]``, this one does not.
        watch_parent: End a job also when this process loses its own parent.
    """

    def __init__(self, python: str, *, watch_parent: bool) -> None:
        self._python = python
        self._watch_parent = watch_parent

    def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
        """Raises NightshiftError: What the job reported, or JobError if it could not say."""
        return run_job(
            job,
            python=self._python,
            on_line=log_line,
            cancellation=cancellation,
            watch_parent=self._watch_parent,
        )


def log_line(line: str) -> None:
    """Write a line of a job's output to the task's log, with the level that the job gave it."""
    match = _JOB_LINE.fullmatch(line)
    if match is None:
        log.info("%s", line)
    else:
        log.log(logging.getLevelNamesMapping()[match[1]], "%s", match[2])
