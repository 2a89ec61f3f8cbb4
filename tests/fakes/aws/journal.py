"""Every request that came, in order: what was sent, and what was answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from tests.fakes.aws.wire import Call

# What starts something that costs money for as long as it lives.
BILLABLE = frozenset({"RunJobFlow", "AddInstanceFleet", "AddInstanceGroups", "RunInstances", "StartJobRun"})


class Journal:
    """A list of calls, safe to read while requests come."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._calls: list[Call] = []

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(list(self._calls))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)
            self._lock.notify_all()

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()

    def wait_for(self, which: Callable[[Call], bool], *, seconds: float) -> Call:
        """The first call of a kind, as soon as there is one.

        Raises:
            TimeoutError: There was none in time.
        """

        def found() -> Call | None:
            return next((call for call in self._calls if which(call)), None)

        with self._lock:
            if not self._lock.wait_for(found, seconds):
                raise TimeoutError(f"no such call in {seconds} s; calls: {[each.operation for each in self._calls]}")
            call = found()
        assert call is not None
        return call

    def of(self, operation: str) -> list[Call]:
        """The calls of one operation, refused ones too."""
        return [call for call in self if call.operation == operation]

    def sent(self, operation: str) -> dict[str, Any]:
        """What was sent by the only call of an operation.

        Raises:
            LookupError: There was none, or more than one.
        """
        calls = self.of(operation)
        if len(calls) != 1:
            raise LookupError(f"{operation} was called {len(calls)} times; calls: {self.operations()}")
        return calls[0].parameters

    def operations(self, service: str | None = None) -> list[str]:
        """Names of the operations, in order."""
        return [call.operation for call in self if service in (None, call.service)]

    def billable(self) -> list[Call]:
        """Calls that were carried out and started something that costs money."""
        return [call for call in self if call.operation in BILLABLE and call.error is None]

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self]
