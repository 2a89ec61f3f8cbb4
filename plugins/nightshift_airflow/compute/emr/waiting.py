"""Waits by the provider's waiters, one look at a time: so that a wait can tell what happens meanwhile, be ended, and
outlive a minute in which AWS is busy or credentials run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import JobError, NightshiftError
from nightshift_airflow.compute.emr.account import Account, in_our_words, of_code

if TYPE_CHECKING:
    from botocore.exceptions import WaiterError

Look = Literal["reached", "failed", "not yet"]
NEW_SECONDS = 90.0
ONE_LOOK = {"Delay": 1, "MaxAttempts": 1}


def wait(
    account: Account,
    waiter: str,
    arguments: Mapping[str, str],
    *,
    poll_s: float,
    limit_s: float,
    meanwhile: Callable[[], None] | None = None,
) -> Look:
    """Look until the waiter says that it is over; gives how.

    Args:
        account: The account.
        waiter: One of the provider's waiters for EMR.
        arguments: Of its operation.
        poll_s: Seconds between two looks.
        limit_s: For how long to look.
        meanwhile: Called after every look.

    Raises:
        JobError: It took too long, or AWS was busy or away for too long.
        SettingsError: AWS refuses to say.
    """
    patience = Patience(f"wait for {' '.join(arguments.values())}")
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        look = _look(account, waiter, arguments, patience)
        if meanwhile is not None:
            meanwhile()
        if look != "not yet":
            return look
        time.sleep(poll_s)
    raise too_long(arguments, limit_s)


def too_long(arguments: Mapping[str, str], limit_s: float) -> JobError:
    return JobError(f"{' '.join(arguments.values())} was not over within {limit_s / 60:.0f} minutes.")


def _look(account: Account, waiter: str, arguments: Mapping[str, str], patience: Patience) -> Look:
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    try:
        account.hook.get_waiter(waiter).wait(**arguments, WaiterConfig=ONE_LOOK)
    except WaiterError as error:
        return patience.judge(error)
    except (BotoCoreError, ClientError) as error:
        patience.bear(in_our_words(error, patience.what))
        return "not yet"
    patience.relax()
    return "reached"


class Patience:
    """How long AWS may say nothing of use.

    Args:
        what: What is wanted, for the message.
        seconds: How long.
    """

    def __init__(self, what: str, *, seconds: float = 600.0) -> None:
        self.what = what
        self._seconds = seconds
        self._began = time.monotonic()
        self._since: float | None = None

    def relax(self) -> None:
        """AWS has said something of use."""
        self._since = None

    def judge(self, error: WaiterError) -> Look:
        """What a look that did not end well says.

        Raises:
            NightshiftError: It cannot be borne, or not any longer.
        """
        told = says(error)
        if told:
            self.bear(of_code(str(told.get("Code", "")), str(told.get("Message", "")), self.what))
            return "not yet"
        self.relax()
        return "failed" if "terminal failure" in str(error) else "not yet"

    def bear(self, error: NightshiftError) -> None:
        """Raises the error if it will not pass, or has not for too long."""
        now = time.monotonic()
        self._since = self._since if self._since is not None else now
        # What was created a moment ago may not be known everywhere.
        unknown_yet = "is not valid" in error.message and now - self._began < NEW_SECONDS
        if not (error.retryable or unknown_yet) or now - self._since >= self._seconds:
            raise error


def says(error: WaiterError) -> Mapping[str, Any] | None:
    """The error that AWS answered a look with, or None where it answered with a state."""
    told: Mapping[str, Any] | None = error.last_response.get("Error") if isinstance(error.last_response, dict) else None
    return told


def event(carry: Mapping[str, Any], look: Look | None, error: NightshiftError | None) -> dict[str, Any]:
    """What a trigger tells the task that resumes."""
    trouble = None
    if error is not None:
        trouble = {"message": error.message, "hint": error.hint, "retryable": error.retryable}
    return {"carry": dict(carry), "look": look, "trouble": trouble}


def resumed(told: Mapping[str, Any]) -> Look:
    """What a trigger has seen.

    Raises:
        NightshiftError: It could not see.
    """
    if told["trouble"] is not None:
        trouble = told["trouble"]
        kind = JobError if trouble["retryable"] else NightshiftError
        raise kind(trouble["message"], hint=trouble["hint"])
    look: Look = told["look"]
    return look
