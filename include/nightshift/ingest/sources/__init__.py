"""Where rows come from. One file per kind of source, same names inside: a class with ``files`` and ``read``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from nightshift.ingest.formats import FileRows
from nightshift.spec.models import FilesTable, PackageTable


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: What people call it; appears in messages and in quarantine.
        location: Where the source finds it again.
        fingerprint: Changes when the file's content changes.
        period: The days it is for, in the source's own words; empty where it may hold any day.
    """

    name: str
    location: str
    fingerprint: str
    period: str = ""


class Source(Protocol):
    """Something that has files of rows."""

    def files(self, day: date | None) -> tuple[SourceFile, ...]:
        """Files that hold the rows of a day, or all files for None (side tables); empty if there are none.

        Raises:
            SourceError: The place itself cannot be looked into.
        """
        ...

    def looked_for(self, day: date | None) -> str:
        """What ``files`` looks for, for messages."""
        ...

    def holds(self, file: SourceFile, day: date) -> bool:
        """Whether rows of a day belong into a file."""
        ...

    def read(self, file: SourceFile) -> FileRows:
        """All rows of a file.

        Raises:
            SourceError: It is damaged, empty or not what its name says.
            StorageError: The store failed, or the file changed while it was read; another try can help.
        """
        ...


def open_source(section: PackageTable | FilesTable) -> Source:
    """The source that a section of the spec describes."""
    from nightshift.ingest.sources.files import Files
    from nightshift.ingest.sources.package import Package

    return Package.of(section) if isinstance(section, PackageTable) else Files.of(section)
