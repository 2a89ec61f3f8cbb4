"""Splitting files into UTC days so that every row is accounted for.

For each file: rows in = rows out (of the days that are read) + outside (of days that are not read now)
+ quarantined. For each day: rows in = rows out + quarantined.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from nightshift.errors import SourceError
from nightshift.ingest.columns import convert, read_moments
from nightshift.ingest.formats import FileRows
from nightshift.ingest.sources import Source, SourceFile

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_EPOCH = date(1970, 1, 1)
_MICROSECONDS_OF_DAY = 86_400_000_000
_NO_DAY = -(1 << 40)
_Misfits = dict[str, "np.ndarray"]
"""Positions of unusable rows in a file's table, by reason."""


@dataclass(frozen=True)
class Quarantined:
    """A row that was set aside: why, and where it stands (number in the file, the header being 1)."""

    reason: str
    source_file: str
    source_row: int
    raw: str

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.source_file, self.source_row, self.raw


@dataclass(frozen=True)
class FileAccount:
    """Where the rows of one file went."""

    name: str
    fingerprint: str
    rows_in: int
    rows_out: int
    outside: int
    quarantined: int


@dataclass
class DayRows:
    """Rows of one day, by the file they came from."""

    pieces: list[tuple[str, pa.Table]] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(int(piece.num_rows) for _, piece in self.pieces)

    def table(self) -> pa.Table:
        """All rows, in order of file and row.

        Raises:
            SourceError: The day's files have different columns.
        """
        import pyarrow as pa

        first_name, first = self.pieces[0]
        for name, piece in self.pieces[1:]:
            for left, right, where, other in ((first, piece, name, first_name), (piece, first, first_name, name)):
                missing = [column for column in left.column_names if column not in right.column_names]
                if missing:
                    raise SourceError(
                        f"{where} has no column {', '.join(missing)}, which {other} has; both hold rows of one day.",
                        hint="files of one day must have the same columns",
                    )
        return pa.concat_tables([piece.select(first.column_names) for _, piece in self.pieces]).combine_chunks()


@dataclass
class Split:
    """What a night's files came to.

    Attributes:
        days: Rows of each day that is read, also of those that turned out to have none.
        dayless: Quarantined rows that name no day: ragged ones, and ones without a readable time.
        accounts: One for each file.
    """

    days: dict[date, DayRows]
    dayless: list[Quarantined] = field(default_factory=list)
    accounts: list[FileAccount] = field(default_factory=list)


@dataclass(frozen=True)
class Splitter:
    """Splits files into days.

    Attributes:
        source: Says which rows belong into which file.
        time: Name of the time column.
        types: Settled type of each column.
        due: For each day that is read, its files.
        max_fraction: Largest share of a file's rows that may be quarantined.
    """

    source: Source
    time: str
    types: Mapping[str, str]
    due: Mapping[date, Sequence[SourceFile]]
    max_fraction: float

    def split(self, read: Sequence[tuple[SourceFile, FileRows]]) -> Split:
        """Raises SourceError: Too many rows of a file cannot be used, or a column's values do not fit its type."""
        result = Split({day: DayRows() for day in sorted(self.due)})
        for file, rows in read:
            self._split_file(file, rows, result)
        return result

    def _split_file(self, file: SourceFile, rows: FileRows, result: Split) -> None:
        moments = read_moments(rows.table.column(self.time), name=self.time)
        days = _day_numbers(moments)
        without_time, strays = self._without_time(rows, days), self._strays(file, days)
        within_budget(rows, {**without_time, **strays}, self.max_fraction, time=self.time)
        dayless = [*ragged(rows), *_set_aside(without_time, rows)]
        astray = _set_aside(strays, rows)
        if astray:
            result.days[min(day for day, files in self.due.items() if file in files)].quarantined += astray
        result.dayless += dayless
        rows_out = self._book(file, rows, moments, days, result)
        quarantined = len(dayless) + len(astray)
        outside = rows.count - rows_out - quarantined
        result.accounts.append(FileAccount(file.name, file.fingerprint, rows.count, rows_out, outside, quarantined))

    def _book(self, file: SourceFile, rows: FileRows, moments: pa.ChunkedArray, days: np.ndarray, to: Split) -> int:
        """Give each day its rows, in the file's order; the number of rows given."""
        import numpy as np

        taken = sorted(day for day in _present(days) & self.due.keys() if self.source.holds(file, day))
        if not taken:
            return 0
        numbers = np.array([_number(day) for day in taken], dtype=np.int64)
        chosen = np.flatnonzero(np.isin(days, numbers))
        chosen = chosen[np.argsort(days[chosen], kind="stable")]
        table = self._typed(rows.table, moments, chosen)
        starts = np.searchsorted(days[chosen], numbers)
        for day, start, end in zip(taken, starts, [*starts[1:], len(chosen)], strict=True):
            to.days[day].pieces.append((file.name, table.slice(int(start), int(end - start))))
        return len(chosen)

    def _typed(self, table: pa.Table, moments: pa.ChunkedArray, chosen: np.ndarray) -> pa.Table:
        import pyarrow as pa

        indices = pa.array(chosen)
        columns = {}
        for name in table.column_names:
            source = moments if name == self.time else table.column(name)
            values = source.take(indices)
            columns[name] = values if name == self.time else convert(values, self.types[name], name=name)
        return pa.table(columns)

    def _strays(self, file: SourceFile, days: np.ndarray) -> _Misfits:
        """Rows that lie outside the days their file is for."""
        import numpy as np

        return {
            f"{self.time} lies on {day}, which is not a day of this file": np.flatnonzero(days == _number(day))
            for day in sorted(_present(days))
            if not self.source.holds(file, day)
        }

    def _without_time(self, rows: FileRows, days: np.ndarray) -> _Misfits:
        import numpy as np
        import pyarrow.compute as pc

        empty = pc.is_null(rows.table.column(self.time)).to_numpy()
        return {
            f"{self.time} is empty": np.flatnonzero((days == _NO_DAY) & empty),
            f"{self.time} is no moment in time": np.flatnonzero((days == _NO_DAY) & ~empty),
        }


