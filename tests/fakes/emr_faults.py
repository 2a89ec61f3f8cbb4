"""What tests of broken nights on EMR share: no real waiting, kills, and a count of what is left."""

from __future__ import annotations

import asyncio
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_night import Killed, Night, leave_results

from nightshift_airflow.compute.emr import account, clusters, driver_log, stage_run, triggers, waiting

HOUR = 3600.0


class Hasty:
    """``asyncio``, impatient."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, _: float) -> None:
        await asyncio.sleep(0.01)


def hurry(monkeypatch: pytest.MonkeyPatch, double: AwsDouble) -> None:
    """Let nothing wait, and steps leave results without running."""
    monkeypatch.setenv("NIGHTSHIFT_EMR_LOG_WAIT", "1")
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", f"s3://ns-store/{uuid.uuid4()}")  # no result of another test
    quick = SimpleNamespace(monotonic=time.monotonic, time=time.time, sleep=lambda _: time.sleep(0.01))
    for module in (account, clusters, driver_log, waiting):
        monkeypatch.setattr(module, "time", quick)
    monkeypatch.setattr(triggers, "asyncio", Hasty())
    monkeypatch.setattr(stage_run, "_add", leave_results(double))


def well(double: AwsDouble) -> None:
    """Every step that nothing else is wished for succeeds."""
    double.inject.step("*", "COMPLETED", times=None)


def once(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, *, after: bool = True) -> None:
    """Kill whoever calls this, the first time."""
    real, killed = getattr(target, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        if killed or not after:
            return real(*args, **kwargs)
        killed.append(True)
        real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(target, name, call)


def reason(night: Night) -> str:
    return "\n".join(f"{task}: {said}" for task, said in night.said)


def nothing_left(night: Night) -> None:
    """After the reaper, and without its help."""
    assert night.alive() == []
    assert night.reap() == []


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a task give up at once what it would bear for minutes."""
    monkeypatch.setattr(account, "PATIENCE", 0.2)
    monkeypatch.setattr(account.Account.__init__, "__kwdefaults__", {"patience": 0.2})
    monkeypatch.setattr(waiting.Patience.__init__, "__kwdefaults__", {"seconds": 0.2})


def no_cancelling(double: AwsDouble) -> None:
    """From here on a step that hangs goes on hanging."""
    double.inject.refuse("CancelSteps", "AccessDeniedException", calls=None)


def later(double: AwsDouble, seconds: float) -> None:
    """Move the deadlines of what lives into the past: the reaper's clock is the real one."""
    for cluster in double.alive():
        cluster.tags["deadline"] = "2013-07-15T10:00:00Z"
    double.advance(seconds)
