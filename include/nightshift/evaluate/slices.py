"""The rows that share one value of a column: how both models do on them, and who is treated differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.evaluate.gate import FairnessGap, SliceGain
from nightshift.evaluate.metrics import rounded
from nightshift.evaluate.task import Judged, Task
from nightshift.evaluate.tasks.binary import Binary
from nightshift.spec.gates import Fairness

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]
    Days = NDArray[np.integer[Any]]
    Places = NDArray[np.integer[Any]]

SLICE_VALUES = 50


@dataclass(frozen=True)
class Slice:
    """The rows of one value of one column.

    Attributes:
        column, value: Which.
        places: Where its rows are in the table.
    """

    column: str
    value: str
    places: Places


def slices_of(
    table: pa.Table, columns: Sequence[str], *, key: str = "gates.slices", most: int | None = SLICE_VALUES
) -> list[Slice]:
    """Every value of every column, the largest slices first; of a column with more than 50 values the 50 largest.

    Args:
        table: The rows.
        columns: Names of columns of it.
        key: Where the spec names them, for the message.
        most: How many values of a column; None for all.

    Raises:
        DataError: There is no such column.
    """
    found = []
    for column in columns:
        if column not in table.column_names:
            raise DataError(
                f"{key} names {column}, which is no column of the holdout.",
                hint=f"it has {', '.join(name for name in table.column_names if not name.startswith('__'))}",
            )
        values = table.column(column).to_pandas().astype("object")
        groups = values.groupby(values.map(_text), sort=True).indices
        largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:most]
        found += [Slice(column, value, places) for value, places in largest]
    return found


def left_out(table: pa.Table, columns: Sequence[str], labels: Labels, task: Task) -> tuple[tuple[str, int], ...]:
    """Columns of which more than 50 values have enough rows to be judged, and how many are not."""
    counts = {
        column: sum(task.is_large(labels[one.places]) for one in slices_of(table, [column], most=None)[SLICE_VALUES:])
        for column in columns
    }
    return tuple((column, count) for column, count in counts.items() if count)


def _text(value: Any) -> str:
    import pandas as pd

    return "null" if pd.isna(value) else str(value)


def slice_gains(
    slices: Sequence[Slice],
    labels: Labels,
    challenger: Scores,
    champion: Scores,
    days: Days,
    *,
    task: Task,
    metric: str,
    confidence: float,
) -> tuple[SliceGain, ...]:
    """What the challenger gains on each large slice.

    All are judged at once, so each interval is wider: of k slices, each has the confidence 1 - (1 - c) / k.

    Args:
        slices: Of the same rows.
        labels: Shape [rows].
        challenger: Its scores, as of ``Judged``.
        champion: The champion's scores of the same rows, likewise.
        days: Any number that tells the rows' days apart, shape [rows].
        task: Whose labels these are.
        metric: The one that decides.
        confidence: That none of the intervals misses.
    """
    large = [one for one in slices if task.is_large(labels[one.places]) and len(set(days[one.places].tolist())) > 1]
    each = 1 - (1 - confidence) / max(len(large), 1)
    made = []
    for one in large:
        at = one.places
        gain = task.gain(metric, labels[at], challenger[at], champion[at], days[at], confidence=each)
        made.append(SliceGain(one.column, one.value, len(at), gain))
    return tuple(made)


def described(
    slices: Sequence[Slice],
    challenger: Judged,
    champion: Scores | None,
    gains: Sequence[SliceGain],
    *,
    task: Task,
    metrics: Sequence[str],
) -> list[dict[str, Any]]:
    """For ``evaluation.json``; a small slice is listed without the metric that decides.

    Args:
        slices: Of the same rows.
        challenger: Labels, and its scores.
        champion: The champion's scores of the same rows; None where there is no champion to compare.
        gains: Of the slices that are judged.
        task: Whose labels these are.
        metrics: The one that decides, and the one that must not be worse, if there is one.
    """
    judged = {(one.column, one.value): one.gain for one in gains}
    metric, others = metrics[0], metrics[1:]
    found = []
    for one in slices:
        at, gain = one.places, judged.get((one.column, one.value))
        labels, scores = challenger.labels[at], challenger.scores[at]
        large = task.is_large(labels)
        theirs = task.value(metric, labels, champion[at]) if large and champion is not None else None
        found.append(
            {
                "column": one.column,
                "value": one.value,
                "rows": len(at),
                **task.about(labels),
                "small": not large,
                metric: task.value(metric, labels, scores) if large else None,
                **{other: task.value(other, labels, scores) for other in others},
                f"champion_{metric}": theirs,
                "gain": None if gain is None else gain.to_dict(),
            }
        )
    return found


def fairness_gap(table: pa.Table, labels: Labels, called: NDArray[np.bool_], declared: Fairness) -> FairnessGap:
    """The largest difference of a rate between the groups of an attribute.

    Args:
        table: The rows.
        labels: 0 or 1, shape [rows].
        called: Which rows the model calls positive, shape [rows].
        declared: The spec's section.

    Raises:
        DataError: There is no such column.
    """
    groups = slices_of(table, [declared.attribute], key="gates.fairness.attribute", most=None)
    is_large = Binary().is_large
    rates = sorted(
        (rounded(_rate(labels[one.places], called[one.places], declared.metric)), one.value)
        for one in groups
        if is_large(labels[one.places])
    )
    small = tuple(one.value for one in groups if not is_large(labels[one.places]))
    if len(rates) < 2:
        return FairnessGap(None, small=small)
    (low, least), (high, most) = rates[0], rates[-1]
    return FairnessGap(rounded(high - low), (most, high), (least, low), small)


def _rate(labels: Labels, called: NDArray[np.bool_], metric: str) -> float:
    judged = {"true_positive_rate": labels == 1, "false_positive_rate": labels == 0}.get(metric)
    return float(called.mean() if judged is None else called[judged].mean())
