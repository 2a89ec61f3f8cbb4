"""The rows of one file, each with its number in the file, and the lines that are no rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nightshift.errors import SourceError
from nightshift.ingest.formats.archives import expand

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "parquet"]
_ENDINGS: dict[str, Format] = {".csv": "csv", ".csv.gz": "csv", ".csv.zip": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class RaggedRow:
    """A csv record with the wrong number of fields: its number in the file, fields, and (cut) text."""

    number: int
    fields: int
    text: str


@dataclass(frozen=True)
class FileRows:
    """What one file holds.

    Attributes:
        name: The file's name, for messages.
        table: Its rows. Columns of csv are text, with null for an empty field; columns of parquet have types.
        numbers: Number of each row in the file: int64, as long as the table. The first record has number 1;
            in csv that is the header, if it has one.
        ragged: Records that have another number of fields than there are columns.
    """

    name: str
    table: pa.Table
    numbers: pa.Array
    ragged: tuple[RaggedRow, ...] = ()

    @property
    def count(self) -> int:
        """All records of the file: whole rows and ragged ones."""
        return int(self.table.num_rows) + len(self.ragged)


def format_of(name: str, declared: Format | None = None) -> Format:
    """Format of a file: as declared, else by its name.

    Raises:
        SourceError: Neither says.
    """
    if declared is not None:
        return declared
    for ending, found in _ENDINGS.items():
        if name.lower().endswith(ending):
            return found
    raise SourceError(
        f"{name} has a name that does not tell its format.",
        hint=f"known endings: {', '.join(_ENDINGS)}; or set format: csv or format: parquet",
    )


def read_rows(
    data: bytes, name: str, *, declared: Format | None = None, delimiter: str = ",", columns: Sequence[str] = ()
) -> FileRows:
    """Read one file's bytes.

    Args:
        data: The stored bytes, compressed or not.
        name: The file's name, for its ending and for messages.
        declared: Its format, where the name does not tell.
        delimiter: Field separator of csv.
        columns: Names of the columns of a csv file without a header.

    Raises:
        SourceError: It is empty, damaged, not UTF-8, or has an unusable header.
    """
    from nightshift.ingest.formats.csv_file import read_csv
    from nightshift.ingest.formats.parquet_file import read_parquet

    kind = format_of(name, declared)
    if not data:
        raise SourceError(f"{name} is empty: 0 bytes.", hint="wait for its writer to finish, then run again")
    expanded = expand(data, name)
    if not expanded:
        raise SourceError(f"{name} is empty: it expands to 0 bytes.")
    if kind == "csv":
        return read_csv(expanded, name, delimiter=delimiter, columns=columns)
    return read_parquet(expanded, name)
