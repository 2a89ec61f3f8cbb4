"""How much one feature alone says about the label: too much is a leak, or a feature that a person must name.

The measure is the AUC of one feature, whichever way it points; for several classes the mean of each against the rest;
for numbers, (1 + |r|) / 2 of the rank correlation r, which is the same scale: 0.5 says nothing, 1 says all. Numbers
are ranked; besides, every column is cut into few groups (a category, a sixty-fourth of the numbers, the nulls), whose
mean label is learned on some days and tried on others: that finds leaks that do not rise or fall with the value, and
does not take a category of one row for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.spec.values import Task

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
"""Rows of the average that a group's mean label is mixed with."""


@dataclass(frozen=True)
class Window:
    """A feature in one window.

    Attributes:
        column: Its values.
        labels: Each row's label, as preprocess stores it: 0 and 1, places of classes, or numbers.
        day: Number of the day of each row.
        task: What the labels are.
    """

    column: pa.ChunkedArray
    labels: npt.NDArray[np.number]
    day: Codes
    task: Task = "binary"


def strengths(train: Window, holdout: Window) -> tuple[float | None, float | None]:
    """What one feature alone says, at least 0.5, in the training window and in the holdout; None where rows are few.

    Of several classes, those with too few rows are left out; where those are others in the holdout, None of it.
    """
    codes, other = _groups(train.column, holdout.column)
    odd = train.day % 2 == 1
    halves = [
        _learned(train.task, (codes[fit], train.labels[fit]), (codes[score], train.labels[score]))
        for fit, score in ((odd, ~odd), (~odd, odd))
    ]
    inside = [half for half in halves if half is not None]
    here = _largest(_ranked(train), sum(inside) / len(inside) if inside else None)
    if train.task == "multiclass" and _countable(train.labels) != _countable(holdout.labels):
        return here, None  # means over different classes cannot be held against each other
    return here, _largest(_ranked(holdout), _learned(train.task, (codes, train.labels), (other, holdout.labels)))


def _countable(classes: npt.NDArray[np.number]) -> list[int]:
    """The classes of which there are enough rows, and enough others, for an AUC."""
    import numpy as np

    found, counts = np.unique(classes, return_counts=True)
    enough: list[int] = found[np.minimum(counts, len(classes) - counts) >= FEWEST].tolist()
    return enough


def _largest(*values: float | None) -> float | None:
    there = [value for value in values if value is not None]
    return round(max(there), 4) if there else None


def _ranked(window: Window) -> float | None:
    """What the values' ranks say, whichever way they point; None for texts."""
    import numpy as np

    from nightshift.shift.summary import numbers

    if not _is_numeric(window.column):
        return None
    values = numbers(window.column)
    there = ~np.isnan(values)
    return strength(window.task, values[there], window.labels[there])


def strength(task: Task, values: Floats, labels: npt.NDArray[np.number]) -> float | None:
    """What numbers say about labels by their ranks, whichever way they point; None where rows are few.

    Args:
        task: What the labels are.
        values: ``[N]`` without NaN.
        labels: ``[N]``.
    """
    if task == "regression":
        found = [concordance(values, labels)]
    else:
        found = [auc(values, labels == each) for each in _judged(task, labels)]
    return _mean([max(value, 1 - value) for value in found if value is not None])


def _learned(
    task: Task, fit: tuple[Codes, npt.NDArray[np.number]], score: tuple[Codes, npt.NDArray[np.number]]
) -> float | None:
    """What the mean labels of some rows' groups say about other rows; at least 0.5."""
    import numpy as np

    codes, others = fit[0], score[0]
    if not len(codes) or not len(others):
        return None
    size = int(max(codes.max(), others.max())) + 1
    rows = np.bincount(codes, minlength=size)

    def means(labels: npt.NDArray[np.number] | Bits) -> Floats:
        sums = np.bincount(codes, weights=labels, minlength=size)
        found: Floats = ((sums + SMOOTHING * labels.mean()) / (rows + SMOOTHING))[others]
        return found

    if task == "regression":
        found = [concordance(means(fit[1]), score[1])]
    else:
        found = [auc(means(fit[1] == each), score[1] == each) for each in _judged(task, fit[1])]
    return _mean([max(value, 0.5) for value in found if value is not None])


def _judged(task: Task, labels: npt.NDArray[np.number]) -> range:
    """The labels that are held against the rest: the positive one, or each of several classes."""
    return range(int(labels.max(initial=0)) + 1) if task == "multiclass" else range(1, 2)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def auc(values: Floats, positive: Bits) -> float | None:
    """The share of pairs of a positive and a negative row in which the positive's value is larger; ties count half.

    None with fewer than 50 rows of a class.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if min(positives, negatives) < FEWEST:
        return None
    above = float(_ranks(values)[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def concordance(values: Floats, labels: npt.NDArray[np.number]) -> float | None:
    """(1 + r) / 2 of Spearman's rank correlation r: 1 where the larger value always has the larger label, 0.5 for none.

    None with fewer than 100 rows.
    """
    import numpy as np

    if len(labels) < 2 * FEWEST:
        return None
    one, other = (ranks - ranks.mean() for ranks in (_ranks(values), _ranks(labels)))
    spread = float(np.sqrt((one @ one) * (other @ other)))
    return 0.5 if spread == 0 else (1 + float(one @ other) / spread) / 2


def _ranks(values: npt.NDArray[np.number]) -> Floats:
    """Places from 1, the mean of them where values are equal."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


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
