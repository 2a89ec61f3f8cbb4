"""Checks of rows that need no declaration: keys, duplicates, infinite numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightshift.validate.verdict import DayVerdict

if TYPE_CHECKING:
    import pyarrow as pa


def check_rows(verdict: DayVerdict, key: Sequence[str]) -> None:
    """Set aside rows without a key, with infinite numbers, and duplicates among the rows that are left.

    Of rows with the same key, the first in the order of all columns stays, whatever order they came in.
    """
    for column in key:
        verdict.set_aside(_nulls(verdict.rows.column(column)), f"{column} is null, and it is part of the key")
    for column in verdict.rows.column_names:
        verdict.set_aside(_infinite(verdict.rows.column(column)), f"{column} is infinite")
    _set_duplicates_aside(verdict, key)


def _nulls(column: pa.ChunkedArray) -> list[int]:
    import numpy as np
    import pyarrow.compute as pc

    if not column.null_count:
        return []
    found: list[int] = np.flatnonzero(pc.is_null(column).to_numpy()).tolist()
    return found


def _infinite(column: pa.ChunkedArray) -> list[int]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return []
    infinite = pc.fill_null(pc.is_inf(column), False)
    found: list[int] = np.flatnonzero(infinite.to_numpy()).tolist()
    return found


def _set_duplicates_aside(verdict: DayVerdict, key: Sequence[str]) -> None:
    import numpy as np
    import pyarrow as pa

    left = np.ones(verdict.rows.num_rows, dtype=bool)
    left[list(verdict.reasons)] = False
    keys = verdict.rows.select(list(key)).to_pandas()
    shared = np.flatnonzero(left)[keys[left].duplicated(keep=False).to_numpy()]
    if not len(shared):
        return
    frame = verdict.rows.take(pa.array(shared)).to_pandas()
    frame.index = shared
    others = [name for name in verdict.rows.column_names if name not in key]
    frame = frame.sort_values([*key, *others], kind="stable")
    exact = frame.duplicated(keep="first")
    later = frame.duplicated(subset=list(key), keep="first")
    verdict.set_aside(frame.index[exact].tolist(), "exact duplicate of another row")
    verdict.set_aside(frame.index[later & ~exact].tolist(), f"another row has the same key ({', '.join(key)})")
