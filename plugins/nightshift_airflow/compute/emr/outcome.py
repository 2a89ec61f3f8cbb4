"""What became of a night, said by its last task.

To Airflow a run has gone well if its last tasks have, and where every stage precedes the teardown that is the teardown
alone: it ends the cluster of a failed night as well as of a good one. A run that a person marks as failed gets its
state in the same way, once its teardown has run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nightshift.plan import STAGES

# What a stage reports that skips itself; its task leaves the report behind.
BY_ITSELF = ("skipped", "refused")


def went_wrong(states: Mapping[str, Any], given: Callable[[str], Any], *, around: Sequence[str]) -> str | None:
    """Why a night is no good one; None where it is.

    Args:
        states: Of the run's tasks; None of one that has not begun.
        given: What a task left behind.
        around: The tasks before the first stage.
    """
    order = (*around, *STAGES)
    if failed := [task for task in order if states.get(task) == "failed"]:
        return f"the night failed in {', '.join(failed)}"
    skipped = next((number for number, task in enumerate(order) if states.get(task) == "skipped"), 0)
    # What follows a stage that skips itself is skipped by Airflow; the first of all, only by a person.
    if skipped == 0 or (given(order[skipped]) or {}).get("status") in BY_ITSELF:
        return None
    if given(order[skipped - 1]) is None:
        return None  # it was at work when somebody said that all is well
    return f"the night was ended by somebody before {order[skipped]}"
