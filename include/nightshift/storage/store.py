"""One model's area in storage: ``<root>/<env>/<model>``.

Write: open an attempt, put files into its folder, publish. Publishing creates
``<dataset>/<interval>/v<number>.json`` with the number that follows the version seen when the attempt
began: if somebody published meanwhile, the attempt is overtaken, and stays invisible garbage.
Read: manifests only.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.errors import IntegrityError
from nightshift.plan import Plan
from nightshift.storage.attempt import Attempt, manifest_name
from nightshift.storage.crash_points import crash_point
from nightshift.storage.manifest import FileEntry, Manifest, Ref, Void, parse
from nightshift.storage.objects import READERS, Objects, check_name
from nightshift.storage.probe import require_refusal

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Attempt", "Store"]

log = logging.getLogger(__name__)

# What Hadoop's glob patterns read as more than itself.
GLOB = re.compile(r"([\\{}\[\]*?])")
RESTORE = "restore it from a backup, or from an older object version"
MANIFEST_NAME = re.compile(r"v(\d{6})\.json")


class Store:
    """The area of one model in one environment."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    @classmethod
    def open(cls, root: str, *, env: str, model: str) -> Store:
        """Raises StorageError: The root cannot be opened."""
        return cls(Objects(f"{root.rstrip('/')}/{env}/{model}"))

    @classmethod
    def of(cls, plan: Plan) -> Store:
        """Raises StorageError: The plan's root cannot be opened."""
        return cls.open(plan.storage, env=plan.env, model=plan.model)

    # -- which versions there are --------------------------------------------------------------------

    def taken(self, dataset: str, interval: str) -> list[int]:
        """Numbers that can never be given again, in order: versions that are there, and those that were."""
        _, names = self.objects.names(f"{dataset}/{interval}")
        return sorted(int(match[1]) for name in names if (match := MANIFEST_NAME.fullmatch(name)))

    def slot(self, dataset: str, interval: str, version: int) -> Manifest | Void:
        """What stands at a number that is taken.

        Raises:
            IntegrityError: It is no manifest, not the one of this version, or gone: nobody deletes one.
            StorageError: The store failed.
        """
        name = manifest_name(dataset, interval, version)
        uri = self.objects.uri(name)
        data = self.objects.read_or_none(name)
        if data is None:
            raise IntegrityError(f"{uri} is gone, the manifest of a version.", hint=RESTORE)
        found = parse(data, name=uri)
        if isinstance(found, Manifest) and (found.dataset, found.interval, found.version) != (
            dataset,
            interval,
            version,
        ):
            raise IntegrityError(f"{uri} is the manifest of {found.ref}.", hint="somebody copied it there; delete it")
        return found

    def versions(self, dataset: str, interval: str) -> list[int]:
        """Numbers of the versions that can be read, in order."""
        slots = ((number, self.slot(dataset, interval, number)) for number in self.taken(dataset, interval))
        return [number for number, found in slots if isinstance(found, Manifest)]

    def manifest(self, dataset: str, interval: str, version: int) -> Manifest:
        """Raises IntegrityError or StorageError: As for ``slot``; the former also where retention removed it."""
        found = self.slot(dataset, interval, version)
        if isinstance(found, Void):
            raise found.error(self.objects.uri(manifest_name(dataset, interval, version)))
        return found

    def resolve(self, ref: Ref) -> Manifest:
        """The manifest a reference names.

        Raises:
            IntegrityError: It has other content, is gone, or retention removed it.
            StorageError: The store failed.
        """
        found = self.manifest(ref.dataset, ref.interval, ref.version)
        if found.digest != ref.digest:
            raise IntegrityError(f"{ref} has digest {found.digest}, but {ref.digest} was expected.")
        return found

    def latest(self, dataset: str, interval: str) -> Manifest | None:
        """The newest version, or None if there is none.

        "Newest" is by number within one interval. A damaged newest version is an error: an older one is never
        taken for it.
        """
        for number in reversed(self.taken(dataset, interval)):
            found = self.slot(dataset, interval, number)
            if isinstance(found, Manifest):
                return found
        return None

    def latest_of(self, dataset: str, intervals: Iterable[str]) -> dict[str, Manifest]:
        """The newest version of each interval that has one, in the order asked for."""
        keys = list(intervals)
        # A disk answers in microseconds, and threads only cost; a distant store is asked side by side.
        with ThreadPoolExecutor(1 if self.objects.is_local else READERS) as pool:
            found = pool.map(lambda interval: self.latest(dataset, interval), keys)
            return {key: manifest for key, manifest in zip(keys, found, strict=True) if manifest is not None}

    def find(self, dataset: str, interval: str, stage_key: str) -> Manifest | None:
        """The newest version with this stage key, or None.

        Begin the attempt that would replace it *before* looking: then nothing can be published unseen between
        the two. ``stage.once`` does.
        """
        for number in reversed(self.taken(dataset, interval)):
            found = self.slot(dataset, interval, number)
            if isinstance(found, Manifest) and found.stage_key == stage_key:
                return found
        return None

    def intervals(self, dataset: str) -> list[str]:
        """Intervals that have at least a folder, in order; ask ``latest`` what they hold."""
        return self.objects.names(dataset)[0]

    # -- what is in a version ------------------------------------------------------------------------

    def read(self, manifest: Manifest, path: str) -> bytes:
        """A file's bytes, checked.

        Raises:
            KeyError: The version has no such file.
            IntegrityError: The file is gone, or its bytes are not the ones that were published.
            StorageError: The store failed.
        """
        entry = manifest.file(path)
        name = f"{manifest.folder}/{path}"
        data = self.objects.read_or_none(name)
        if data is None:
            raise self._damaged(manifest, f"{self.objects.uri(name)} is gone")
        if len(data) != entry.size:
            raise self._damaged(manifest, f"{self.objects.uri(name)} has {len(data)} bytes and not {entry.size}")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise self._damaged(manifest, f"{self.objects.uri(name)} has other bytes than were published")
        return data

    def _damaged(self, manifest: Manifest, what: str) -> IntegrityError:
        published = self.objects.uri(manifest_name(manifest.dataset, manifest.interval, manifest.version))
        return IntegrityError(
            f"{what}; {manifest.ref} lists it.",
            hint="restore the file from a backup, or, unless the ledger names it, "
            f"delete {published} and run the stage again",
        )

    def download(self, manifest: Manifest, path: str, to: Path) -> Path:
        """A file, checked, on local disk: in place where the store is local (only read it!), else copied to ``to``.

        Raises:
            IntegrityError, KeyError, StorageError: As for ``read``.
        """
        data = self.read(manifest, path)
        if self.objects.is_local:
            return self.objects.local_path(f"{manifest.folder}/{path}")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        return to

    def read_table(self, manifest: Manifest, output: str, *, columns: list[str] | None = None) -> pa.Table:
        """One table of a version, files checked against their digests.

        Args:
            manifest: The version.
            output: Name of the table.
            columns: Only these columns.

        Raises:
            IntegrityError, KeyError, StorageError: As for ``read``.
        """
        import pyarrow as pa

        return pa.concat_tables(self.read_parts(manifest, output, columns=columns), promote_options="default")

    def read_parts(self, manifest: Manifest, output: str, *, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """One table of a version, file by file: for whoever needs no more than one of them in memory.

        Args:
            manifest: The version.
            output: Name of the table.
            columns: Only these columns.

        Raises:
            IntegrityError, KeyError, StorageError: As for ``read``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for entry in self._files_of(manifest, output):
            yield pq.read_table(pa.BufferReader(self.read(manifest, entry.path)), columns=columns)

    def uris(self, manifest: Manifest, output: str) -> list[str]:
        """The parquet files of one table as ``spark.read`` takes them: glob patterns, not percent-encoded.

        Spark reads them unchecked.
        """
        names = [f"{manifest.folder}/{entry.path}" for entry in self._files_of(manifest, output)]
        return [GLOB.sub(r"\\\1", self.objects.spark_path(name)) for name in names]

    def _files_of(self, manifest: Manifest, output: str) -> list[FileEntry]:
        if output not in manifest.outputs:
            raise KeyError(f"{manifest.ref} has no table {output}; it has {', '.join(manifest.outputs) or 'none'}")
        prefix = manifest.outputs[output].prefix + "/"
        return [entry for entry in manifest.files if entry.path.startswith(prefix)]

    # -- writing -------------------------------------------------------------------------------------

    def attempt(self, dataset: str, interval: str, *, began: float | None = None) -> Attempt:
        """Begin to write a version; nothing is visible until it is published.

        Args:
            dataset: What is written.
            interval: Which interval of it.
            began: When the work for it began, by ``time.monotonic()``, if that was earlier than now.

        Raises:
            ValueError: The name cannot be stored.
            StorageError: The store failed.
        """
        for name in (dataset, interval):
            if "/" in check_name(name, what="name"):
                raise ValueError(f"{name!r} names a dataset or an interval, which cannot have a slash")
        crash_point("start", dataset)
        taken = self.taken(dataset, interval)
        return Attempt(self, dataset, interval, base=taken[-1] if taken else 0, began=began)

    def publish_plan(self, plan: Plan) -> tuple[str, str]:
        """Store a plan under its own digest; gives its URI and sha256.

        It is the first thing of a run that is written, so the store proves with it that it can be trusted.

        Raises:
            SettingsError: The store has no conditional create.
            IntegrityError: Something else is stored under that digest.
            StorageError: The store failed.
        """
        data = plan.to_json()
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"plan/{plan.interval.key}/{sha256}.json"
        if not self.objects.create(name, data):
            raise IntegrityError(f"{self.objects.uri(name)} does not have the digest in its name.", hint="delete it")
        require_refusal(self.objects, name, data)
        return self.objects.uri(name), sha256
