"""Folders of files that belong to no manifest: attempts, and training that is not finished, as a listing shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from nightshift.storage.objects import Stored

NEVER = datetime.min.replace(tzinfo=UTC)
Name = tuple[str, str, int]


@dataclass(kw_only=True)
class Folder:
    """Files that go together or not at all."""

    size: int = 0
    newest: datetime = NEVER

    def add(self, stored: Stored) -> None:
        self.size += stored.size
        self.newest = max(self.newest, stored.modified)


@dataclass
class AttemptFolder(Folder):
    """The files of one attempt, whatever became of it."""

    dataset: str
    interval: str
    id: str
    base: int

    @property
    def folder(self) -> str:
        return f"{self.dataset}/{self.interval}/attempt={self.id}"

    @property
    def slot(self) -> Name:
        """The only version that the attempt can ever be."""
        return (self.dataset, self.interval, self.base + 1)


@dataclass
class CheckpointFolder(Folder):
    """Checkpoints of one training that has not been published."""

    name: str