def within_budget(rows: FileRows, misfits: _Misfits, max_fraction: float, *, time: str = "") -> None:
    """Refuse a file of which more rows would be set aside than may be.

    Args:
        rows: Of the file.
        misfits: Unusable ones besides the ragged ones.
        max_fraction: Of the spec.
        time: The time column, whose values the message shows.

    Raises:
        SourceError: More rows cannot be used.
    """
    total = len(rows.ragged) + sum(len(indices) for indices in misfits.values())
    if total <= max_fraction * rows.count:
        return
    reasons = [
        f"{len(indices):,} × {reason} (first: row {rows.numbers[int(indices[0])].as_py()}, "
        f"value {str(rows.table.column(time)[int(indices[0])].as_py())[:40]!r})"
        for reason, indices in misfits.items()
        if len(indices)
    ]
    if rows.ragged:
        first = rows.ragged[0]
        reasons.append(
            f"{len(rows.ragged):,} × wrong number of fields "
            f"(first: row {first.number} has {first.fields}, there are {rows.table.num_columns} columns)"
        )
    raise SourceError(
        f"{rows.name}: {total:,} of {rows.count:,} rows cannot be used ({total / rows.count:.2%}; "
        f"quarantine.max_fraction allows {max_fraction:.2%}): {'; '.join(reasons[:5])}"
        f"{'; …' if len(reasons) > 5 else ''}.",
        hint="correct the file, or its delimiter, columns or time in the model spec",
    )


def _day_numbers(moments: pa.ChunkedArray) -> np.ndarray:
    """Days since 1970 of each moment, int64; _NO_DAY where there is none that a calendar has."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    stamps = pc.fill_null(moments.cast(pa.int64()), 0)
    numbers = stamps.to_numpy() // _MICROSECONDS_OF_DAY
    missing = pc.is_null(moments).to_numpy() | (numbers < _number(date.min)) | (numbers > _number(date.max))
    return np.where(missing, np.int64(_NO_DAY), numbers)


def _present(days: np.ndarray) -> set[date]:
    import numpy as np

    return {_EPOCH + timedelta(days=int(number)) for number in np.unique(days) if number != _NO_DAY}


def _number(day: date) -> int:
    return (day - _EPOCH).days


def ragged(rows: FileRows) -> list[Quarantined]:
    """The records that are no rows."""
    width = rows.table.num_columns
    return [
        Quarantined(f"has {row.fields} fields, not {width}", rows.name, row.number, json.dumps(row.text))
        for row in rows.ragged
    ]


def _set_aside(misfits: _Misfits, rows: FileRows) -> list[Quarantined]:
    found = []
    for reason, indices in misfits.items():
        for index in indices.tolist():
            record = rows.table.slice(index, 1).to_pylist()[0]
            raw = json.dumps(record, default=str, ensure_ascii=False)
            found.append(Quarantined(reason, rows.name, rows.numbers[index].as_py(), raw))
    return found


def quarantine_table(rows: Sequence[Quarantined]) -> pa.Table:
    """Columns: reason, source_file, source_row, raw (the row as JSON; the text itself where it was ragged)."""
    import pyarrow as pa

    return pa.table(
        {
            "reason": pa.array([row.reason for row in rows], pa.string()),
            "source_file": pa.array([row.source_file for row in rows], pa.string()),
            "source_row": pa.array([row.source_row for row in rows], pa.int64()),
            "raw": pa.array([row.raw for row in rows], pa.string()),
        }
    )
