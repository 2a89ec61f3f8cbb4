"""A thin layer over obstore: the few operations the protocol needs, with our errors.

One API for local disk, S3, MinIO, GCS and Azure. ``create`` is the only write that can lose a race, and
the only one anything depends on for being published.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, from_url

from nightshift.errors import StorageError

log = logging.getLogger(__name__)


class Objects:
    """Objects below one root URI.

    Args:
        root: ``file:///…``, ``s3://…`` or another scheme of obstore.

    Raises:
        StorageError: The root cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        try:
            if self.is_local:
                self._store = cast(ObjectStore, from_url(self.root, mkdir=True))  # type: ignore[call-overload]
            else:
                self._store = from_url(self.root)
        except (BaseError, ValueError) as error:
            raise StorageError(
                f"the storage root {self.root} cannot be opened: {first_line(error)}",
                hint="NIGHTSHIFT_STORAGE takes file:///path or s3://bucket/prefix",
            ) from error

    @property
    def is_local(self) -> bool:
        return urlparse(self.root).scheme == "file"

    def uri(self, name: str) -> str:
        return f"{self.root}/{name}"

    def local_path(self, name: str) -> Path:
        """Raises StorageError: The store is not on local disk."""
        if not self.is_local:
            raise StorageError(f"{self.root} is not on local disk")
        return Path(unquote(urlparse(self.root).path)) / name

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if there is none; False if another was there first.

        A lost answer is settled by reading back: the write is ours if the bytes are.

        Raises:
            StorageError: The store failed and the object is not there.
        """
        try:
            obstore.put(self._store, name, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        except BaseError as error:
            found = self.read_or_none(name)
            if found is None:
                raise StorageError(f"cannot write {self.uri(name)}: {first_line(error)}") from error
            log.warning("the answer to writing %s was lost; read back to decide", self.uri(name))
            return found == data
        return True

    def write(self, name: str, data: bytes | Path) -> None:
        """Write an object that no manifest names yet.

        Raises:
            StorageError: The store failed.
        """
        try:
            obstore.put(self._store, name, data)
        except (BaseError, OSError) as error:
            raise StorageError(f"cannot write {self.uri(name)}: {first_line(error)}") from error

    def read(self, name: str) -> bytes:
        """Raises StorageError: There is no such object, or the store failed."""
        found = self.read_or_none(name)
        if found is None:
            raise StorageError(f"there is no object {self.uri(name)}")
        return found

    def read_or_none(self, name: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise StorageError(f"cannot read {self.uri(name)}: {first_line(error)}") from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names below a folder, with sizes in bytes, in order of name."""
        try:
            found = [(meta["path"], meta["size"]) for page in obstore.list(self._store, prefix) for meta in page]
        except FileNotFoundError:
            found = []
        except BaseError as error:
            raise StorageError(f"cannot list {self.uri(prefix)}: {first_line(error)}") from error
        yield from sorted(found)

    def names(self, prefix: str) -> tuple[list[str], list[str]]:
        """Direct sub-folders and objects of a folder, by their last part, in order."""
        try:
            page = obstore.list_with_delimiter(self._store, prefix)
        except FileNotFoundError:
            return [], []
        except BaseError as error:
            raise StorageError(f"cannot list {self.uri(prefix)}: {first_line(error)}") from error
        folders = sorted(folder.rstrip("/").rsplit("/", 1)[-1] for folder in page["common_prefixes"])
        return folders, sorted(meta["path"].rsplit("/", 1)[-1] for meta in page["objects"])

    def delete(self, names: list[str]) -> None:
        if not names:
            return
        try:
            obstore.delete(self._store, names)
        except FileNotFoundError:
            log.debug("already deleted by another process: some of %s", names)
        except BaseError as error:
            raise StorageError(f"cannot delete below {self.root}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
