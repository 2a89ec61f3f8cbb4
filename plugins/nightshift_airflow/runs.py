"""What a run of Airflow means to Nightshift: its interval and its cause.

Works on the run that a task sees and on the one in Airflow's database alike.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from nightshift.plan import Interval, Trigger

# What Airflow calls the cause of a run; whatever is not here was asked for by somebody.
_TRIGGER: dict[str, Trigger] = {
    "scheduled": "scheduled",
    "backfill": "backfill",
    "asset_triggered": "asset",
    "asset_materialization": "asset",
}
_DAGS_TEST = "dag_test"  # who triggers the runs of `airflow dags test`, says Airflow


class NightFailed(AirflowFailException):
    """A task that went well fails all the same, because the night has failed: who failed has said why."""


class Run(Protocol):
    """A run of a DAG, as far as it matters here."""

    @property
    def run_after(self) -> datetime: ...

    @property
    def data_interval_end(self) -> datetime | None: ...

    @property
    def run_type(self) -> Any: ...


def interval_of(run: Run, *, night: str | None, until: datetime | None = None) -> Interval:
    """The interval of a run, the same whenever it is asked for: another try tomorrow is still about this night.

    Args:
        run: The run.
        night: The night that its form asks for.
        until: End of the source.

    Raises:
        SpecError: ``night`` is not a date, or has not come yet.
        NightSkipped: The source has no data any more.
    """
    from nightshift.plan import resolve_interval

    return resolve_interval(now=run.run_after, data_interval_end=run.data_interval_end, night=night, until=until)


def trigger_of(run: Run) -> Trigger:
    """What caused a run, in the plan's words."""
    if is_dags_test(run):
        return "test"
    return _TRIGGER.get(str(getattr(run.run_type, "value", run.run_type)), "manual")


def is_dags_test(run: Run) -> bool:
    """Whether a run is one of ``airflow dags test``: in one process, with a person or a CI in front of it."""
    return getattr(run, "triggering_user_name", None) == _DAGS_TEST
