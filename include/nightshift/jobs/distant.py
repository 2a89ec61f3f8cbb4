"""What a job tells somebody on another machine: its log lines while it runs, and its result.

A step of a cluster has no pipe to the task that waits for it, and the cluster's own logs come minutes late. So the
job writes to the store, beside its result: ``lines-00001.txt`` and so on, each a few seconds of its log.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nightshift.errors import NightshiftError, StorageError
from nightshift.storage.objects import Objects

log = logging.getLogger(__name__)

SECONDS = 3.0  # between two objects
MOST_LINES = 5000  # of one object; what is left goes into the next
LINES = re.compile(r"lines-(\d{5})\.txt")


def is_distant(place: str | None) -> bool:
    """Whether a result is to be left in the store and not in a file."""
    return place is not None and "://" in place


def leave_distant(place: str, result: bytes) -> None:
    """Write the result into the store.

    Raises:
        StorageError: The store failed.
    """
    folder, _, name = place.rpartition("/")
    Objects(folder).write(name, result)


@contextmanager
def lines_beside(place: str | None) -> Iterator[None]:
    """Tell the job's log lines beside its result, where that is in the store."""
    if place is None or not is_distant(place):
        yield
        return
    root = logging.getLogger()
    teller = Teller(place.rpartition("/")[0])
    teller.setFormatter(root.handlers[0].formatter)
    root.addHandler(teller)
    teller.start()
    try:
        yield
    finally:
        root.removeHandler(teller)
        teller.finish()


class Teller(logging.Handler):
    """Writes log records into the store, by a thread of its own: a slow store does not slow the job.

    Args:
        folder: URI of the folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log-lines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record. One of the thread itself would never come to an end."""
        if threading.current_thread() is not self._thread:
            self._lines.put(self.format(record))

    def finish(self) -> None:
        """Write what is left."""
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        try:
            objects = Objects(self._folder)
            while True:
                last = self._over.wait(SECONDS)
                while lines := self._taken():
                    number += 1
                    objects.write(f"lines-{number:05d}.txt", "\n".join(lines).encode())
                if last:
                    return
        except NightshiftError as error:
            log.warning("the log lines cannot be written beside the result: %s", error)

    def _taken(self) -> list[str]:
        return [self._lines.get() for _ in range(min(self._lines.qsize(), MOST_LINES))]


class Told:
    """What a job has told so far, for whoever waits for it.

    Args:
        place: URI of its result.
        seen: How many objects with lines have been read before.

    Attributes:
        seen: The same, by now.
    """

    def __init__(self, place: str, *, seen: int = 0) -> None:
        folder, _, self._result = place.rpartition("/")
        self._objects = Objects(folder)
        self.seen = seen

    def lines(self) -> Iterator[str]:
        """Lines that are new since the last call.

        Raises:
            StorageError: The store failed.
        """
        while (data := self._objects.read_or_none(f"lines-{self.seen + 1:05d}.txt")) is not None:
            self.seen += 1
            yield from data.decode(errors="replace").splitlines()

    def result(self) -> Mapping[str, Any] | None:
        """The result, or None if there is none.

        Raises:
            StorageError: The store failed, or it is not JSON.
        """
        data = self._objects.read_or_none(self._result)
        if data is None:
            return None
        try:
            found: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise StorageError(f"{self._objects.uri(self._result)} is not a job's result: {error}") from error
        return found
