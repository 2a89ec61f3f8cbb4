"""What the stored days of a model suggest to expect of it: a draft for a person, never a rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from nightshift.spec.models import ModelSpec

MOST_LEVELS = 20
ROWS_PER_LEVEL = 50
SLACK = 0.1
TAIL = 0.001
"""Share of rows on either side that a range may leave out where the largest values are far from the rest."""
FAR = 3.0
SUSPECT = 0.005
"""Least share of a value that may stand for a missing one."""
MOST_RUNS = 6
"""Most runs of letters, of digits and of other characters in a text that has a format."""


@dataclass
class Proposals:
    """A draft of expectations.

    Attributes:
        lines: Rows of ``expectations`` in YAML.
        suspects: Remarks on values that may stand for missing ones.
        known: How many proposals the spec already has.
    """

    lines: list[str] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    known: int = 0


def propose(spec: ModelSpec, days: Sequence[pa.Table]) -> Proposals:
    """Draft expectations from stored rows, without those that the spec has.

    Args:
        spec: The spec.
        days: Raw rows of several days, in the same columns.
    """
    import pyarrow as pa

    found = Proposals()
    rows = pa.concat_tables(days)
    moving = _parts_of_dates(days)
    there = {(row.column, kind) for row in spec.expectations for kind in KINDS if getattr(row, kind) is not None}
    for name in rows.column_names:
        column = rows.column(name)
        for row in _of_column(name, column):
            kind = next(key for key in row if key in KINDS)
            if kind == "between" and name in moving:
                continue
            if (name, kind) in there:
                found.known += 1
            else:
                found.lines.append(_flow(row))
        found.suspects += _suspects(name, column)
    return found


KINDS = ("between", "in_set", "not_null", "matches")
READ_AS_OTHER = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"}


def _parts_of_dates(days: Sequence[pa.Table]) -> set[str]:
    """Numeric columns with one or two values a day, such as the month: what they were says nothing of tomorrow."""
    import pyarrow.compute as pc

    return {
        name
        for name in days[0].column_names
        if all(pc.count_distinct(day.column(name), mode="only_valid").as_py() <= 2 for day in days if day.num_rows)
    }


def _flow(row: Mapping[str, Any]) -> str:
    """One row in flow style. JSON is YAML, so that a text is quoted where it might be read as something else."""
    return "  - {" + ", ".join(f"{key}: {_scalar(key, value)}" for key, value in row.items()) + "}"


def _scalar(key: str, value: Any) -> str:
    return value if key == "column" and value.lower() not in READ_AS_OTHER else json.dumps(value, ensure_ascii=False)


def _of_column(name: str, column: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    if not len(column) or column.null_count == len(column):
        return
    if not column.null_count:
        yield {"column": name, "not_null": True}
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield _range(name, column)
    elif pa.types.is_string(kind):
        yield from _texts(name, column)


def _range(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    """A range with slack; where few values lie far out, they may lie outside (``mostly``)."""
    import numpy as np

    from nightshift.shift.summary import numbers

    values = numbers(column)
    values = values[~np.isnan(values)]
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = (float(bound) for bound in np.quantile(values, (TAIL, 1 - TAIL)))
    row: dict[str, Any] = {"column": name}
    if high - low > FAR * (inner_high - inner_low) > 0:
        return {**row, "between": _slack(inner_low, inner_high), "mostly": 1 - 10 * TAIL}
    return {**row, "between": _slack(low, high)}


def _slack(low: float, high: float) -> list[float | int]:
    """The range, wider by a tenth and rounded outwards; never across 0."""
    import math

    width = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(width * SLACK))
    bounds = [math.floor((low - SLACK * width) / step) * step, math.ceil((high + SLACK * width) / step) * step]
    bounds = [max(bounds[0], 0.0) if low >= 0 else bounds[0], min(bounds[1], 0.0) if high <= 0 else bounds[1]]
    rounded = [round(bound, 10) for bound in bounds]
    return [int(bound) if bound == int(bound) else bound for bound in rounded]


def _texts(name: str, column: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc

    counts = {row["values"]: row["counts"] for row in pc.value_counts(column.drop_null()).to_pylist()}
    if len(counts) <= MOST_LEVELS and sum(counts.values()) >= ROWS_PER_LEVEL * len(counts):
        yield {"column": name, "in_set": sorted(counts)}
    elif pattern := common_format(list(counts)):
        yield {"column": name, "matches": pattern}


def common_format(values: Sequence[str]) -> str | None:
    r"""The pattern that all values share, such as ``^[A-Z]{3}$`` or ``^[A-Z]{2}-\d{4}$``; None if there is none.

    Args:
        values: Distinct values.
    """
    shapes = {tuple(kind for kind, _ in _runs(value)) for value in values}
    shape = shapes.pop() if len(shapes) == 1 else ()
    if not 0 < len(shape) <= MOST_RUNS:
        return None
    lengths = [[length for _, length in _runs(value)] for value in values]
    parts = []
    for place, kind in enumerate(shape):
        there = [row[place] for row in lengths]
        low, high = min(there), max(there)
        if high > 2 * low:
            return None  # words of any length are no format
        many = "" if low == high == 1 else f"{{{low}}}" if low == high else f"{{{low},{high}}}"
        parts.append(kind + many)
    return f"^{''.join(parts)}$"


def _runs(value: str) -> list[tuple[str, int]]:
    found = re.finditer(r"([A-Z]+)|([a-z]+)|([0-9]+)|(.)", value, flags=re.DOTALL)
    classes = ("[A-Z]", "[a-z]", "[0-9]")
    return [
        (
            classes[match.lastindex - 1] if match.lastindex and match.lastindex <= 3 else re.escape(match[0]),
            len(match[0]),
        )
        for match in found
    ]


def _suspects(name: str, column: pa.ChunkedArray) -> Iterator[str]:
    """Sentinels that stand apart from the other values, or far above their neighbours in number."""
    import numpy as np
    import pyarrow as pa

    from nightshift.shift.summary import SENTINELS, numbers

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return
    values = numbers(column)
    values = values[~np.isnan(values)]
    there, counts = np.unique(values, return_counts=True)
    for value in SENTINELS:
        at = np.flatnonzero(there == value)
        if not len(at) or len(there) < MOST_LEVELS:
            continue
        place, share = int(at[0]), float(counts[at[0]] / len(values))
        neighbours = counts[max(place - 2, 0) : place + 3].tolist()
        usual = sorted(neighbours)[len(neighbours) // 2]
        others = values[values != value]
        low, high = float(others.min()), float(others.max())
        apart = value < low - (high - low) / 4 or value > high + (high - low) / 4 or (value < 0 <= low)
        if share >= SUSPECT and (apart or counts[place] > 10 * usual):
            yield f"{name}: {share:.1%} of the values are exactly {value:g}; does it stand for a missing value?"


def strong_features(
    spec: ModelSpec, rows: pa.Table, prepared: Mapping[str, Sequence[float | None]]
) -> dict[str, float]:
    """Features that alone have a larger AUC than ``data_checks.leakage`` lets pass, and are not named as strong.

    Args:
        spec: The spec.
        rows: Raw rows, for features that are columns of the source.
        prepared: AUC by feature as the newest night found it, if there is one.
    """
    import numpy as np

    from nightshift.preprocess.leakage import strength
    from nightshift.shift.summary import numbers
    from nightshift.spec.label_column import UNKNOWN, label_column

    found = {
        name: max((value for value in values if value is not None), default=0.0) for name, values in prepared.items()
    }
    labels = label_column(spec.label).arrow(rows.column(spec.label.column))
    labelled = labels.is_valid().to_numpy()
    truth = labels.fill_null(0).to_numpy()
    if spec.label.task == "multiclass":
        labelled &= truth != UNKNOWN
    for name in spec.features.numeric:
        if name in found or name not in rows.column_names:
            continue
        values = numbers(rows.column(name))
        there = labelled & ~np.isnan(values)
        found[name] = strength(spec.label.task, values[there], truth[there]) or 0.0
    bound = spec.data_checks.leakage
    return {
        name: value for name, value in sorted(found.items()) if value > bound and name not in spec.features.known_strong
    }
