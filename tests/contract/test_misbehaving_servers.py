"""Servers that lose answers, fall silent, or do not keep the one promise that is asked of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.contract.s3_server import S3Server
from tests.fakes.published_night import plan_of

from nightshift.errors import SettingsError, StorageError
from nightshift.jobs import publish
from nightshift.storage import Store, require_conditional_create
from nightshift.storage.objects import Objects


@pytest.fixture
def objects(s3: S3Server) -> Objects:
    return Objects(f"s3://bucket/{uuid.uuid4().hex}")


# -- lost answers --------------------------------------------------------------------------------------


def test_an_answer_that_was_lost_is_found_out(s3: S3Server, objects: Objects) -> None:
    """The connection is gone after the object was written: reading it back says whose it is."""
    s3.lose_answers = 1
    assert objects.create("a.json", b"mine")
    assert objects.read("a.json") == b"mine"
    s3.lose_answers = 1
    attempt = Store(objects).attempt("data", "2013-07-14")
    attempt.publish(stage_key="k", code="c")
    assert Store(objects).versions("data", "2013-07-14") == [1]
    assert s3.lose_answers == 0


def test_two_at_once_are_told_to_try_again(s3: S3Server, objects: Objects) -> None:
    s3.answer_conflict = 2
    assert objects.create("a.json", b"mine")
    assert objects.read("a.json") == b"mine"
    assert s3.answer_conflict == 0
    s3.answer_conflict = 1
    assert not objects.create("a.json", b"theirs"), "it is there: no need to ask again"


# -- silence -------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[Objects], Any]] = {
    "create": lambda objects: objects.create("new", b"x"),
    "write": lambda objects: objects.write("other", b"x"),
    "read": lambda objects: objects.read_or_none("old"),
    "walk": lambda objects: list(objects.walk()),
    "names": lambda objects: objects.names(""),
    "delete": lambda objects: objects.delete(["old"]),
}


@pytest.fixture
def old(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root with one object in it; requests are given up soon."""
    objects.write("old", b"x")
    monkeypatch.setenv("AWS_READ_TIMEOUT", "200ms")
    return objects.root


def all_at_once(objects: Objects) -> dict[str, Future[Any]]:
    with ThreadPoolExecutor(len(OPERATIONS)) as pool:
        return {name: pool.submit(work, objects) for name, work in OPERATIONS.items()}


def test_silence_is_waited_for(s3: S3Server, old: str) -> None:
    s3.stay_silent = 2 * len(OPERATIONS)
    done = {name: asked.result() for name, asked in all_at_once(Objects(old)).items()}
    assert done["create"]
    assert s3.stay_silent == 0


def test_silence_without_end_is_an_error_and_no_hang(s3: S3Server, old: str) -> None:
    s3.stay_silent = 10_000
    for name, asked in all_at_once(Objects(old, patience=1)).items():
        with pytest.raises(StorageError, match=old) as caught:
            asked.result()
        assert caught.value.retryable, name
        assert "reached" in (caught.value.hint or "")


# -- a server that has no conditional create -----------------------------------------------------------


def test_a_run_does_not_begin_on_a_store_that_ignores_conditions(
    s3: S3Server, objects: Objects, tmp_path: Path
) -> None:
    s3.ignore_conditions = True
    plan = replace(plan_of(tmp_path, date(2013, 7, 15)), storage=objects.root)
    with pytest.raises(SettingsError, match="no conditional create") as caught:
        publish(plan)
    assert objects.root in caught.value.message
    assert "If-None-Match" in (caught.value.hint or "")
    assert not caught.value.retryable
    assert len(s3.requests) == 2
    assert len(s3.stored) == 1, "nothing but the plan"


def test_the_proof_costs_a_run_one_request(s3: S3Server, objects: Objects, tmp_path: Path) -> None:
    published = publish(replace(plan_of(tmp_path, date(2013, 7, 15)), storage=objects.root))
    assert [request.split()[0] for request in s3.requests] == ["PUT", "PUT"]
    s3.requests.clear()
    published.load()
    assert len(s3.requests) == 1, "later tasks take the plan and prove nothing"


def test_the_full_probe_finds_a_store_that_ignores_conditions(s3: S3Server, objects: Objects) -> None:
    s3.ignore_conditions = True
    with pytest.raises(SettingsError, match="a second time"):
        require_conditional_create(objects)
    assert not any(objects.root.rpartition("/")[2] in name for name in s3.stored)


def test_the_full_probe_finds_a_store_whose_check_is_not_atomic(
    s3: S3Server, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Objects.create

    def careless(self: Objects, name: str, data: bytes) -> bool:
        """Look first, then write: what a server without a lock does."""
        if "race" not in name:
            return create(self, name, data)
        self.write(name, data)
        return True

    monkeypatch.setattr(Objects, "create", careless)
    with pytest.raises(SettingsError, match=r"let 8 of 8 writers .*not atomic"):
        require_conditional_create(objects)
