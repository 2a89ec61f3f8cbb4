"""Content digests of tables: independent of row order, file layout and attempt, exact for every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.plan import digest_of

if TYPE_CHECKING:
    import pyarrow as pa

_MASK = (1 << 64) - 1


def table_digest(table: pa.Table) -> str:
    """Digest of rows as a multiset, with their count and the schema.

    Two 64-bit sums over row hashes; the second is of mixed hashes, so that rows cannot cancel out.
    """
    import numpy as np
    import pandas as pd

    total, mixed = 0, 0
    for batch in normalised(table).to_batches(max_chunksize=262_144):
        frame = batch.to_pandas(timestamp_as_object=False)
        for column in frame.select_dtypes(include="object").columns:
            first = next((value for value in frame[column] if value is not None), None)
            if isinstance(first, np.ndarray):
                frame[column] = [None if row is None else row.tobytes() for row in frame[column]]
        hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        total = (total + int(hashes.sum(dtype=np.uint64))) & _MASK
        spread = (hashes ^ (hashes >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed + int((spread ^ (spread >> np.uint64(29))).sum(dtype=np.uint64))) & _MASK
    return digest_of([f"{total:016x}", f"{mixed:016x}", table.num_rows, schema_of(table)])


def normalised(table: pa.Table) -> pa.Table:
    """The same values in one physical form: microsecond UTC timestamps, plain strings, columns by name."""
    import pyarrow as pa

    columns = {}
    for name in sorted(table.column_names):
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", tz="UTC" if column.type.tz else None))
        elif pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        columns[name] = column
    return pa.table(columns)


def schema_of(table: pa.Table) -> dict[str, str]:
    """Column names and Arrow types, in their normal form."""
    return {field.name: str(field.type) for field in normalised(table).schema}
