"""The law of accounting: no row is lost, none is made up, whatever the file holds and in any order."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import SourceError
from nightshift.ingest.columns import MOMENT, kind_of, settle
from nightshift.ingest.days import Split, Splitter, quarantine_table
from nightshift.ingest.formats import FileRows
from nightshift.ingest.formats.csv_file import read_csv
from nightshift.ingest.sources import SourceFile

FIRST = date(2024, 2, 27)
COLUMNS = ["id", "at", "km"]


class Weekly:
    """A source whose files hold the days from FIRST on, as many as ``length`` says."""

    def __init__(self, length: int) -> None:
        self.length = length

    def files(self, day: date | None) -> tuple[SourceFile, ...]:
        raise NotImplementedError

    def read(self, file: SourceFile) -> FileRows:
        raise NotImplementedError

    def looked_for(self, day: date | None) -> str:
        return "files"

    def holds(self, file: SourceFile, day: date) -> bool:
        return FIRST <= day < FIRST + timedelta(days=self.length)


def split(
    files: dict[str, list[str]], *, due: int, holds: int, max_fraction: float = 1.0
) -> tuple[Split, list[FileRows]]:
    sources = [SourceFile(name, name, "f") for name in files]
    rows = [read_csv("\n".join([",".join(COLUMNS), *lines]).encode() + b"\n", name) for name, lines in files.items()]
    types = settle(
        [{name: kind_of(part.table.column(name)) for name in ("id", "km")} for part in rows], [], as_text=True
    )
    days = {FIRST + timedelta(days=number): tuple(sources) for number in range(due)}
    splitter = Splitter(Weekly(holds), "at", {**types, "at": MOMENT}, days, max_fraction)
    return splitter.split(list(zip(sources, rows, strict=True))), rows


moments = st.integers(-3, 9).map(lambda number: (FIRST + timedelta(days=number)).isoformat())
lines = st.one_of(
    st.builds("{}T{:02d}:00:00Z".format, moments, st.integers(0, 23)).map(lambda at: f"a,{at},1.5"),
    st.builds("{}T00:30:00+0{}:00".format, moments, st.integers(0, 9)).map(lambda at: f"b,{at},NA"),
    moments.map(lambda at: f'"two\nlines",{at},7'),
    st.sampled_from(["c,never,1", "c,,", "c,2024-02-30,1", "c,9999-12-31T00:00:00Z,1", "c", "c,2024-02-28,1,2", ",,"]),
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a.csv", "b.csv"]), st.lists(lines, max_size=25), min_size=1),
    st.integers(1, 7),
    st.integers(0, 7),
)
def test_rows_in_are_rows_out_plus_outside_plus_quarantined(files: dict[str, list[str]], due: int, more: int):
    holds = due + more
    result, rows = split(files, due=due, holds=holds)

    assert [account.rows_in for account in result.accounts] == [len(lines) for lines in files.values()]
    for account in result.accounts:
        assert account.rows_in == account.rows_out + account.outside + account.quarantined
        assert min(account.rows_out, account.outside, account.quarantined) >= 0
    booked = [*result.dayless, *(row for day in result.days.values() for row in day.quarantined)]
    assert len(booked) == sum(account.quarantined for account in result.accounts)
    assert len({row.identity for row in booked}) == len(booked)
    assert sum(day.count for day in result.days.values()) == sum(account.rows_out for account in result.accounts)
    for day, found in result.days.items():
        for at in found.table().column("at").to_pylist() if found.pieces else []:
            assert at.date() == day
    numbers = {part.name: set(part.numbers.to_pylist()) | {row.number for row in part.ragged} for part in rows}
    for row in booked:
        assert row.source_row in numbers[row.source_file]
    assert quarantine_table(booked).num_rows == len(booked)


def test_rows_keep_the_order_of_files_and_of_rows():
    result, _ = split(
        {
            "a.csv": ["1,2024-02-27T05:00:00Z,1", "2,2024-02-28,1", "3,2024-02-27T01:00:00Z,1"],
            "b.csv": ["4,2024-02-27,1"],
        },
        due=2,
        holds=2,
    )
    assert result.days[FIRST].table().column("id").to_pylist() == [1, 3, 4]


def test_the_first_bad_row_of_each_kind_is_named():
    with pytest.raises(SourceError) as caught:
        split({"a.csv": ["1,2024-02-27,1", "1,x,1", "1,,1", "1", "1,2024-05-01,1"]}, due=1, holds=2, max_fraction=0.5)
    for part in (
        "4 of 5 rows cannot be used (80.00%; quarantine.max_fraction allows 50.00%)",
        "1 × at is empty (first: row 4, value 'None')",
        "1 × at is no moment in time (first: row 3, value 'x')",
        "1 × at lies on 2024-05-01, which is not a day of this file (first: row 6",
        "1 × wrong number of fields (first: row 5 has 1, there are 3 columns)",
    ):
        assert part in caught.value.message
