"""What a job tells through the store: every line once and in order, and its result."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import StorageError
from nightshift.jobs import distant
from nightshift.jobs.distant import Told, is_distant, leave_distant, lines_beside
from nightshift.jobs.runner import main

log = logging.getLogger("nightshift.test")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """What pytest has on the root logger, afterwards as before."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = [logging.NullHandler()]
    root.setLevel(logging.INFO)
    yield
    root.handlers[:] = before
    root.setLevel(level)


def place(tmp_path: Path) -> str:
    return f"{(tmp_path / str(uuid.uuid4())).as_uri()}/result.json"


def test_a_path_is_not_distant_and_a_uri_is() -> None:
    assert not is_distant(None)
    assert not is_distant("/tmp/result.json")
    assert is_distant("s3://bucket/result.json")


@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), max_size=40))
def test_every_line_arrives_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    where = place(tmp_path_factory.mktemp("store"))
    with lines_beside(where):
        for line in lines:
            log.info("%s", line)
    told = Told(where)
    assert list(told.lines()) == lines
    assert list(told.lines()) == []


def test_lines_can_be_read_while_the_job_runs_and_by_another_reader_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distant, "SECONDS", 0.01)
    where = place(tmp_path)
    told, heard = Told(where), []
    with lines_beside(where):
        log.info("first")
        while not heard:
            heard += told.lines()
        log.info("second")
    assert heard == ["first"]
    assert list(Told(where, seen=told.seen).lines()) == ["second"]


def test_a_long_log_is_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distant, "MOST_LINES", 3)
    where = place(tmp_path)
    with lines_beside(where):
        for number in range(10):
            log.info("%d", number)
    told = Told(where)
    assert list(told.lines()) == [str(number) for number in range(10)]
    assert told.seen == 4


def test_a_result_that_is_not_there_yet_and_one_that_is_damaged(tmp_path: Path) -> None:
    where = place(tmp_path)
    assert Told(where).result() is None
    leave_distant(where, b'{"stage": "ingest"}')
    assert Told(where).result() == {"stage": "ingest"}
    leave_distant(where, b"{")
    with pytest.raises(StorageError, match="not a job's result"):
        Told(where).result()


def test_a_job_that_fails_leaves_its_error_and_its_lines(tmp_path: Path) -> None:
    where = place(tmp_path)
    missing = (tmp_path / "plan.json").as_uri()
    code = main(["ingest", "--plan", missing, "--plan-sha256", "aa" * 32, "--result", where])
    told = Told(where)
    error = told.result()
    assert error is not None
    assert error["error"]["type"] == "StorageError"
    assert error["error"]["retryable"] is True
    assert code == StorageError.exit_code
    assert any("ERROR ingest: there is no object" in line for line in told.lines())
    json.dumps(error)
