"""How far two models are apart on the same rows, with an interval whose resampling unit is the day.

Rows of one day share causes (a storm delays every flight), so they are not independent, and an interval
that takes them for independent calls noise a difference. Rows of a static source have no day and can be
exchanged for one another; each counts as if it had a day of its own. Here each row says how much it moves the
difference (its influence), the influences of a day are summed, and only days count as independent.
Every difference is a *gain*: positive is good for the challenger, whatever the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nightshift.evaluate.metrics import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]
    Days = NDArray[np.integer[Any]]

CALIBRATION_BINS = 10
Standing = Literal["better", "not_worse", "worse", "undecided"]
# xgboost's float32 can say 0 or 1; the loss of such a row must be large, not infinite. As scikit-learn clips float32.
LEAST_PROBABILITY = 2.0**-23


@dataclass(frozen=True)
class Difference:
    """What the challenger gains over the champion.

    Attributes:
        value: The gain; negative is a loss.
        error: Its standard error, from the sums of each day.
        days: Days with rows; of a static source the rows, of which each stands for a day of its own.
        confidence: Of the two-sided interval, such as 0.95.
    """

    value: float
    error: float
    days: int
    confidence: float

    @property
    def lower(self) -> float:
        return rounded(self.value - self._half)

    @property
    def upper(self) -> float:
        return rounded(self.value + self._half)

    @property
    def quantile(self) -> float:
        """Of Student's t with days - 1 degrees of freedom: standard errors from the middle to an end."""
        from scipy.special import stdtrit

        return float(stdtrit(self.days - 1, (1 + self.confidence) / 2))

    @property
    def _half(self) -> float:
        return self.quantile * self.error if self.error else 0.0

    def standing(self, margin: float) -> Standing:
        """What the interval says, the first that holds.

        Args:
            margin: The loss that does not matter.
        """
        if self.lower > 0:
            return "better"
        if self.lower > -margin or (self.value == 0 and self.error == 0):
            return "not_worse"
        if self.upper < 0 or self.value < -margin:
            return "worse"
        return "undecided"

    def share_above(self, bound: float) -> float:
        """How often the lower end would lie above a bound if there were no difference and the noise stayed as it is."""
        from scipy.special import stdtr

        if not self.error:
            return float(bound < 0)
        return float(stdtr(self.days - 1, -bound / self.error - self.quantile))

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "lower": self.lower,
            "upper": self.upper,
            "error": self.error,
            "days": self.days,
            "confidence": rounded(self.confidence),
        }


def auc_gain(labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float) -> Difference:
    """The challenger's ROC AUC less the champion's.

    Args:
        labels: 0 or 1, shape [rows], both classes present.
        challenger: Its scores, shape [rows].
        champion: The champion's scores of the same rows, shape [rows].
        days: Any number that tells the rows' days apart, shape [rows]; at least two of them.
        confidence: Of the interval.

    Raises:
        ValueError: One class, or one day.
    """
    value, influence = _auc_influence(labels, challenger, champion)
    return _difference(value, influence, days, confidence)


def macro_auc_gain(
    labels: Labels, challenger: Scores, champion: Scores, days: Days, *, classes: Sequence[int], confidence: float
) -> Difference:
    """The challenger's mean ROC AUC of the classes, each against all others, less the champion's.

    Args:
        labels: Class of each row, shape [rows].
        challenger: Its probabilities, shape [rows, classes].
        champion: The champion's of the same rows, likewise.
        days: As for ``auc_gain``.
        classes: Those that count, each with rows and with other rows.
        confidence: Of the interval.

    Raises:
        ValueError: No class, one without rows or without others, or one day.
    """
    import numpy as np

    if not classes:
        raise ValueError("ROC AUC needs at least one class")
    each = [_auc_influence((labels == one).astype(int), challenger[:, one], champion[:, one]) for one in classes]
    value, influence = (np.mean([part[place] for part in each], axis=0) for place in (0, 1))
    return _difference(value, influence, days, confidence)


def _auc_influence(labels: Labels, challenger: Scores, champion: Scores) -> tuple[Any, Scores]:
    """The difference of two ROC AUC, and how much each row moves it, shape [rows]."""
    import numpy as np

    positive = labels == 1
    if positive.all() or not positive.any():
        raise ValueError("ROC AUC needs both classes")
    differences = placements(labels, challenger) - placements(labels, champion)
    value = differences[positive].mean()
    class_rows = np.where(positive, positive.sum(), (~positive).sum())
    return value, (differences - value) / class_rows


