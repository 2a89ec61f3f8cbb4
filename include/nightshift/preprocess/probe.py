"""The probe set: few rows that try the corners of the transforms.

Spark transforms it here, the model's graph is held against that later, without a JVM. Rows are real rows
of the training window, some of them with one thing changed: nulls, categories nobody has seen, values at
and beside every number that a transform compares with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

REAL_ROWS = 100
MOST_ROWS = 200
MOST_NULL_ROWS = 48
UNSEEN = "\u2044 never seen \u2044"

Request = Sequence[tuple[str, str]]


def probe_rows(train: pa.Table, request: Request, transforms: bytes) -> pa.Table:
    """The rows of the probe set, at most 200.

    Args:
        train: Request columns of the training window, sorted by key; at least one row.
        request: Request features and whether they are numeric or categorical.
        transforms: The fitted transforms as JSON.

    Returns:
        A table with the columns and types of ``train``.
    """
    import pyarrow as pa

    real = train.take(_evenly(train.num_rows, REAL_ROWS))
    changes = list(_changes(train, request, transforms))[: MOST_ROWS - real.num_rows]
    bases = _complete(train, [name for name, _ in request])
    bases = bases.take(_evenly(bases.num_rows, len(changes), cycle=True)).to_pylist()
    changed = [{**base, **change} for base, change in zip(bases, changes, strict=True)]
    return pa.concat_tables([real, pa.Table.from_pylist(changed, schema=train.schema)])


def _complete(train: pa.Table, names: Sequence[str]) -> pa.Table:
    """Up to 100 rows in which every feature has a value, so that a change is the only corner of its row."""
    import pyarrow.compute as pc

    mask = None
    for name in names:
        there = pc.is_valid(train.column(name))
        mask = there if mask is None else pc.and_(mask, there)
    complete = train if mask is None else train.filter(mask)
    complete = complete if complete.num_rows else train
    return complete.take(_evenly(complete.num_rows, REAL_ROWS))


def _evenly(rows: int, wanted: int, *, cycle: bool = False) -> list[int]:
    """Places spread evenly over the rows; with ``cycle`` exactly as many as wanted, however few rows."""
    if cycle:
        return [place % rows for place in range(wanted)]
    return [place * rows // min(rows, wanted) for place in range(min(rows, wanted))]


def _changes(train: pa.Table, request: Request, transforms: bytes) -> Iterator[dict[str, Any]]:
    names = [name for name, _ in request]
    yield dict.fromkeys(names)
    groups = min(len(names), MOST_NULL_ROWS)
    for group in range(groups):
        yield dict.fromkeys(names[group::groups])
    categorical = [name for name, kind in request if kind == "categorical"]
    for text in (UNSEEN, "", " ") if categorical else ():
        yield dict.fromkeys(categorical, text)
    numbers = {name: boundaries(train.column(name), steps) for name, steps in _steps(transforms).items()}
    # One row tries the next number of every column at once: columns do not meet before the model.
    for place in range(max(map(len, numbers.values()), default=0)):
        yield {name: values[place % len(values)] for name, values in numbers.items()}


def _steps(transforms: bytes) -> Mapping[str, list[Mapping[str, Any]]]:
    columns = json.loads(transforms)["columns"]
    return {column["name"]: column["steps"] for column in columns if column["kind"] == "numeric"}


def boundaries(column: pa.ChunkedArray, steps: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Numbers at which a column's transforms might go wrong, ascending, in the column's type.

    Smallest and largest value of the training window, 0, and every bound, edge and constant of the
    transforms with its two neighbours: next float32 values, or next whole numbers for whole-number columns.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    extremes = pc.min_max(column).as_py()
    plain = [value for value in (extremes["min"], extremes["max"], 0) if value is not None]
    compared = [float(number) for step in steps for number in _numbers(step)]
    if pa.types.is_integer(column.type):
        limits = np.iinfo(column.type.to_pandas_dtype())
        around = [whole for number in compared for whole in (int(np.floor(number)), int(np.ceil(number)))]
        wholes = {int(value) for value in plain} | {whole + change for whole in around for change in (-1, 0, 1)}
        return sorted(whole for whole in wholes if limits.min <= whole <= limits.max)
    infinity = np.float32(np.inf)
    beside = [
        float(value)
        for number in map(np.float32, compared)
        for value in (np.nextafter(number, -infinity), number, np.nextafter(number, infinity))
    ]
    return sorted({float(value) for value in (*plain, *beside) if np.isfinite(value)})


def _numbers(step: Mapping[str, Any]) -> Iterator[float]:
    """The numbers of a fitted transform that values are compared with or replaced by."""
    for name in ("value", "low", "high", "edges"):
        found = step.get(name)
        yield from found if isinstance(found, list) else [] if found is None else [found]
