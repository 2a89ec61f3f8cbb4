"""From which probability a row is called positive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.spec.models import Training

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ranking:
    """Rows in groups of neighbouring probabilities, the most probable group first; no two groups overlap.

    Attributes:
        highest: ``[G]`` float32, the largest probability in each group.
        lowest: ``[G]`` float32, the smallest.
        rows: ``[G]`` int64, how many rows each group has.
        positives: ``[G]`` int64, how many of those are positive.
    """

    highest: Array
    lowest: Array
    rows: Array
    positives: Array

    @classmethod
    def of(cls, labels: Array, probabilities: Array) -> Ranking:
        """One group for each probability that occurs.

        Args:
            labels: ``[N]`` of 0 and 1.
            probabilities: ``[N]`` float32.
        """
        import numpy as np

        order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[order]
        ends = np.append((ranked[1:] < ranked[:-1]).nonzero()[0], len(ranked) - 1)
        positives = np.cumsum(labels[order], dtype=np.int64)[ends]
        return cls(ranked[ends], ranked[ends], np.diff(ends, prepend=-1), np.diff(positives, prepend=0))


def threshold_of(training: Training, ranking: Callable[[], Ranking]) -> float:
    """The threshold that a spec asks for.

    Args:
        training: The spec's section.
        ranking: Gives the training rows by probability; called only where the threshold depends on them.

    Returns:
        A float32.
    """
    chosen = training.threshold
    return max_f1(ranking()) if chosen in (None, "max_f1") else as_float32(float(chosen))


def max_f1(ranking: Ranking) -> float:
    """The threshold with the largest F1 score; of equal ones, the highest. A threshold divides no group of rows.

    It lies halfway between two probabilities that occur, so that the last bit of a probability decides
    no label.

    Args:
        ranking: Rows of which at least one is positive.

    Returns:
        A float32 above 0 and at most 1.
    """
    import numpy as np

    called, positives = np.cumsum(ranking.rows), np.cumsum(ranking.positives)
    # The probability below each group's; a threshold must be above 0, so a group at 0 is never called positive.
    below = np.append(ranking.highest[1:], np.float32(0))
    places = (ranking.lowest > below).nonzero()[0]
    if not len(places):
        return float(np.nextafter(np.float32(0), np.float32(1)))
    f1 = 2 * positives[places] / (called[places] + positives[-1])
    best = places[int(f1.argmax())]
    middle = np.float32((np.float64(ranking.lowest[best]) + np.float64(below[best])) / 2)
    return float(middle if middle > below[best] else ranking.lowest[best])


def as_float32(threshold: float) -> float:
    """The float32 that the graph compares with, so that everyone compares with the same number."""
    import numpy as np

    return float(np.float32(threshold))
