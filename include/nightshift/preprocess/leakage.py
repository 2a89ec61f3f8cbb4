"""How much one feature alone says about the label: too much is a leak, or a feature that a person must name.

The measure is the AUC of one feature, whichever way it points. Numbers are ranked; besides, every column is cut into
few groups (a category, a sixty-fourth of the numbers, the nulls), whose share of positives is learned on some days
and tried on others: that finds leaks that do not rise or fall with the value, and does not take a category of one
row for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float64]
    Bits = npt.NDArray[np.bool_]
    Codes = npt.NDArray[np.int64]

FEWEST = 50
"""Fewest rows of each class that an AUC is worth anything on."""
GROUPS = 64
SMOOTHING = 20.0
"""Rows of the average that a group's share of positives is mixed with."""


@dataclass(frozen=True)
class Window:
    """A feature in one window.

    Attributes:
        column: Its values.
        positive: Whether each row's label is positive.
        day: Number of the day of each row.
    """

    column: pa.ChunkedArray
    positive: Bits
    day: Codes


def strengths(train: Window, holdout: Window) -> tuple[float | None, float | None]:
    """AUC of one feature alone, at least 0.5, in the training window and in the holdout; None where rows are few."""
    codes, other = _groups(train.column, holdout.column)
    odd = train.day % 2 == 1
    halves = [
        _learned(codes[fit], train.positive[fit], codes[score], train.positive[score])
        for fit, score in ((odd, ~odd), (~odd, odd))
    ]
    inside = [half for half in halves if half is not None]
    across = _learned(codes, train.positive, other, holdout.positive)
    return (
        _largest(_ranked(train), sum(inside) / len(inside) if inside else None),
        _largest(_ranked(holdout), across),
    )


def _largest(*values: float | None) -> float | None:
    there = [value for value in values if value is not None]
    return round(max(there), 4) if there else None


def _ranked(window: Window) -> float | None:
    """AUC of the values' ranks, whichever way; None for texts."""
    import numpy as np

    from nightshift.shift.summary import numbers

    if not _is_numeric(window.column):
        return None
    values = numbers(window.column)
    there = ~np.isnan(values)
    found = auc(values[there], window.positive[there])
    return None if found is None else max(found, 1 - found)


def _learned(fit: Codes, labels: Bits, score: Codes, truth: Bits) -> float | None:
    """AUC on some rows of the shares of positives that other rows have; at least 0.5."""
    import numpy as np

    if not len(fit) or not len(score):
        return None
    size = int(max(fit.max(), score.max())) + 1
    rows = np.bincount(fit, minlength=size)
    positives = np.bincount(fit, weights=labels, minlength=size)
    shares = (positives + SMOOTHING * labels.mean()) / (rows + SMOOTHING)
    found = auc(shares[score], truth)
    return None if found is None else max(found, 0.5)


def auc(values: Floats, positive: Bits) -> float | None:
    """The share of pairs of a positive and a negative row in which the positive's value is larger; ties count half.

    None with fewer than 50 rows of a class.
    """
    import numpy as np

    positives = int(positive.sum())
    negatives = len(positive) - positives
    if min(positives, negatives) < FEWEST:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = float(ranks[place][positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def _groups(train: pa.ChunkedArray, holdout: pa.ChunkedArray) -> tuple[Codes, Codes]:
    """Numbers of the same groups for both windows; nulls are the last group."""
    import numpy as np
    import pyarrow as pa

    from nightshift.shift.summary import numbers

    if not _is_numeric(train):
        both = pa.chunked_array([*train.cast(pa.string()).chunks, *holdout.cast(pa.string()).chunks], pa.string())
        encoded = both.combine_chunks().dictionary_encode()
        places = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        return places[: len(train)], places[len(train) :]
    before, after = numbers(train), numbers(holdout)
    there = before[~np.isnan(before)]
    edges = np.unique(np.quantile(there, np.arange(1, GROUPS) / GROUPS)) if len(there) else np.array([0.0])

    def place(values: Floats) -> Codes:
        # A value at an edge is a group of its own: half of a column may be exactly 0.
        found = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
        return np.where(np.isnan(values), 2 * len(edges) + 1, found).astype(np.int64)

    return place(before), place(after)


def _is_numeric(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
