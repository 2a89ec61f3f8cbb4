"""Compute target ``standalone``: stages that use Spark run on a Spark cluster, their driver on this machine."""

from __future__ import annotations

from collections.abc import Callable

from nightshift.jobs import Cancellation, Job, run_job
from nightshift.jobs.placement import application_in, goes_to_cluster
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageResult
from nightshift_airflow.compute.task_log import TaskLog


class StandaloneCompute:
    """Submits stages that use Spark to the cluster; the others are processes of this machine, as with ``local``.

    The driver is guarded like any job: when the task ends, however it ends, so does the driver, and the
    cluster takes back what the application had.

    Args:
        spec: The model's spec.
        settings: Interpreter of jobs, address and page of the cluster.
        watch_parent: End a job also when this process loses its own parent.
        on_link: Takes the address of the application's page, as soon as there is one.
    """

    def __init__(
        self, spec: ModelSpec, settings: Settings, *, watch_parent: bool, on_link: Callable[[str], None]
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._watch_parent = watch_parent
        self._on_link = on_link

    def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
        """Raises NightshiftError: What the job reported, or JobError if it could not say."""
        to_log = TaskLog()
        page = self._settings.spark_ui

        def take(line: str) -> None:
            to_log(line)
            application = application_in(line)
            if application is not None and page is not None:
                self._on_link(f"{page}/app/?appId={application}")

        return run_job(
            job,
            python=self._settings.python,
            on_line=take,
            cancellation=cancellation,
            watch_parent=self._watch_parent,
            on_cluster=goes_to_cluster(job.stage, self._spec, self._settings),
        )
