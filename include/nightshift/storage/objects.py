"""A thin layer over obstore: the few operations the protocol needs, with our errors.

One API for local disk, S3, MinIO, GCS and Azure. ``create`` is the only write that can lose a race, and
the only one anything depends on for being published.

On local disk an object is written under a staging name (``name#1``), which no listing shows, and then
linked or renamed, so readers see all of it or nothing, even when the writer is killed. ``settle`` adds
what a power cut asks for (fsync). Files and folders get the permissions of the process's umask.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from obstore.store import ObjectStore, from_url

from nightshift.errors import StorageError
from nightshift.storage.patience import PATIENCE, PAUSE, client_settings, may_pass

log = logging.getLogger(__name__)

READERS = 16
STAGING = re.compile(r"#\d+$")
NO_SPACE = ("os error 28", "os error 122", "No space left", "Disk quota exceeded", "XMinioStorageFull")
SPACE_HINT = "free some space there (nightshift retention MODEL removes what nothing needs), then try again"
ROOT_HINT = "NIGHTSHIFT_STORAGE takes file:///path or s3://bucket/prefix"
TAKEN = (AlreadyExistsError, PreconditionError)
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


class Stored(NamedTuple):
    """One object: its name below the root, size in bytes, and when it was written by the store's clock."""

    name: str
    size: int
    modified: datetime


