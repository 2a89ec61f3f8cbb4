"""Reading a few files at a time: in order, never too many, and errors in their turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Barrier, Lock

import pytest

from nightshift.storage import read_ahead as module
from nightshift.storage.objects import Stored
from nightshift.storage.read_ahead import AT_ONCE, MOST_BYTES, read_ahead


def files(*sizes: int) -> list[Stored]:
    return [Stored(f"part-{number:05d}", size, datetime.now(UTC)) for number, size in enumerate(sizes)]


class Counted:
    """Work that knows how many files, and how many bytes, are taken and not yet handed on."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.held: list[Stored] = []
        self.most, self.most_bytes = 0, 0

    def read(self, file: Stored) -> Stored:
        with self.lock:
            self.held.append(file)
            self.most = max(self.most, len(self.held))
            self.most_bytes = max(self.most_bytes, sum(held.size for held in self.held))
        return file

    def consume(self, handed_on: Iterator[Stored]) -> list[Stored]:
        found = []
        for file in handed_on:
            with self.lock:
                self.held.remove(file)
            found.append(file)
        return found


def test_results_come_in_order_and_several_are_read_at_once() -> None:
    together = Barrier(AT_ONCE, timeout=30)

    def read(file: Stored) -> str:
        together.wait()  # nobody gets on alone
        return file.name

    given = files(*[1] * (3 * AT_ONCE))
    assert list(read_ahead(given, read)) == [file.name for file in given]
    assert list(read_ahead([], read)) == []


def test_never_too_many_files_nor_bytes_are_held() -> None:
    counted = Counted()
    given = files(*[MOST_BYTES // 3] * 20, *[1] * 20, 2 * MOST_BYTES, 1, 1)
    assert counted.consume(read_ahead(given, counted.read)) == given
    assert counted.most <= AT_ONCE
    assert counted.most_bytes == 2 * MOST_BYTES, "one that is too big is read alone"


def test_an_error_comes_in_its_files_turn_and_the_rest_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    read = []

    def work(file: Stored) -> str:
        read.append(file.name)
        if file.name == "part-00001":
            raise ValueError("broken")
        return file.name

    handed_on = read_ahead(files(*[1] * 100), work)
    assert next(handed_on) == "part-00000"
    with pytest.raises(ValueError, match="broken"):
        next(handed_on)
    assert len(read) < 10
