"""Manifests: the only thing that makes files visible.

A manifest lists every file of one version of a dataset with size and sha256, what the version was made
from and by what. It is written last, by conditional create, and never changed; retention may replace it
by a void, which keeps the version's number taken for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from nightshift.errors import IntegrityError
from nightshift.plan import canonical_json, digest_of

MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class Ref:
    """Name of one version of a dataset: ``<dataset>/<interval>@<version>`` and what it contains."""

    dataset: str
    interval: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.interval}@{self.version}"

    def same_content_as(self, other: Ref | None) -> bool:
        """Whether both name the same data of the same interval, published once or more often."""
        return other is not None and replace(other, version=self.version) == self


@dataclass(frozen=True)
class FileEntry:
    """One file of an attempt.

    Attributes:
        path: Relative to the attempt's folder.
        size: In bytes.
        sha256: Of its bytes.
        incidental: Kept, but no part of the content digest: pages for people, with times in them.
    """

    path: str
    size: int
    sha256: str
    incidental: bool = False


@dataclass(frozen=True)
class Output:
    """One table inside a version.

    Attributes:
        prefix: Folder of its parquet files inside the attempt.
        rows: Number of rows.
        digest: Order-independent digest of rows, count and schema.
        schema: Column names and their Arrow types.
    """

    prefix: str
    rows: int
    digest: str
    schema: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """One published version of a dataset.

    Attributes:
        dataset, interval, version: Its name. Versions count from 1.
        attempt: Which attempt wrote the files.
        stage_key: Key of the stage's result; equal keys mean equal results.
        digest: Content digest of the whole version: its outputs, and its files that belong to no table.
        files, outputs: What is in it.
        inputs: The versions it was made from, by name.
        code: Digest of the code that made it.
        result: The stage's small result, shown in reports and history.
        created_at: ISO time in UTC, for people; nothing is ordered by it.
        seconds: How long the attempt took.
    """

    dataset: str
    interval: str
    version: int
    attempt: str
    stage_key: str
    digest: str
    files: tuple[FileEntry, ...]
    outputs: Mapping[str, Output]
    inputs: Mapping[str, Ref]
    code: str
    result: Mapping[str, Any]
    created_at: str
    seconds: float
    format: int = field(default=MANIFEST_FORMAT)

    @property
    def ref(self) -> Ref:
        return Ref(self.dataset, self.interval, self.version, self.digest)

    @property
    def folder(self) -> str:
        """The attempt's folder, relative to the model's area."""
        return f"{self.dataset}/{self.interval}/attempt={self.attempt}"

    def has(self, path: str) -> bool:
        """Whether the version has such a file."""
        return any(entry.path == path for entry in self.files)

    def file(self, path: str) -> FileEntry:
        """Raises KeyError: The version has no such file."""
        for entry in self.files:
            if entry.path == path:
                return entry
        raise KeyError(f"{self.ref} has no file {path}; it has {', '.join(entry.path for entry in self.files)}")

    def to_json(self) -> bytes:
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Manifest:
        """Raises IntegrityError: The bytes are not a manifest of this format, or it contradicts itself."""
        found = parse(data, name=name)
        if isinstance(found, Void):
            raise found.error(name)
        return found


@dataclass(frozen=True)
class Void:
    """Stands where a version's manifest was, or would have been, so that its number is never given again.

    Attributes:
        why: ``removed`` when retention took the version away; ``fenced`` when it closed the number to
            attempts it was about to delete.
        attempt: The attempt whose files the removed version had.
        at: ISO time in UTC, for people.
    """

    why: Literal["removed", "fenced"]
    attempt: str | None
    at: str

    def to_json(self) -> bytes:
        return canonical_json({"format": MANIFEST_FORMAT, "void": asdict(self)})

    def error(self, name: str) -> IntegrityError:
        """What a reader is told who asks for exactly this version."""
        return IntegrityError(
            f"the version of {name} was {self.why} by retention at {self.at}.",
            hint="run the stage again; it publishes a new version",
        )


def parse(data: bytes, *, name: str) -> Manifest | Void:
    """What the object of a version says.

    Args:
        data: Its bytes.
        name: Its URI, for the message.

    Raises:
        IntegrityError: The bytes are neither a manifest of this format nor a void, or the manifest's digest is
            not the one of what it lists.
    """
    try:
        raw = json.loads(data)
        if raw["format"] != MANIFEST_FORMAT:
            raise IntegrityError(
                f"{name} has manifest format {raw['format']}; this version reads {MANIFEST_FORMAT}.",
                hint="it was written by another version of Nightshift: read it with that one",
            )
        if "void" in raw:
            return Void(**raw["void"])
        raw["files"] = tuple(FileEntry(**entry) for entry in raw["files"])
        raw["outputs"] = {key: Output(**value) for key, value in raw["outputs"].items()}
        raw["inputs"] = {key: Ref(**value) for key, value in raw["inputs"].items()}
        found = Manifest(**raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"{name} is not a readable manifest ({len(data)} bytes): {type(error).__name__} {error}",
            hint=f"restore it from a backup, or, unless the ledger names it, delete {name} and run the stage again",
        ) from error
    if content_digest(found.files, found.outputs) != found.digest:
        raise IntegrityError(
            f"{name} does not list what its digest says: it was changed after it was published.",
            hint=f"restore it from a backup, or, unless the ledger names it, delete {name} and run the stage again",
        )
    return found


def content_digest(files: Iterable[FileEntry], outputs: Mapping[str, Output]) -> str:
    """Digest of what a version says, not of how it is stored: how a table is cut into files does not matter."""
    prefixes = tuple(f"{output.prefix}/" for output in outputs.values())
    other = {
        entry.path: entry.sha256 for entry in files if not entry.incidental and not entry.path.startswith(prefixes)
    }
    return digest_of({"tables": {name: output.digest for name, output in outputs.items()}, "files": other})