class Objects:
    """Objects below one root URI.

    Args:
        root: ``file:///…``, ``s3://…`` or another scheme of obstore; percent-encoded, as URIs are.
        patience: For how many seconds a request is repeated that a distant store does not answer.

    Raises:
        StorageError: The root cannot be opened.
    """

    def __init__(self, root: str, *, patience: float = PATIENCE) -> None:
        scheme = urlsplit(root).scheme
        self.is_local = scheme == "file"
        self._patience = patience
        try:
            if self.is_local:
                self._folder = _local_folder(root)
                self.root = self._folder.as_uri()
                self._opened: ObjectStore = from_url(self.root, mkdir=True)
            else:
                self.root = _distant_root(root)
                self._opened = from_url(self.root, **client_settings(scheme, patience))
        except (BaseError, ValueError, OSError) as error:
            raise StorageError(
                f"the storage root {root} cannot be opened: {first_line(error)}", hint=_hint(error) or ROOT_HINT
            ) from error

    @property
    def _store(self) -> ObjectStore:
        _refuse_after_fork()
        return self._opened

    # -- names ---------------------------------------------------------------------------------------

    def uri(self, name: str) -> str:
        """The object's URI, percent-encoded; ``Objects`` of its folder finds it again."""
        return f"{self.root}/{quote(name, safe=SAFE)}"

    def spark_path(self, name: str) -> str:
        """The object's path as Spark and Hadoop take it: a URI in form, but never percent-decoded.

        Hadoop calls S3 by the scheme ``s3a``.
        """
        if self.is_local:
            return f"file://{self._folder / name}"
        scheme, _, place = unquote(self.root).partition("://")
        return f"{'s3a' if scheme == 's3' else scheme}://{place}/{name}"

    def local_path(self, name: str) -> Path:
        """Raises StorageError: The store is not on local disk."""
        if not self.is_local:
            raise StorageError(f"{self.root} is not on local disk")
        return self._folder / name

    # -- writing -------------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if there is none; False if another was there first.

        A lost answer, or a repeated request that met its own first try, is settled by reading back: the
        write is ours if the bytes are. So two writers of the very same bytes both get True; put an id
        into what must be told apart.

        Raises:
            StorageError: The store failed; the object is not there, or nobody can tell.
        """
        began = time.monotonic()
        while (error := self._put_new(name, data)) is not None:
            found = self._read_back(name, error)
            if found is not None:
                if not isinstance(error, TAKEN):
                    log.warning("the answer to writing %s was lost; read back to decide", self.uri(name))
                return found == data
            # Being told of an object that is not there is what S3 answers to two at once: 409, try again.
            if not (isinstance(error, TAKEN) or self._may_pass(error)) or self._is_over(began):
                raise self._failed("write", name, error) from error
            log.warning("%s could not be written (%s); trying again", self.uri(name), first_line(error))
            time.sleep(PAUSE)
        self.settle([name])
        return True

    def refuses_another(self, name: str, data: bytes) -> bool:
        """Whether the store refuses to create an object that is there. One that does not has written it anew.

        Raises:
            StorageError: The store failed.
        """
        error = self._put_new(name, data)
        if error is None or isinstance(error, TAKEN):
            return error is not None
        raise self._failed("write", name, error) from error

    def _put_new(self, name: str, data: bytes) -> Exception | None:
        try:
            # In one request, however much it is: an upload in parts has no condition.
            obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except (BaseError, OSError) as error:
            return error
        return None

    def _read_back(self, name: str, error: Exception) -> bytes | None:
        try:
            return self.read_or_none(name)
        except StorageError as second:
            raise StorageError(
                f"writing {self.uri(name)} failed ({first_line(error)}), and so did reading it back: it may be there.",
                hint=_hint(error)
                or "try again when the store answers: what is there by then is found, not written twice",
            ) from second

    def _may_pass(self, error: Exception) -> bool:
        return not self.is_local and may_pass(error)

    def _is_over(self, began: float) -> bool:
        return time.monotonic() - began > self._patience

    def write(self, name: str, data: bytes | Path) -> None:
        """Write an object that no manifest names yet, or replace one.

        Raises:
            StorageError: The store failed.
        """
        try:
            obstore.put(self._store, name, data)
        except (BaseError, OSError) as error:
            raise self._failed("write", name, error) from error

    def settle(self, names: Iterable[str]) -> None:
        """Wait until objects would survive a power cut: fsync on local disk, nothing to do elsewhere.

        Raises:
            StorageError: The disk failed, or an object is gone.
        """
        if not self.is_local:
            return
        paths = [self._folder / name for name in names]
        for path in (*paths, *sorted({path.parent for path in paths})):
            try:
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise self._failed("write", str(path.relative_to(self._folder)), error) from error

    # -- reading -------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        """Raises StorageError: There is no such object, or the store failed."""
        found = self.read_or_none(name)
        if found is None:
            raise StorageError(f"there is no object {self.uri(name)}")
        return found

    def read_or_none(self, name: str) -> bytes | None:
        """Raises StorageError: The store failed."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._failed("read", name, error) from error

    def walk(self, prefix: str = "") -> Iterator[Stored]:
        """Objects below a folder, at any depth, in order of name. A folder that is not there is empty.

        Raises:
            StorageError: The store failed.
        """
        try:
            pages = obstore.list(self._store, prefix or None)
            found = [Stored(meta["path"], meta["size"], meta["last_modified"]) for page in pages for meta in page]
        except (BaseError, OSError) as error:
            raise self._failed("list", prefix, error) from error
        yield from sorted(found)

    def names(self, prefix: str) -> tuple[list[str], list[str]]:
        """Direct sub-folders and objects of a folder, by their last part, in order; none if it is not there.

        Raises:
            StorageError: The store failed.
        """
        try:
            page = obstore.list_with_delimiter(self._store, prefix or None)
        except (BaseError, OSError) as error:
            raise self._failed("list", prefix, error) from error
        folders = sorted(folder.rstrip("/").rsplit("/", 1)[-1] for folder in page["common_prefixes"])
        return folders, sorted(meta["path"].rsplit("/", 1)[-1] for meta in page["objects"])

    # -- deleting ------------------------------------------------------------------------------------

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are gone already are no error.

        Raises:
            StorageError: The store failed; some may be left.
        """
        # One by one: asked to delete several, a local store stops at the first that is gone.
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._delete, names))

    def _delete(self, name: str) -> None:
        began = time.monotonic()
        while True:
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                log.debug("already deleted by another process: %s", name)
            except (BaseError, OSError) as error:
                if not self._may_pass(error) or self._is_over(began):
                    raise self._failed("delete", name, error) from error
                time.sleep(PAUSE)
                continue
            return

    def delete_folder(self, prefix: str) -> None:
        """Delete everything below a folder, on local disk also what no listing shows.

        Raises:
            StorageError: The store failed; some of it may be left.
        """
        if not self.is_local:
            self.delete(stored.name for stored in self.walk(prefix))
            return
        try:
            shutil.rmtree(self._folder / prefix)
        except FileNotFoundError:
            log.debug("already deleted by another process: %s", prefix)
        except OSError as error:
            raise self._failed("delete", prefix, error) from error

    def staging_leftovers(self) -> Iterator[Stored]:
        """What killed writers left under staging names on local disk.

        An object store keeps the parts of a broken upload out of sight; a lifecycle rule of the bucket
        (AbortIncompleteMultipartUpload) removes them.
        """
        if not self.is_local:
            return
        for path in sorted(self._folder.rglob("*#*")):
            try:
                if STAGING.search(path.name) and path.is_file():
                    found = path.stat()
                    written = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield Stored(path.relative_to(self._folder).as_posix(), found.st_size, written)
            except FileNotFoundError:
                log.debug("gone by now: %s", path)

    def delete_staging(self, name: str) -> None:
        """Delete one of ``staging_leftovers``, whose names obstore itself refuses."""
        try:
            self.local_path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("delete", name, error) from error

    def _failed(self, verb: str, name: str, error: Exception) -> StorageError:
        place = self.uri(name) if name else self.root
        if any(words in str(error) for words in NO_SPACE):
            return StorageError(f"no space left on the device: cannot {verb} {place}", hint=SPACE_HINT)
        return StorageError(f"cannot {verb} {place}: {first_line(error)}", hint=_hint(error))


SAFE = "/=:@!$&'()*+,;~"


def check_name(name: str, *, what: str) -> str:
    """A name that means the same object in every store.

    Args:
        name: Parts with slashes between them.
        what: What is named, for the message.

    Raises:
        ValueError: It is empty or absolute, has an empty part, ``.``, ``..`` or a control character, or ends
            like a staging name.
    """
    if UNSAFE.search(name) or any(part in ("", ".", "..") or STAGING.search(part) for part in name.split("/")):
        raise ValueError(
            f"{what} {name!r} cannot be stored: a name is relative, without empty parts, '.', '..' and control "
            "characters, and no part ends in '#' and digits"
        )
    return name


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _hint(error: Exception) -> str | None:
    text = str(error)
    if isinstance(error, PermissionDeniedError | PermissionError) or "os error 13" in text:
        return "give this user the right to read and write there"
    if "os error 30" in text:
        return "the disk is mounted read-only"
    if "BadScheme" in text:
        return "the endpoint is plain http: set AWS_ALLOW_HTTP=true if that is meant"
    if "HTTP error" in text or "error sending request" in text:
        return "check that the store can be reached from here: endpoint, region, network, credentials"
    return None


def _distant_root(root: str) -> str:
    """The URI in one spelling, percent-encoded.

    Raises:
        ValueError: It has a query or fragment, which would be cut off, or is not UTF-8.
    """
    parts = urlsplit(root)
    if parts.query or parts.fragment:
        raise ValueError("'?' and '#' in a path must be percent-encoded (%3F, %23)")
    path = quote(unquote(parts.path, errors="strict"), safe=SAFE)
    return f"{parts.scheme}://{parts.netloc}{path}".rstrip("/")


def _local_folder(root: str) -> Path:
    """The folder that a ``file:`` URI names.

    Raises:
        ValueError: It names a host, or has a query or fragment, or is not UTF-8.
    """
    parts = urlsplit(root)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"it names the host {parts.netloc!r}; a local root has three slashes: file:///path")
    if parts.query or parts.fragment:
        raise ValueError("'?' and '#' in a path must be percent-encoded (%3F, %23)")
    folder = Path(unquote(parts.path, errors="strict"))
    if not folder.is_absolute():
        raise ValueError("it is not an absolute path")
    return Path(os.path.normpath(folder))


_runtime_of: list[int] = []


def _refuse_after_fork() -> None:
    """Obstore's threads do not survive a fork: a call in the child would wait for ever.

    Raises:
        StorageError: This process was forked from one that had used a store.
    """
    if not _runtime_of:
        _runtime_of.append(os.getpid())
    elif _runtime_of[0] != os.getpid():
        raise StorageError(
            "this process was forked from one that had used storage, which cannot work.",
            hint="start it as a new process (spawn), or use storage only after the fork",
        )
