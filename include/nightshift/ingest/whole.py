"""A static source: rows without a time, read whole; their digests; and whether anything has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from nightshift.errors import SourceError
from nightshift.ingest.columns import convert
from nightshift.ingest.days import DayRows, FileAccount, Split, ragged, within_budget
from nightshift.ingest.formats import FileRows
from nightshift.ingest.sources import SourceFile
from nightshift.interval import EVER
from nightshift.plan import Interval, Plan, stages_of
from nightshift.stage import CONCLUDES
from nightshift.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 32
"""Hexadecimal digits of a row's digest: two different rows share one with a chance of one in 10^38."""


def take_whole(
    read: Sequence[tuple[SourceFile, FileRows]],
    types: Mapping[str, str],
    *,
    max_fraction: float,
    row_digest: str | None = None,
) -> Split:
    """Every row of every file as the one snapshot.

    Args:
        read: The files.
        types: Settled type of each column.
        max_fraction: Largest share of a file's rows that may be quarantined.
        row_digest: Name of a column to be added: the digest of each row's values.

    Raises:
        SourceError: Too many rows of a file cannot be used, a column's values do not fit its type, or a file has a
            column of the name that is to be added.
    """
    import pyarrow as pa

    whole, accounts = DayRows(), []
    for file, rows in read:
        within_budget(rows, {}, max_fraction)
        table = rows.table
        columns = {name: convert(table.column(name), types[name], name=name) for name in table.column_names}
        if row_digest is not None:
            _require_free(row_digest, rows)
            columns[row_digest] = pa.chunked_array([pa.array(row_digests(table), pa.string())])
        whole.pieces.append((file.name, pa.table(columns)))
        whole.quarantined += ragged(rows)
        count, aside = int(table.num_rows), len(rows.ragged)
        accounts.append(FileAccount(file.name, file.fingerprint, rows.count, count, 0, aside))
    return Split({EVER.start.date(): whole}, accounts=accounts)


def _require_free(column: str, rows: FileRows) -> None:
    if column.lower() in [name.lower() for name in rows.table.column_names]:
        raise SourceError(
            f"{rows.name} has a column {column}, which is the name that source.row_digest gives to the rows' digests.",
            hint="give them another name; or drop row_digest, if that column is the key",
        )


def row_digests(table: pa.Table) -> list[str]:
    """The first half of the SHA-256 of each row, as text: equal rows have equal digests, wherever they stand.

    The cells are taken in the order of their columns' names, each as ``LENGTH:TEXT,``, where the text is UTF-8 as it
    stands in the csv file, or as Arrow writes a typed value, and LENGTH its bytes; a null is ``-,``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.large_string()  # texts of all columns together may be larger than 2 GiB
    colon, comma, null = (pa.scalar(mark, text) for mark in (":", ",", "-"))
    cells = []
    for name in sorted(table.column_names):
        cell = table.column(name).cast(text)
        length = pc.binary_length(cell).cast(text)
        cells.append(pc.fill_null(pc.binary_join_element_wise(length, cell, colon), null))
    texts = pc.binary_join_element_wise(*cells, pa.scalar("", text), comma)
    return [hashlib.sha256(text.encode()).hexdigest()[:DIGITS] for text in texts.to_pylist()]


@dataclass(frozen=True)
class Conclusion:
    """What an earlier night came to a decision about: its date, and the key that ``Plan.outcome_key`` gives."""

    night: date
    key: str

    @property
    def in_words(self) -> str:
        """Why a night with the same key has nothing to do."""
        return (
            f"Nothing has changed since night {self.night}: the same rows, spec, code and libraries make the same "
            "model, and that was decided on then."
        )


def last_conclusion(plan: Plan, store: Store) -> Conclusion | None:
    """What the newest night before this one that came to its last stage decided about, if it decided."""
    last = stages_of(plan.spec)[-1]
    before = [key for key in store.intervals(last) if key < plan.interval.key]
    manifest = store.latest(last, before[-1]) if before else None
    if manifest is None or CONCLUDES not in manifest.result:
        return None
    return Conclusion(Interval.of_key(manifest.interval).night, manifest.result[CONCLUDES])
