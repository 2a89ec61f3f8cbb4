"""Crash points: where they are, whom they hit, and that a misspelt one is not silence."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow as pa
import pytest

from nightshift.errors import SettingsError
from nightshift.storage import Store, crash_points
from nightshift.storage.crash_points import POINTS, VARIABLE, crash_point
from nightshift.storage.objects import Objects


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def no_real_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_: int, number: int) -> None:
        assert number == signal.SIGKILL
        raise Killed

    monkeypatch.setattr(crash_points.os, "kill", kill)


def publish(store: Store, dataset: str) -> None:
    attempt = store.attempt(dataset, "2013-07-14")
    attempt.put_table("rows", pa.table({"x": [1]}))
    attempt.publish(stage_key="k", code="c")


@pytest.mark.parametrize("point", POINTS)
def test_every_point_is_passed_when_a_version_is_published(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(Objects(tmp_path.as_uri()))
    monkeypatch.setenv(VARIABLE, f"train:{point}")
    publish(store, "preprocess")
    with pytest.raises(Killed):
        publish(store, "train")
    assert (store.latest("train", "2013-07-14") is not None) == (point == "after_publish")
    monkeypatch.setenv(VARIABLE, point)
    with pytest.raises(Killed):
        publish(store, "evaluate")


@pytest.mark.parametrize("wanted", ["before_publsih", "train:", "before_publish:train"])
def test_a_point_that_does_not_exist_is_an_error(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, wanted)
    with pytest.raises(SettingsError, match="no crash point") as caught:
        crash_point("start", "train")
    assert "before_publish" in (caught.value.hint or "")
