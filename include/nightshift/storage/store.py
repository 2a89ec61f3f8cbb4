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
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import IntegrityError, Overtaken
from nightshift.plan import Plan, digest_of
from nightshift.storage.crash_points import crash_point
from nightshift.storage.manifest import FileEntry, Manifest, Output, Ref
from nightshift.storage.objects import Objects

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

MANIFEST_NAME = re.compile(r"v(\d{6})\.json")
NOT_DATA = ("_SUCCESS", "_committed_", "_started_", "_temporary")


class Store:
    """The area of one model in one environment."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    @classmethod
    def open(cls, root: str, *, env: str, model: str) -> Store:
        return cls(Objects(f"{root.rstrip('/')}/{env}/{model}"))

    @classmethod
    def of(cls, plan: Plan) -> Store:
        return cls.open(plan.storage, env=plan.env, model=plan.model)

    # -- reading -------------------------------------------------------------------------------------

    def versions(self, dataset: str, interval: str) -> list[int]:
        _, names = self.objects.names(f"{dataset}/{interval}")
        return sorted(int(match[1]) for name in names if (match := MANIFEST_NAME.fullmatch(name)))

    def manifest(self, dataset: str, interval: str, version: int) -> Manifest:
        name = manifest_name(dataset, interval, version)
        return Manifest.from_json(self.objects.read(name), name=self.objects.uri(name))

    def resolve(self, ref: Ref) -> Manifest:
        """The manifest a reference names.

        Raises:
            IntegrityError: It is there, but with other content.
        """
        found = self.manifest(ref.dataset, ref.interval, ref.version)
        if found.digest != ref.digest:
            raise IntegrityError(f"{ref} has digest {found.digest}, but {ref.digest} was expected.")
        return found

    def latest(self, dataset: str, interval: str) -> Manifest | None:
        """The newest version, or None if there is none."""
        numbers = self.versions(dataset, interval)
        return self.manifest(dataset, interval, numbers[-1]) if numbers else None

    def find(self, dataset: str, interval: str, stage_key: str) -> Manifest | None:
        """The newest version with this stage key, or None."""
        for number in reversed(self.versions(dataset, interval)):
            found = self.manifest(dataset, interval, number)
            if found.stage_key == stage_key:
                return found
        return None

    def intervals(self, dataset: str) -> list[str]:
        """Intervals that have at least a folder, in order; ask ``latest`` what they hold."""
        return self.objects.names(dataset)[0]

    def read(self, manifest: Manifest, path: str) -> bytes:
        """A file's bytes, checked.

        Raises:
            IntegrityError: The bytes are not the ones that were published.
        """
        entry = manifest.file(path)
        data = self.objects.read(f"{manifest.folder}/{path}")
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(
                f"{self.objects.uri(manifest.folder)}/{path} does not have the digest recorded in {manifest.ref}.",
                hint="the file was changed after it was published; run the stage again under a new version",
            )
        return data

    def download(self, manifest: Manifest, path: str, to: Path) -> Path:
        """A file, checked, on local disk: in place where the store is local, else copied to ``to``."""
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
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._files_of(manifest, output)
        tables = [pq.read_table(pa.BufferReader(self.read(manifest, entry.path)), columns=columns) for entry in files]
        return pa.concat_tables(tables, promote_options="default")

    def uris(self, manifest: Manifest, output: str) -> list[str]:
        """The parquet files of one table, as URIs for Spark."""
        return [self.objects.uri(f"{manifest.folder}/{entry.path}") for entry in self._files_of(manifest, output)]

    def _files_of(self, manifest: Manifest, output: str) -> list[FileEntry]:
        prefix = manifest.outputs[output].prefix + "/"
        return [entry for entry in manifest.files if entry.path.startswith(prefix)]

    # -- writing -------------------------------------------------------------------------------------

    def attempt(self, dataset: str, interval: str) -> Attempt:
        """Begin to write a version; nothing is visible until it is published."""
        crash_point("start")
        numbers = self.versions(dataset, interval)
        return Attempt(self, dataset, interval, base=numbers[-1] if numbers else 0)

    def publish_plan(self, plan: Plan) -> tuple[str, str]:
        """Store a plan under its own digest; gives its URI and sha256."""
        data = plan.to_json()
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"plan/{plan.interval.key}/{sha256}.json"
        if not self.objects.create(name, data) and self.objects.read(name) != data:
            raise IntegrityError(f"{self.objects.uri(name)} does not have the digest in its name.")
        return self.objects.uri(name), sha256


class Attempt:
    """Files of one attempt to write a version. Use ``publish`` once, last."""

    def __init__(self, store: Store, dataset: str, interval: str, *, base: int) -> None:
        self.store = store
        self.dataset = dataset
        self.interval = interval
        self.id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._base = base
        self._began = time.monotonic()
        self._files: dict[str, FileEntry] = {}
        self._incidental: set[str] = set()
        self._outputs: dict[str, Output] = {}

    @property
    def folder(self) -> str:
        return f"{self.dataset}/{self.interval}/attempt={self.id}"

    @property
    def outputs(self) -> Mapping[str, Output]:
        return self._outputs

    def uri(self, path: str) -> str:
        """Where Spark writes a table of this attempt."""
        return self.store.objects.uri(f"{self.folder}/{path}")

    def put(self, path: str, data: bytes, *, incidental: bool = False) -> None:
        """Add a file.

        Args:
            path: Name inside the attempt.
            data: Its bytes.
            incidental: Kept, but no part of the content digest: pages for people, with times in them.
        """
        if incidental:
            self._incidental.add(path)
        self.store.objects.write(f"{self.folder}/{path}", data)
        self._files[path] = FileEntry(path, len(data), hashlib.sha256(data).hexdigest())
        crash_point("mid_write")

    def put_folder(self, prefix: str, folder: Path, *, incidental: bool = False) -> None:
        """Add every file below a local folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes(), incidental=incidental)

    def put_table(self, name: str, table: pa.Table) -> Output:
        """Add a table as one parquet file, with its content digest."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from nightshift.storage.digest import schema_of, table_digest

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", coerce_timestamps="us")
        self.put(f"{name}/part-00000.parquet", sink.getvalue().to_pybytes())
        self._outputs[name] = Output(name, table.num_rows, table_digest(table), schema_of(table))
        return self._outputs[name]

    def adopt_spark_output(self, name: str) -> Output:
        """Take in the parquet files that Spark wrote to ``uri(name)``, with their digest."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from nightshift.storage.digest import schema_of, table_digest

        prefix = f"{self.folder}/{name}"
        tables = []
        for path, size in self.store.objects.list(prefix):
            relative = path.removeprefix(f"{self.folder}/")
            if not path.endswith(".parquet") or any(mark in relative for mark in NOT_DATA):
                continue
            data = self.store.objects.read(path)
            self._files[relative] = FileEntry(relative, size, hashlib.sha256(data).hexdigest())
            tables.append(pq.read_table(pa.BufferReader(data)))
        table = pa.concat_tables(tables, promote_options="default")
        self._outputs[name] = Output(name, table.num_rows, table_digest(table), schema_of(table))
        crash_point("mid_write")
        return self._outputs[name]

    def adopt_files(self, manifest: Manifest) -> None:
        """Publish the same content again under new statistics: its tables are copied into this attempt."""
        for entry in manifest.files:
            self.put(entry.path, self.store.read(manifest, entry.path))
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

        Raises:
            Overtaken: Another attempt, with another key, published first; this one stays invisible.
            StorageError: The store failed; nothing is visible.
        """
        crash_point("before_manifest")
        manifest = Manifest(
            dataset=self.dataset,
            interval=self.interval,
            version=self._base + 1,
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
        crash_point("before_publish")
        if self.store.objects.create(manifest_name(self.dataset, self.interval, manifest.version), manifest.to_json()):
            crash_point("after_publish")
            return manifest
        winner = self.store.manifest(self.dataset, self.interval, manifest.version)
        if winner.stage_key == stage_key:
            log.info("%s was published by another attempt with the same key; using it", winner.ref)
            return winner
        raise Overtaken(
            f"another attempt published {winner.ref} while this one ({self.id}) was running; it stays invisible.",
            hint="nothing is lost; another try will see the newer version",
        )

    def content_digest(self) -> str:
        """Digest of what the version says, not of how it is stored."""
        prefixes = tuple(f"{output.prefix}/" for output in self._outputs.values())
        other = {
            path: entry.sha256
            for path, entry in self._files.items()
            if path not in self._incidental and not path.startswith(prefixes)
        }
        return digest_of({"tables": {name: output.digest for name, output in self._outputs.items()}, "files": other})


def manifest_name(dataset: str, interval: str, version: int) -> str:
    return f"{dataset}/{interval}/v{version:06d}.json"


def garbage(store: Store, dataset: str, interval: str) -> Iterator[str]:
    """Objects of attempts that no manifest names: crashed, overtaken or cancelled ones."""
    kept = {store.manifest(dataset, interval, number).folder for number in store.versions(dataset, interval)}
    for name, _ in store.objects.list(f"{dataset}/{interval}"):
        if "/attempt=" in name and not any(name.startswith(folder + "/") for folder in kept):
            yield name
