"""The rows that share one value of a column: how both models do on them, and who is treated differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.evaluate.gate import FairnessGap, SliceGain
from nightshift.evaluate.metrics import rounded
from nightshift.evaluate.paired import auc_gain
from nightshift.spec.models import Fairness

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]
    Days = NDArray[np.integer[Any]]
    Places = NDArray[np.integer[Any]]

SLICE_ROWS = 500
SLICE_CLASS_ROWS = 50
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


def slices_of(table: pa.Table, columns: Sequence[str], *, key: str = "gates.slices") -> list[Slice]:
    """Every value of every column, the largest slices first; of a column with more than 50 values the 50 largest.

    Args:
        table: The rows.
        columns: Names of columns of it.
        key: Where the spec names them, for the message.

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
        largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:SLICE_VALUES]
        found += [Slice(column, value, places) for value, places in largest]
    return found


def _text(value: Any) -> str:
    import pandas as pd

    return "null" if pd.isna(value) else str(value)


def is_large(labels: Labels) -> bool:
    """Enough rows, and of each class, for an AUC that says something."""
    positives = int(labels.sum())
    return len(labels) >= SLICE_ROWS and min(positives, len(labels) - positives) >= SLICE_CLASS_ROWS


def slice_gains(
    slices: Sequence[Slice], labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
) -> tuple[SliceGain, ...]:
    """What the challenger gains on each large slice.

    All are judged at once, so each interval is wider: of k slices, each has the confidence 1 - (1 - c) / k.

    Args:
        slices: Of the same rows.
        labels: 0 or 1, shape [rows].
        challenger: Its scores, shape [rows].
        champion: The champion's scores of the same rows, shape [rows].
        days: Any number that tells the rows' days apart, shape [rows].
        confidence: That none of the intervals misses.
    """
    large = [one for one in slices if is_large(labels[one.places]) and len(set(days[one.places].tolist())) > 1]
    each = 1 - (1 - confidence) / max(len(large), 1)
    made = []
    for one in large:
        at = one.places
        gain = auc_gain(labels[at], challenger[at], champion[at], days[at], confidence=each)
        made.append(SliceGain(one.column, one.value, len(at), gain))
    return tuple(made)


def described(
    slices: Sequence[Slice], labels: Labels, challenger: Scores, champion: Scores | None, gains: Sequence[SliceGain]
) -> list[dict[str, Any]]:
    """For ``evaluation.json``; a small slice is listed without an AUC."""
    from sklearn.metrics import log_loss, roc_auc_score

    judged = {(one.column, one.value): one.gain for one in gains}
    found = []
    for one in slices:
        at, gain = one.places, judged.get((one.column, one.value))
        large = is_large(labels[at])
        found.append(
            {
                "column": one.column,
                "value": one.value,
                "rows": len(at),
                "positives": int(labels[at].sum()),
                "small": not large,
                "roc_auc": rounded(roc_auc_score(labels[at], challenger[at])) if large else None,
                "log_loss": rounded(log_loss(labels[at], challenger[at], labels=[0, 1])),
                "champion_roc_auc": rounded(roc_auc_score(labels[at], champion[at]))
                if large and champion is not None
                else None,
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
    groups = slices_of(table, [declared.attribute], key="gates.fairness.attribute")
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
