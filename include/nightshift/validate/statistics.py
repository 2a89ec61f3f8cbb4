"""Small numbers about a day's clean rows, kept in its manifest so that nobody has to read the rows again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nightshift.spec.label_column import UNKNOWN, label_column
from nightshift.spec.models import Label

if TYPE_CHECKING:
    import pyarrow as pa


def counted_of(label: Label) -> tuple[str, ...]:
    """Names of what ``label_counts`` gives for labels of a task."""
    of_task = {"binary": ("positives",), "multiclass": tuple(f"class.{name}" for name in label.classes)}
    return ("labelled", "unlabelled", *of_task.get(label.task, ()))


def label_counts(rows: pa.Table, label: Label) -> dict[str, int]:
    """Rows of a day: ``labelled`` and ``unlabelled``, and by task ``positives``, or ``class.NAME`` of each class.

    Raises:
        SpecError: The column holds something else than labels of the task.
    """
    import numpy as np

    read = label_column(label).arrow(rows.column(label.column))
    counts = {"labelled": len(read) - read.null_count, "unlabelled": read.null_count}
    if label.task == "regression":
        return counts
    of_class = np.bincount(read.drop_null().to_numpy(), minlength=max(2, len(label.classes))).tolist()
    if label.task == "binary":
        return {**counts, "positives": of_class[1]}
    return {**counts, **{f"class.{name}": count for name, count in zip(label.classes, of_class, strict=True)}}


def no_classes(rows: pa.Table, label: Label) -> list[int]:
    """Positions of rows whose label is none of ``label.classes``; none for other tasks.

    Raises:
        SpecError: The column holds something else than labels of the task.
    """
    import numpy as np

    if label.task != "multiclass":
        return []
    read = label_column(label).arrow(rows.column(label.column)).fill_null(0).to_numpy()
    found: list[int] = np.flatnonzero(read == UNKNOWN).tolist()
    return found


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
