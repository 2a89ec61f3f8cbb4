"""Reading csv: UTF-8 text, with a header line or with columns that are named elsewhere. Every record counts."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import SourceError
from nightshift.ingest.formats.rows import FileRows, RaggedRow

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 16 << 20
"""Records up to this many bytes are read, line breaks inside quotes included; of twice as many, none."""
KEPT_TEXT = 4096
"""Characters of a ragged record that are kept."""
_BOM = codecs.BOM_UTF8


def read_csv(
    data: bytes, name: str, *, delimiter: str = ",", block: int = BLOCK, columns: Sequence[str] = ()
) -> FileRows:
    """All records of a csv file; fields stay text, so that types can be decided over whole files.

    Args:
        data: The file, decompressed.
        name: The file's name, for messages.
        delimiter: Field separator.
        block: Longest record in bytes.
        columns: Names of the columns, if the first record is a row and no header.

    Raises:
        SourceError: Not UTF-8, NUL bytes, a record that is too long, or an unusable header.
    """
    import pyarrow as pa
    import pyarrow.csv

    _require_text(data, name)
    header = _no_header(data, name, delimiter, columns) if columns else _header(data, name, delimiter)
    ragged: list[RaggedRow] = []

    def set_aside(row: Any) -> str:
        ragged.append(RaggedRow(row.number, row.actual_columns, row.text[:KEPT_TEXT]))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # Threads would lose the row numbers.
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=min(block, max(len(data), 64)), column_names=list(columns) or None
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={column: pa.string() for column in header},
                strings_can_be_null=True,
                null_values=[""],
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _unparsable(error, name, block) from error
    return FileRows(name, table, _numbers(table.num_rows, ragged, first=1 if columns else 2), tuple(ragged))


def _numbers(rows: int, ragged: list[RaggedRow], *, first: int) -> pa.Array:
    """Numbers of the whole rows: all from the first on that no ragged record has."""
    import numpy as np
    import pyarrow as pa

    every = np.arange(first, rows + len(ragged) + first, dtype=np.int64)
    return pa.array(np.delete(every, [row.number - first for row in ragged]) if ragged else every)


def _require_text(data: bytes, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), 1 << 24):
        pending = len(decoder.getstate()[0])
        chunk = data[start : start + (1 << 24)]
        try:
            decoder.decode(chunk, final=start + len(chunk) >= len(data))
        except UnicodeDecodeError as error:
            raise _not_utf8(data, name, start - pending + error.start) from error
    nul = data.find(b"\0")
    if nul >= 0:
        raise SourceError(
            f"{name}, line {_line(data, nul)}: NUL byte at offset {nul:,}; this is not a text file in UTF-8.",
            hint="it may be UTF-16 or a binary file; save it as UTF-8",
        )


def _not_utf8(data: bytes, name: str, offset: int) -> SourceError:
    start = data.rfind(b"\n", 0, offset) + 1
    before = data[max(start, offset - 24) : offset].decode("utf-8", errors="replace")
    return SourceError(
        f"{name}, line {_line(data, offset)}: byte 0x{data[offset]:02x} at offset {offset:,} is not UTF-8"
        f" (after {before!r}).",
        hint="save the file as UTF-8, for example: iconv -f latin1 -t utf-8 old.csv > new.csv",
    )


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _no_header(data: bytes, name: str, delimiter: str, columns: Sequence[str]) -> list[str]:
    """The columns; raises SourceError: the first record is a header after all, with some of their names."""
    first = {field.strip().lower() for field in _first_record(data, name, delimiter)}
    shared = [column for column in columns if column.lower() in first]
    if shared:
        raise SourceError(
            f"{name}, line 1: {', '.join(shared[:3])}: this is a header, and columns in the spec says there is none.",
            hint="drop columns from the model spec: a header names the columns",
        )
    return list(columns)


def _first_record(data: bytes, name: str, delimiter: str) -> list[str]:
    text = data[: 1 << 20].removeprefix(_BOM).decode("utf-8", errors="ignore")
    try:
        return next((record for record in csv.reader(io.StringIO(text), delimiter=delimiter) if record), [])
    except csv.Error as error:
        raise SourceError(f"{name}, line 1: it cannot be read: {error}.") from error


def _header(data: bytes, name: str, delimiter: str) -> list[str]:
    header = _first_record(data, name, delimiter)
    if not header:
        raise SourceError(f"{name} holds no header line.", hint="the first line must name the columns")
    return require_names(header, name)


def require_names(columns: list[str], name: str) -> list[str]:
    """Column names that Spark can tell apart.

    Raises:
        SourceError: A name is blank, or two are equal but for upper and lower case.
    """
    seen: dict[str, str] = {}
    for place, column in enumerate(columns, start=1):
        if not column.strip():
            raise SourceError(
                f"{name}: column {place} of {len(columns)} has no name.",
                hint="name every column; pandas writes such a column unless to_csv(index=False)",
            )
        if column.lower() in seen:
            raise SourceError(
                f"{name} has the columns {seen[column.lower()]} and {column}, which Spark cannot tell apart.",
                hint="rename one of them",
            )
        seen[column.lower()] = column
    return columns


def _unparsable(error: Exception, name: str, block: int) -> SourceError:
    message = str(error).splitlines()[0]
    if "straddling" in message or "block" in message:
        return SourceError(
            f"{name} has a record longer than {block:,} bytes.",
            hint="most often a quote that is opened and never closed; look for an odd number of quotes in a line",
        )
    return SourceError(f"{name} cannot be read as csv: {message}.", hint="check its delimiter and quoting")
