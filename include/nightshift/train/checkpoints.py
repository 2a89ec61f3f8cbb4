"""Unfinished training in storage, so that a night that was killed goes on where it was.

What is there is nobody's result: it is named after the stage key that it is on the way to, no manifest names it,
and it goes as soon as the stage has published. What a night leaves behind that never comes back, retention takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.storage import Store
from nightshift.storage.objects import Objects
from nightshift.storage.retention import CHECKPOINT_PREFIX


@dataclass(frozen=True)
class Checkpoints:
    """A place for the checkpoints of one stage key.

    Attributes:
        root: Root URI of the model's area.
        folder: Folder below it.
    """

    root: str
    folder: str

    @classmethod
    def of(cls, store: Store, interval: str, stage_key: str) -> Checkpoints:
        return cls(store.objects.root, f"train/{interval}/{CHECKPOINT_PREFIX}{stage_key}")

    def read(self, name: str) -> bytes | None:
        """A checkpoint, or None if there is none. Raises StorageError: The store failed."""
        return Objects(self.root).read_or_none(f"{self.folder}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Replace a checkpoint; whoever reads meanwhile gets the old one or the new one. Raises StorageError."""
        Objects(self.root).write(f"{self.folder}/{name}", data)

    def forget(self, name: str) -> None:
        """Raises StorageError: The store failed."""
        Objects(self.root).delete([f"{self.folder}/{name}"])

    def remove(self) -> None:
        """Raises StorageError: The store failed; what is left, retention takes."""
        Objects(self.root).delete_folder(self.folder)
