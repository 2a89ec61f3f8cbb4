"""From which probability a row is called positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def max_f1(labels: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any]) -> float:
    """The threshold with the largest F1 score; of equal ones, the highest.

    It lies halfway between two probabilities that occur, so that the last bit of a probability decides
    no label.

    Args:
        labels: ``[N]`` of 0 and 1, at least one of them 1.
        probabilities: ``[N]`` float32.

    Returns:
        A float32 above 0 and at most 1.
    """
    import numpy as np

    order = np.argsort(-probabilities, kind="stable")
    ranked = np.append(probabilities[order], np.float32(0))
    positives = np.cumsum(labels[order], dtype=np.int64)
    # Places after which the probability falls: a threshold there calls everything before it positive.
    falls = (ranked[1:] < ranked[:-1]).nonzero()[0]
    if not len(falls):
        return float(np.nextafter(np.float32(0), np.float32(1)))
    f1 = 2 * positives[falls] / (falls + 1 + positives[-1])
    best = falls[int(f1.argmax())]
    middle = np.float32((np.float64(ranked[best]) + np.float64(ranked[best + 1])) / 2)
    return float(middle if middle > ranked[best + 1] else ranked[best])


def as_float32(threshold: float) -> float:
    """The float32 that the graph compares with, so that everyone compares with the same number."""
    import numpy as np

    return float(np.float32(threshold))
