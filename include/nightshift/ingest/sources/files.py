"""``kind: files``: csv and parquet on local disk or any object store, with globs and codes of the day."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from nightshift.errors import SourceError, StorageError
from nightshift.ingest.formats import FileRows, read_rows
from nightshift.ingest.formats.rows import Format
from nightshift.ingest.sources import SourceFile
from nightshift.settings import project_root
from nightshift.spec.models import FilesTable

_CODE = re.compile(r"%(.)")


@dataclass(frozen=True)
class Files:
    """Files by a pattern.

    Attributes:
        pattern: The URI as it stands in the spec.
        root: Scheme and host of its store.
        path: Path inside the store, with ``*``, ``?`` and codes of the day.
        dated: Whether it has codes of the day.
    """

    pattern: str
    root: str
    path: str
    dated: bool
    format: Format | None
    delimiter: str
    columns: tuple[str, ...] = ()
    _listed: dict[str, tuple[list[str], list[dict[str, Any]]]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, section: FilesTable) -> Files:
        """The files of a section, whose URI the spec has checked."""
        root, path = _split(section.uri)
        dated = any(match[1] != "%" for match in _CODE.finditer(path))
        return cls(section.uri, root, path, dated, section.format, section.delimiter, section.columns)

    def looked_for(self, day: date | None) -> str:
        return self._shown(self._expand(day)) if self.dated else self.pattern

    def holds(self, file: SourceFile, day: date) -> bool:
        return not self.dated or self._expand(day) == file.period

    def files(self, day: date | None) -> tuple[SourceFile, ...]:
        pattern = self._expand(day)
        found = []
        for meta in self._walk("", pattern.split("/")):
            stamp = meta["e_tag"] or meta["last_modified"].isoformat()
            fingerprint = f"{meta['size']}:{stamp}"
            found.append(
                SourceFile(self._shown(meta["path"]), meta["path"], fingerprint, pattern if self.dated else "")
            )
        return tuple(sorted(found, key=lambda file: file.location))

    def read(self, file: SourceFile) -> FileRows:
        try:
            answer = obstore.get(self._store, file.location)
            data = bytes(answer.bytes())
        except FileNotFoundError as error:
            raise StorageError(f"{file.name} was there a moment ago and is gone.") from error
        except BaseError as error:
            raise _failed(f"{file.name} cannot be read", error) from error
        stamp = answer.meta["e_tag"] or answer.meta["last_modified"].isoformat()
        if f"{answer.meta['size']}:{stamp}" != file.fingerprint:
            raise StorageError(f"{file.name} was changed while it was read.", hint="the next try reads it anew")
        return read_rows(data, file.name, declared=self.format, delimiter=self.delimiter, columns=self.columns)

    @cached_property
    def _store(self) -> ObjectStore:
        try:
            return from_url(self.root)
        except (BaseError, ValueError) as error:
            raise SourceError(
                f"{self.pattern} cannot be opened: {str(error).splitlines()[0]}",
                hint="credentials come from the environment",
            ) from error

    def _expand(self, day: date | None) -> str:
        if not self.dated or day is None:
            return self.path.replace("%%", "%")
        # Not strftime: its years below 1000 and its locale differ from machine to machine.
        values = {
            "Y": f"{day.year:04d}",
            "y": f"{day.year % 100:02d}",
            "m": f"{day.month:02d}",
            "d": f"{day.day:02d}",
            "j": f"{day.timetuple().tm_yday:03d}",
            "F": day.isoformat(),
            "%": "%",
        }
        return _CODE.sub(lambda match: values[match[1]], self.path)

    def _shown(self, path: str) -> str:
        """A path as people wrote it: relative where the pattern is relative."""
        if "://" in self.pattern:
            return f"{self.root}{'' if self.root.endswith('/') else '/'}{path}"
        full = Path("/", path)
        base = project_root()
        return (
            str(full.relative_to(base)) if not self.pattern.startswith("/") and full.is_relative_to(base) else str(full)
        )

    def _walk(self, folder: str, segments: list[str]) -> Iterator[dict[str, Any]]:
        """Objects that match, level by level, so that only matching folders are ever listed."""
        here, *below = segments
        while below and not _is_glob(here):
            folder, (here, *below) = f"{folder}{here}/", below
        matches = _matcher(here)
        folders, objects = self._list(folder)
        if below:
            for name in folders:
                if matches(name):
                    yield from self._walk(f"{folder}{name}/", below)
            return
        yield from (meta for meta in objects if matches(meta["path"].rsplit("/", 1)[-1]))

    def _list(self, folder: str) -> tuple[list[str], list[dict[str, Any]]]:
        if folder not in self._listed:
            try:
                page = obstore.list_with_delimiter(self._store, folder.rstrip("/"))
                names = [name.rstrip("/").rsplit("/", 1)[-1] for name in page["common_prefixes"]]
                self._listed[folder] = names, [dict(meta) for meta in page["objects"]]
            except (FileNotFoundError, NotADirectoryError):
                self._listed[folder] = [], []
            except BaseError as error:
                raise _failed(f"{self._shown(folder)} cannot be listed", error) from error
        return self._listed[folder]


def _split(uri: str) -> tuple[str, str]:
    """A URI or path as the root of its store and the path inside."""
    if "://" not in uri:
        return "file:///", os.path.normpath(project_root() / uri).lstrip("/")
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    return ("file:///", path) if scheme == "file" else (f"{scheme}://{host}", path)


def _is_glob(segment: str) -> bool:
    return "*" in segment or "?" in segment


def _matcher(segment: str) -> Any:
    """Tests a name against one segment; marker files such as _SUCCESS match only when named."""
    regex = re.compile("".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in segment))
    if segment[0] in "._":
        return regex.fullmatch
    return lambda name: name[0] not in "._" and regex.fullmatch(name)


def _failed(what: str, error: BaseError) -> SourceError | StorageError:
    reason = str(error).strip().splitlines()[0]
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return SourceError(f"{what}: {reason}", hint="the credentials in the environment do not allow it")
    return StorageError(f"{what}: {reason}")
