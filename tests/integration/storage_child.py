"""Processes that the storage tests start, stop and kill: ``python storage_child.py COMMAND ROOT …``."""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from nightshift.errors import NightshiftError
from nightshift.storage import Manifest, Store
from nightshift.storage.objects import Objects

DAY = "2013-07-14"
ROWS = 5_000
FILES = 5


def write(store: Store, content: int, *, key: str, interval: str = DAY) -> Manifest:
    """A version with a table, some files and a result; all of it says the same number."""
    import pyarrow as pa

    attempt = store.attempt("data", interval)
    if (published := store.find("data", interval, key)) is not None:
        return published
    attempt.put_table("rows", pa.table({"place": range(ROWS), "content": [content] * ROWS}))
    for number in range(FILES):
        attempt.put(f"files/{number}.txt", f"{content}\n".encode() * 1000)
    return attempt.publish(stage_key=key, code="code", result={"content": content})


def said_by(store: Store, manifest: Manifest) -> int:
    """What a version says, after reading all of it.

    Raises:
        AssertionError: It does not say one and the same everywhere.
    """
    table = store.read_table(manifest, "rows")
    texts = [store.read(manifest, f"files/{number}.txt") for number in range(FILES)]
    said = {*table.column("content").to_pylist(), manifest.result["content"]}
    said |= {int(line) for text in texts for line in text.split()}
    assert len(said) == 1, f"{manifest.ref} is a mix of {said}"
    assert table.num_rows == ROWS
    return int(said.pop())


def stop_before_publishing() -> None:
    """Freeze this process at the last moment before its manifest is created."""
    create = Objects.create

    def frozen(objects: Objects, name: str, data: bytes) -> bool:
        os.kill(os.getpid(), signal.SIGSTOP)
        return create(objects, name, data)

    Objects.create = frozen  # type: ignore[method-assign]


def meet(folder: Path, who: str, everybody: int) -> None:
    """Wait until everybody is here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / who).touch()
    while len(list(folder.iterdir())) < everybody:
        os.sched_yield()


def command_write(store: Store, content: str, key: str) -> None:
    print(write(store, int(content), key=key).ref)


def command_write_frozen(store: Store, content: str, key: str) -> None:
    stop_before_publishing()
    print(write(store, int(content), key=key).ref)


def command_write_for_ever(store: Store, first: str) -> None:
    for content in count(int(first)):
        write(store, content, key=str(content))


def command_race(store: Store, meeting: str, who: str, everybody: str, rounds: str) -> None:
    """Publish the next version as all others do, and say who won each round."""
    for number in range(int(rounds)):
        attempt = store.attempt("race", DAY)
        attempt.put("who.txt", who.encode())
        meet(Path(meeting) / str(number), who, int(everybody))
        try:
            attempt.publish(stage_key=f"{who} {number}", code="c")
            print(number, "won")
        except NightshiftError as error:
            print(number, type(error).__name__)
        meet(Path(meeting) / f"{number} over", who, int(everybody))


def main(command: str, root: str, *words: str) -> int:
    commands: dict[str, Any] = {
        "write": command_write,
        "write-frozen": command_write_frozen,
        "write-for-ever": command_write_for_ever,
        "race": command_race,
    }
    try:
        commands[command](Store(Objects(root)), *words)
    except NightshiftError as error:
        print(type(error).__name__, error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
