"""A writer, and retention, stopped after every single storage operation: readers never see half of anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nightshift.errors import Overtaken
from nightshift.storage import Manifest, Store, apply_retention
from nightshift.storage.objects import Objects

CHANGES = ("create", "write", "delete", "delete_folder", "delete_staging", "settle")
NIGHTS = ("2013-01-01", "2013-01-02", "2013-01-03")


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


class Stopped(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


class StoppedObjects(Objects):
    """Stops for good after its n-th change."""

    def __init__(self, root: str, n: int) -> None:
        super().__init__(root)
        self._left = n

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return super().__getattribute__("_stopping")(found) if name in CHANGES else found

    def _stopping(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(*args: Any, **options: Any) -> Any:
            if self._left == 0:
                raise Stopped
            self._left -= 1
            return change(*args, **options)

        return stopping


def write(store: Store, content: int, *, night: str = NIGHTS[0], **inputs: Manifest) -> Manifest:
    attempt = store.attempt("data", night)
    attempt.put_table("rows", pa.table({"x": [content] * 3}))
    attempt.put("note.txt", str(content).encode())
    refs = {name: manifest.ref for name, manifest in inputs.items()}
    return attempt.publish(stage_key=f"key {content}", code="c", inputs=refs)


def check(store: Store) -> dict[tuple[str, int], int]:
    """Everything visible is whole, and everything it was made from is visible; gives what the versions say."""
    seen = {}
    for night in store.intervals("data"):
        for version in store.versions("data", night):
            manifest = store.manifest("data", night, version)
            content = int(store.read(manifest, "note.txt"))
            assert store.read_table(manifest, "rows").to_pydict() == {"x": [content] * 3}
            for ref in manifest.inputs.values():
                store.resolve(ref)
            seen[night, version] = content
    return seen


def every_stop(root: Path) -> Iterator[tuple[str, StoppedObjects]]:
    """Root URIs and stopping objects, until a run is over before it is stopped."""
    for n in count():
        folder = root / str(n)
        yield folder.as_uri(), StoppedObjects(folder.as_uri(), n)


def test_a_writer_stopped_anywhere(tmp_path: Path) -> None:
    stops = 0
    for root, stopped in every_stop(tmp_path):
        store = Store(Objects(root))
        write(store, 1)
        try:
            write(Store(stopped), 2)
            break
        except Stopped:
            stops += 1
        seen = check(store)
        assert seen in ({(NIGHTS[0], 1): 1}, {(NIGHTS[0], 1): 1, (NIGHTS[0], 2): 2})
        if store.find("data", NIGHTS[0], "key 2") is None:
            write(store, 2)
        assert check(store) == {(NIGHTS[0], 1): 1, (NIGHTS[0], 2): 2}, "a rerun converges, and publishes once"
    assert stops >= 4


def test_retention_stopped_anywhere(tmp_path: Path) -> None:
    stops = 0
    for root, stopped in every_stop(tmp_path):
        store = Store(Objects(root))
        first = write(store, 1, night=NIGHTS[0])
        middle = write(store, 2, night=NIGHTS[1], yesterday=first)
        write(store, 3, night=NIGHTS[1], yesterday=first)
        write(store, 4, night=NIGHTS[2])
        crashed = store.attempt("data", NIGHTS[2])
        crashed.put("note.txt", b"5")
        alone = store.attempt("data", "2013-01-04")
        alone.put("note.txt", b"6")

        def retain(objects: Objects, days: int) -> None:
            now = datetime.now(UTC) + timedelta(days=days)
            apply_retention(
                Store(objects), keep_versions=1, keep_days=90, garbage_hours=24, protected=(), now=now, dry_run=False
            )

        try:
            retain(stopped, 200)
            finished = True
        except Stopped:
            finished = False
            stops += 1
        held = middle  # a reader that had its manifest before retention began
        assert store.read(held, "note.txt") == b"2"
        assert check(store)[NIGHTS[2], 1] == 4
        retain(Objects(root), 200)
        assert check(store) == {(NIGHTS[2], 1): 4}
        retain(Objects(root), 202)
        files = [found.name for found in store.objects.walk() if "/attempt=" in found.name]
        assert {name.split("/")[1] for name in files} == {NIGHTS[2]}, "only the kept version has files"
        for zombie in (crashed, alone):
            try:
                zombie.publish(stage_key="zombie", code="c")
            except Overtaken:
                continue
            raise AssertionError("a dead attempt became visible")
        if finished:
            break
    assert stops >= 8
