"""Manifests: the only thing that makes files visible.

A manifest lists every file of one version of a dataset with size and sha256, what the version was made
from and by what. It is written last, by conditional create, and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nightshift.errors import IntegrityError
from nightshift.plan import canonical_json

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


@dataclass(frozen=True)
class FileEntry:
    """One file of an attempt; ``path`` is relative to the attempt's folder."""

    path: str
    size: int
    sha256: str


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
        digest: Content digest of the whole version: its outputs, or its files where it has no tables.
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
        """Raises IntegrityError: The bytes are not a manifest of this format."""
        try:
            raw = json.loads(data)
            if raw["format"] != MANIFEST_FORMAT:
                raise IntegrityError(
                    f"{name} has manifest format {raw['format']}; this version reads {MANIFEST_FORMAT}."
                )
            raw["files"] = tuple(FileEntry(**entry) for entry in raw["files"])
            raw["outputs"] = {key: Output(**value) for key, value in raw["outputs"].items()}
            raw["inputs"] = {key: Ref(**value) for key, value in raw["inputs"].items()}
            return cls(**raw)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{name} is not a readable manifest: {error}") from error
