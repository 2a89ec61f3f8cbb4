"""Compute target ``local``: a process of the machine that runs the task."""

from __future__ import annotations

from nightshift.jobs import Cancellation, Job, run_job
from nightshift.stage import StageResult
from nightshift_airflow.compute.task_log import TaskLog


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
            on_line=TaskLog(),
            cancellation=cancellation,
            watch_parent=self._watch_parent,
        )
