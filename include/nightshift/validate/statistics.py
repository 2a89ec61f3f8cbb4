"""Small numbers about a day's clean rows, kept in its manifest so that nobody has to read the rows again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nightshift.spec.label_rule import LabelRule
from nightshift.spec.models import Label

if TYPE_CHECKING:
    import pyarrow as pa


def label_counts(rows: pa.Table, label: Label) -> dict[str, int]:
    """``labelled``, ``unlabelled`` and ``positives`` of a day.

    Raises:
        SpecError: The column cannot be compared with ``label.positive``.
    """
    import pyarrow.compute as pc

    positive = LabelRule.parse(label.positive).arrow_mask(rows.column(label.column))
    labelled = len(positive) - positive.null_count
    return {
        "labelled": labelled,
        "unlabelled": positive.null_count,
        "positives": int(pc.sum(positive).as_py() or 0) if labelled else 0,
    }


def column_statistics(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """By column: type, nulls, and by type min, max and mean (numbers), min and max (times), distinct (text)."""
    return {name: _of_column(rows.column(name)) for name in rows.column_names}


def _of_column(column: pa.ChunkedArray) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[str, Any] = {"type": str(column.type), "nulls": column.null_count}
    if column.null_count == len(column):
        return found
    if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return {**found, "distinct": pc.count_distinct(column).as_py()}
    bounds = pc.min_max(column).as_py()
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        mean = pc.mean(column).as_py()
        return {**found, **bounds, "mean": mean if math.isfinite(mean) else None}
    return {**found, **{name: str(value) for name, value in bounds.items()}}