def rmse_gain(labels: Scores, challenger: Scores, champion: Scores, days: Days, *, confidence: float) -> Difference:
    """The champion's root mean squared error less the challenger's.

    A row moves the root by its squared error less the mean, over twice the root (the delta method).

    Args:
        labels: Numbers, shape [rows].
        challenger: Its values, shape [rows].
        champion: The champion's of the same rows, shape [rows].
        days: As for ``auc_gain``.
        confidence: Of the interval.

    Raises:
        ValueError: One day.
    """
    (theirs, of_theirs), (ours, of_ours) = (_rmse_influence(labels, scores) for scores in (champion, challenger))
    return _difference(theirs - ours, of_theirs - of_ours, days, confidence)


def _rmse_influence(labels: Scores, scores: Scores) -> tuple[float, Scores]:
    squares = (scores - labels) ** 2
    mean = squares.mean()
    root = math.sqrt(mean)
    influence: Scores = (squares - mean) / (2 * root * len(squares)) if root else squares
    return root, influence


def mean_gain(gains: Scores, days: Days, *, confidence: float) -> Difference:
    """The mean of what each row gains.

    Args:
        gains: The champion's loss of each row less the challenger's, shape [rows].
        days: As for ``auc_gain``.
        confidence: Of the interval.

    Raises:
        ValueError: One day.
    """
    value = gains.mean()
    return _difference(value, (gains - value) / len(gains), days, confidence)


def _difference(value: Any, influence: Scores, days: Days, confidence: float) -> Difference:
    import numpy as np

    _, place = np.unique(days, return_inverse=True)
    sums = np.bincount(place, weights=influence)
    count = len(sums)
    if count < 2:
        raise ValueError("an interval by day needs at least two days")
    error = math.sqrt(count / (count - 1) * float(sums @ sums))
    return Difference(rounded(value), rounded(error), count, confidence)


def placements(labels: Labels, scores: Scores) -> Scores:
    """Which share of the other class each row is on the right side of; a tie counts half.

    The mean over the positives, and over the negatives, is the ROC AUC (DeLong's structural components).

    Args:
        labels: 0 or 1, shape [rows], both classes present.
        scores: Shape [rows].
    """
    import numpy as np

    positive = labels == 1
    ranks, placed = _midranks(scores), np.empty(len(scores))
    placed[positive] = (ranks[positive] - _midranks(scores[positive])) / (~positive).sum()
    placed[~positive] = 1 - (ranks[~positive] - _midranks(scores[~positive])) / positive.sum()
    return placed


def _midranks(scores: Scores) -> Scores:
    """Ranks from 1; equal scores share the middle of theirs."""
    import numpy as np

    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middles: Scores = np.cumsum(counts) - (counts - 1) / 2
    return middles[place]


def log_losses(labels: Labels, scores: Scores) -> Scores:
    """The log loss of each row, shape [rows]."""
    import numpy as np

    told = np.clip(np.where(labels == 1, scores, 1 - scores), LEAST_PROBABILITY, 1)
    losses: Scores = -np.log(told)
    return losses


def class_log_losses(labels: Labels, scores: Scores) -> Scores:
    """The log loss of each row, shape [rows].

    Args:
        labels: Class of each row, shape [rows].
        scores: Probabilities, shape [rows, classes].
    """
    import numpy as np

    losses: Scores = -np.log(np.clip(scores[np.arange(len(labels)), labels], LEAST_PROBABILITY, 1))
    return losses


def calibration_losses(labels: Labels, scores: Scores) -> Scores:
    """What each row adds to the calibration error: their mean is that error.

    The error is the mean, over ten bins of about equally many rows, of how far the predicted share of positives is
    from the observed one; for numbers, how far the mean prediction is from the mean label. A row adds its own
    distance, with the sign of its bin.

    Args:
        labels: 0 or 1, or numbers, shape [rows].
        scores: Probabilities, or predictions, shape [rows].
    """
    import numpy as np

    edges = np.unique(np.quantile(scores, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, max(len(edges) - 2, 0))
    distances = scores - labels
    return np.asarray(distances * np.sign(np.bincount(bins, weights=distances))[bins])
