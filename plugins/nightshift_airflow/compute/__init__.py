"""Where jobs run. One module per compute target; each is a ``ComputeTarget``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nightshift.jobs import Cancellation, Job
    from nightshift.settings import Settings
    from nightshift.spec.models import ModelSpec
    from nightshift.stage import StageResult


class ComputeTarget(Protocol):
    """Runs one job to its end."""

    def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
        """Submit the job, log its output as it comes, wait for its result.

        Raises:
            NightshiftError: What the job reported, or JobError if it could not say.
        """
        ...


# Every target has a process on the machine of the task; the pool says how many at once are good for it.
POOL = "nightshift_local"


def target_of(
    spec: ModelSpec, settings: Settings, *, supervised: bool, on_link: Callable[[str], None]
) -> ComputeTarget:
    """The compute target that a spec names, else the environment.

    Args:
        spec: The model's spec.
        settings: The environment.
        supervised: Whether this process is a task of a running Airflow, and must end with its supervisor.
        on_link: Takes the address of a page that shows the job at work, where there is one.

    Raises:
        SettingsError: The target needs a setting that is missing.
    """
    match settings.compute_of(spec.compute.target):
        case "local" | "emr":  # on EMR, what does not belong there: see compute/emr/
            from nightshift_airflow.compute.local import LocalCompute

            return LocalCompute(settings.python, watch_parent=supervised)
        case "standalone":
            from nightshift_airflow.compute.standalone import StandaloneCompute

            return StandaloneCompute(spec, settings, watch_parent=supervised, on_link=on_link)
