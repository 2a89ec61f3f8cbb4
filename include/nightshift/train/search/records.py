"""What a search has measured so far, in storage: a search that is begun again measures none of it again.

The records of a search lie in a folder that its stage key names, so they are of the same rows, spec, code and
libraries. Each is written once, as soon as it is known.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from nightshift.storage import Store
from nightshift.storage.crash_points import crash_point
from nightshift.storage.objects import READERS
from nightshift.storage.retention import SEARCHES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What became of one point on one fold.

    Attributes:
        value: The metric; None where it failed.
        error: Why it failed.
        retryable: Another try may succeed; such a failure is never recorded.
        seconds: How long it took.
    """

    value: float | None
    error: str | None = None
    retryable: bool = False
    seconds: float = 0.0


@dataclass
class Records:
    """The records of one search.

    Attributes:
        store: The model's area.
        folder: Where they are.
        spent: Seconds of the search that the last record knows of, when it was opened.
        begun: How many trials had begun by then.
    """

    store: Store
    folder: str
    spent: float = 0.0
    begun: int = 0
    _known: dict[str, Measured] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, store: Store, interval: str, stage_key: str) -> Records:
        """Read what is there.

        Raises:
            StorageError: The store failed.
        """
        records = cls(store, f"{SEARCHES}/{interval}/{stage_key}")
        _, names = store.objects.names(records.folder)
        with ThreadPoolExecutor(1 if store.objects.is_local else READERS) as pool:
            found = pool.map(lambda name: store.objects.read(f"{records.folder}/{name}"), names)
            for name, data in zip(names, found, strict=True):
                records._take_in(name.removesuffix(".json"), json.loads(data))
        if names:
            log.info("search: %d results of an earlier try are there and not measured again", len(names))
        return records

    def _take_in(self, name: str, raw: Mapping[str, Any]) -> None:
        self._known[name] = Measured(raw["value"], raw["error"], seconds=raw["seconds"])
        self.spent = max(self.spent, raw["spent"])
        self.begun = max(self.begun, raw["begun"])

    def find(self, point: str, fold: int) -> Measured | None:
        """What is known of a point on a fold."""
        with self._lock:
            return self._known.get(_name(point, fold))

    def add(self, point: str, fold: int, measured: Measured, *, spent: float, begun: int) -> None:
        """Keep what was measured; on disk or in the bucket when this returns.

        Args:
            point: Key of the point.
            fold: Number of the fold.
            measured: What became of it.
            spent: Seconds that the search has taken until now.
            begun: How many of its trials have begun until now.

        Raises:
            StorageError: The store failed.
        """
        if measured.retryable:
            return
        name = _name(point, fold)
        with self._lock:
            self._known[name] = measured
        raw = {"value": measured.value, "error": measured.error, "seconds": measured.seconds}
        raw |= {"spent": spent, "begun": begun}
        # Where somebody else was first, their record says the same of the same rows, in other seconds.
        self.store.objects.create(f"{self.folder}/{name}.json", json.dumps(raw).encode())
        crash_point("mid_write", SEARCHES)


def forget(store: Store, interval: str, stage_key: str) -> None:
    """Delete the records of a search whose result is published.

    Raises:
        StorageError: The store failed; retention deletes them later.
    """
    store.objects.delete_folder(f"{SEARCHES}/{interval}/{stage_key}")


def _name(point: str, fold: int) -> str:
    return f"{point}-{fold:02d}"
