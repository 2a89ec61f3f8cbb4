"""Tables of the attempt that is being written, read back without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nightshift.storage import Attempt

if TYPE_CHECKING:
    import pyarrow as pa


def read(attempt: Attempt, name: str, *, columns: list[str]) -> pa.Table:
    """Columns of a table of this attempt, in the order of its files."""
    import pyarrow as pa

    return pa.concat_tables(parts(attempt, name, columns=columns))


def parts(attempt: Attempt, name: str, *, columns: list[str]) -> Iterator[pa.Table]:
    """The same, file by file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    objects = attempt.store.objects
    files = sorted(found.name for found in objects.walk(f"{attempt.folder}/{name}") if found.name.endswith(".parquet"))
    for path in files:
        # Spark notes the schema of its whole table in the metadata, and would believe it when it reads this one.
        yield pq.read_table(pa.BufferReader(objects.read(path)), columns=columns).replace_schema_metadata()
