"""Asks AWS one thing after the other, and collects what is wrong: all of it is said at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from nightshift.errors import SettingsError
from nightshift_airflow.compute.emr.account import DENIED, Account, Refused

log = logging.getLogger(__name__)

T = TypeVar("T")


class Checks:
    """What was found of an account.

    Args:
        account: The account.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._problems: list[str] = []

    def add(self, *problems: str) -> None:
        self._problems += problems

    def complain(self) -> None:
        """Raises SettingsError: There was anything to complain of."""
        if self._problems:
            raise SettingsError(
                "this night cannot run on EMR; nothing was started:\n  " + "\n  ".join(self._problems),
                hint="docs/emr.md says how to make what is missing",
            )

    def ask(self, what: str, request: Callable[[], T], fix: str, *, must: bool = False) -> T | None:
        """Ask; None where AWS refuses.

        Args:
            what: What is asked, for the message.
            request: Asks.
            fix: What to do where it is not there.
            must: Not to be allowed to ask is wrong too: the tasks need the same right.
        """
        try:
            return self.account.call(what, request)
        except Refused as error:
            if error.code in (*DENIED, "403") and not must:
                log.warning("not checked: %s", error.message)
            else:
                self.add(f"{error.message}: {fix}")
        return None
