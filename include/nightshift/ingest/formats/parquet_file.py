"""Reading parquet: one file in memory, page checksums verified, types brought to a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.errors import SourceError
from nightshift.ingest.columns import plain_type
from nightshift.ingest.formats.archives import MAX_EXPANDED
from nightshift.ingest.formats.csv_file import require_names
from nightshift.ingest.formats.rows import FileRows

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(data: bytes, name: str) -> FileRows:
    """All rows of a parquet file.

    Args:
        data: The file.
        name: Its name, for messages.

    Raises:
        SourceError: The file is damaged or too large, or a column has a type that no spec can use.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        if size > MAX_EXPANDED:
            raise SourceError(
                f"{name} expands from {len(data):,} bytes to {size:,}; the limit is {MAX_EXPANDED >> 30} GiB.",
                hint="split the file",
            )
        require_names(file.schema_arrow.names, name)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{name} is not a readable parquet file ({len(data):,} bytes): {str(error).splitlines()[0]}",
            hint="it is cut off or damaged; write it again",
        ) from error
    return FileRows(name, _plain(table, name), pa.array(range(1, table.num_rows + 1), pa.int64()))


def _plain(table: pa.Table, name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for field in table.schema:
        column = table.column(field.name)
        kind = plain_type(field.type)
        if kind is None:
            raise SourceError(
                f"{name}: column {field.name} has type {field.type}, which cannot be used.",
                hint="use numbers, text, booleans, dates or timestamps; flatten nested columns in the source",
            )
        try:
            # Nanoseconds are cut to microseconds; nothing else may lose anything.
            column = column.cast(kind, safe=not pa.types.is_timestamp(kind))
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{name}: column {field.name} of type {field.type} does not fit {kind}: {error}"
            ) from error
        # NaN means "no value" in files that pandas wrote.
        columns[field.name] = pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(kind) else column
    return pa.table(columns)
