"""``kind: package``: a data file inside an installed Python package, found without importing the package."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from nightshift.errors import SourceError
from nightshift.ingest.formats import FileRows, read_rows
from nightshift.ingest.formats.rows import Format
from nightshift.ingest.sources import SourceFile
from nightshift.spec.models import PackageTable
from nightshift.spec.problem import did_you_mean


@dataclass(frozen=True)
class Package:
    """One file of a package; every day's rows are in it."""

    package: str
    file: str
    format: Format | None
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, section: PackageTable) -> Package:
        """The file of a section, whose path the spec has checked."""
        return cls(section.package, section.file, section.format, section.columns)

    def looked_for(self, day: date | None) -> str:
        return f"{self.file} in package {self.package}"

    def holds(self, file: SourceFile, day: date) -> bool:
        return True

    def files(self, day: date | None) -> tuple[SourceFile, ...]:
        path = self._path()
        found = path.stat()
        fingerprint = _sha256(path, found.st_size, found.st_mtime_ns)
        return (SourceFile(f"{self.package}/{self.file}", str(path), f"sha256:{fingerprint}"),)

    def read(self, file: SourceFile) -> FileRows:
        try:
            data = Path(file.location).read_bytes()
        except OSError as error:
            raise SourceError(f"{file.name} cannot be read: {error}.") from error
        return read_rows(data, file.name, declared=self.format, columns=self.columns)

    def _path(self) -> Path:
        folder = self._folder()
        path = folder / self.file
        if path.is_file():
            return path
        there = sorted(item.relative_to(folder).as_posix() for item in folder.rglob("*") if _is_data(item))
        raise SourceError(
            f"package {self.package} has no file {self.file}; data files there: {', '.join(there[:12]) or 'none'}"
            f"{', …' if len(there) > 12 else ''}.",
            hint=did_you_mean(self.file, there) or "correct file in the model spec",
        )

    def _folder(self) -> Path:
        # Only the top-level name goes through the finder: finding a sub-package would import its parents.
        top, *inner = self.package.split(".")
        found = importlib.util.find_spec(top)
        for place in (found.submodule_search_locations or []) if found else []:
            folder = Path(place, *inner)
            if folder.is_dir():
                return folder
        raise SourceError(
            f"package {self.package} is not installed in {sys.executable}.",
            hint=f"install it for the interpreter that jobs run in: pip install {top}",
        )


def _is_data(item: Path) -> bool:
    return item.is_file() and item.suffix in (".csv", ".gz", ".zip", ".parquet")


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    """Digest of a file, computed again when its size or time changes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
