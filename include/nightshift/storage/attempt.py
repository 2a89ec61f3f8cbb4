"""One attempt to write a version: files nobody sees, then one conditional create that shows them all."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightshift.errors import IntegrityError, Overtaken, StorageError
from nightshift.storage.crash_points import crash_point
from nightshift.storage.manifest import FileEntry, Manifest, Output, Ref, Void, content_digest
from nightshift.storage.objects import Stored, check_name
from nightshift.storage.read_ahead import read_ahead

if TYPE_CHECKING:
    import pyarrow as pa

    from nightshift.storage.store import Store

log = logging.getLogger(__name__)

# Parts of Spark's output that are no data: markers, and folders of committers.
NOT_DATA = ("_", ".")


class Attempt:
    """Files of one attempt to write a version. Use ``publish`` once, last.

    Its id begins with the version it saw (``base``): it can only ever become version ``base + 1``, so as soon
    as that number is taken by something else, the attempt is dead, and everybody can see that it is.
    """

    def __init__(self, store: Store, dataset: str, interval: str, *, base: int, began: float | None = None) -> None:
        self.store = store
        self.dataset = dataset
        self.interval = interval
        self.base = base
        self.id = f"{base:06d}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._began = time.monotonic() if began is None else began
        self._files: dict[str, FileEntry] = {}
        self._outputs: dict[str, Output] = {}

    @property
    def folder(self) -> str:
        return f"{self.dataset}/{self.interval}/attempt={self.id}"

    @property
    def outputs(self) -> Mapping[str, Output]:
        return self._outputs

    def uri(self, path: str) -> str:
        """Where Spark writes a table of this attempt, as ``DataFrame.write`` takes it: not percent-encoded."""
        return self.store.objects.spark_path(f"{self.folder}/{check_name(path, what='path')}")

    def put(self, path: str, data: bytes, *, incidental: bool = False) -> None:
        """Add a file.

        Args:
            path: Name inside the attempt.
            data: Its bytes.
            incidental: Kept, but no part of the content digest: pages for people, with times in them.

        Raises:
            ValueError: The name cannot be stored, or the attempt has a file of that name.
            StorageError: The store failed.
        """
        check_name(path, what="path")
        if path in self._files:
            raise ValueError(f"this attempt at {self.dataset}/{self.interval} has a file {path} already")
        self.store.objects.write(f"{self.folder}/{path}", data)
        self._files[path] = FileEntry(path, len(data), hashlib.sha256(data).hexdigest(), incidental)
        crash_point("mid_write", self.dataset)

    def put_table(self, name: str, table: pa.Table) -> Output:
        """Add a table as one parquet file, with its content digest.

        Raises:
            ValueError: A value would not survive exactly (a timestamp finer than a microsecond), or as ``put``.
            StorageError: The store failed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from nightshift.storage.digest import TableDigest

        digest = TableDigest()
        digest.add(table)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", coerce_timestamps="us")
        self.put(f"{name}/part-00000.parquet", sink.getvalue().to_pybytes())
        self._outputs[name] = Output(name, digest.rows, digest.result(), digest.schema)
        return self._outputs[name]

    def adopt_spark_output(self, name: str) -> Output:
        """Take in the parquet files that Spark wrote to ``uri(name)``, with their digest.

        A few files are read at a time; the digest does not depend on which is first.

        Raises:
            StorageError: There are none, or the store failed.
            IntegrityError: A file is not readable parquet, or has other columns than the rest.
        """
        from nightshift.storage.digest import TableDigest

        digest = TableDigest()
        prefix = f"{self.folder}/{check_name(name, what='table')}/"
        files = [stored for stored in self.store.objects.walk(prefix) if _is_data(stored.name.removeprefix(prefix))]
        for stored, size, sha256, table in read_ahead(files, self._taken_in):
            try:
                digest.add(table)
            except ValueError as error:
                raise self._cannot_be_taken_in(stored.name, error) from error
            path = f"{name}/{stored.name.removeprefix(prefix)}"
            self._files[path] = FileEntry(path, size, sha256)
        if not digest.schema:
            raise StorageError(
                f"Spark left no parquet file in {self.store.objects.uri(prefix.rstrip('/'))}.",
                hint="write the table to Attempt.uri(name) with mode overwrite, and let the write finish",
            )
        self._outputs[name] = Output(name, digest.rows, digest.result(), digest.schema)
        crash_point("mid_write", self.dataset)
        return self._outputs[name]

    def _taken_in(self, stored: Stored) -> tuple[Stored, int, str, pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        data = self.store.objects.read(stored.name)
        try:
            return stored, len(data), hashlib.sha256(data).hexdigest(), pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._cannot_be_taken_in(stored.name, error) from error

    def _cannot_be_taken_in(self, name: str, error: Exception) -> IntegrityError:
        return IntegrityError(f"{self.store.objects.uri(name)} cannot be taken in: {error}")

    def adopt_files(self, manifest: Manifest) -> None:
        """Take over the content of a published version, for new statistics about it: its files are copied."""
        for entry in manifest.files:
            self.put(entry.path, self.store.read(manifest, entry.path), incidental=entry.incidental)
        self._outputs.update(manifest.outputs)

    def publish(
        self,
        *,
        stage_key: str,
        code: str,
        inputs: Mapping[str, Ref] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Make the attempt visible as the next version, or adopt the equal one that won.

        The files are on disk before the manifest is; on local disk that includes fsync.

        Args:
            stage_key: Key of the result; equal keys mean equal results.
            code: Digest of the code that made it.
            inputs: The versions it was made from, by name.
            result: The stage's small result; anything JSON can say.

        Raises:
            Overtaken: Another attempt, with another key, published first; this one stays invisible.
            StorageError: The store failed. Usually nothing is visible; where the outcome is unknown the message
                says so, and whoever looks for the key later finds the truth.
            ValueError: ``result`` cannot be written as JSON, for example a NaN.
        """
        crash_point("before_manifest", self.dataset)
        manifest = Manifest(
            dataset=self.dataset,
            interval=self.interval,
            version=self.base + 1,
            attempt=self.id,
            stage_key=stage_key,
            digest=self.content_digest(),
            files=tuple(self._files[path] for path in sorted(self._files)),
            outputs=dict(self._outputs),
            inputs=dict(inputs or {}),
            code=code,
            result=dict(result or {}),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._began, 3),
        )
        data = self._as_json(manifest)
        try:
            self.store.objects.settle(f"{self.folder}/{path}" for path in self._files)
        except StorageError:
            if manifest.version in self.store.taken(self.dataset, self.interval):
                return self._adopt_winner(manifest)  # retention collected the files of a dead attempt
            raise
        crash_point("before_publish", self.dataset)
        if self.store.objects.create(manifest_name(self.dataset, self.interval, manifest.version), data):
            crash_point("after_publish", self.dataset)
            return manifest
        return self._adopt_winner(manifest)

    def content_digest(self) -> str:
        """Digest of what the version says, not of how it is stored."""
        return content_digest(self._files.values(), self._outputs)

    def _as_json(self, manifest: Manifest) -> bytes:
        try:
            return manifest.to_json()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the result of {self.dataset}/{self.interval} cannot be written as JSON: {error}"
            ) from error

    def _adopt_winner(self, ours: Manifest) -> Manifest:
        winner = self.store.slot(self.dataset, self.interval, ours.version)
        if isinstance(winner, Void):
            raise Overtaken(
                f"retention {winner.why} {ours.ref} at {winner.at}, before this attempt ({self.id}) came to "
                "publish it; it stays invisible.",
                hint="nothing is lost; another try publishes under the next number",
            )
        if winner.stage_key == ours.stage_key:
            log.info("%s was published by another attempt with the same key; using it", winner.ref)
            return winner
        raise Overtaken(
            f"another attempt published {winner.ref} while this one ({self.id}) was running; it stays invisible.",
            hint="nothing is lost; another try will see the newer version",
        )


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and not any(part.startswith(NOT_DATA) for part in path.split("/"))


def manifest_name(dataset: str, interval: str, version: int) -> str:
    return f"{dataset}/{interval}/v{version:06d}.json"
