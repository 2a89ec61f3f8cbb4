"""Folds of the training window by time: periods at its end, each judged by what was learned from all days before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.plan import DAY, Interval
from nightshift.spec.gate_metrics import MetricName
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Metrics that say nothing of rows of one class.
NEEDS_TWO_CLASSES = ("roc_auc", "roc_auc_ovr")


@dataclass(frozen=True)
class Fold:
    """One judgement of a trial.

    Attributes:
        learned: The rows to learn from.
        judged: The rows after them.
    """

    learned: TrainingWindow
    judged: TrainingWindow

    def check(self, metric: MetricName) -> None:
        """Demand what every trial will need, before the first of them.

        Raises:
            DataError: The fold cannot be learned from, or cannot be judged on.
        """
        import numpy as np

        hint = "lower training.search.folds, or lengthen window.train"
        try:
            self.learned.check_labels()
        except DataError as error:
            raise DataError(f"a fold of the search cannot be learned: {error.message}", hint=hint) from error
        labels = self.judged.labels
        if not len(labels):
            raise DataError(f"{self.judged.named} has no rows, and a fold of the search is judged on it.", hint=hint)
        if metric in NEEDS_TWO_CLASSES and len(np.unique(labels.to_numpy())) < 2:
            raise DataError(f"{self.judged.named} has one class only, and {metric} needs two.", hint=hint)

    def to_dict(self) -> dict[str, Any]:
        parts = {"learned": self.learned, "judged": self.judged}
        return {name: {"from": _begin(one), "to": _end(one), "rows": one.rows} for name, one in parts.items()}


def folds_of(window: TrainingWindow, whole: Interval, *, holdout: timedelta, count: int) -> tuple[Fold, ...]:
    """The folds, oldest first.

    Args:
        window: The whole training window.
        whole: Its time, whole days; more than ``count`` of them.
        holdout: Length of the holdout: the folds are as long, where the window is long enough.
        count: How many.
    """
    return tuple(
        Fold(window.between(Interval(whole.start, judged.start)), window.between(judged))
        for judged in periods(whole, longest=holdout, count=count)
    )


def periods(whole: Interval, *, longest: timedelta, count: int) -> Iterator[Interval]:
    """Periods of equal length, one after another, up to the end; at least as much is left before the first.

    Args:
        whole: Whole days; more than ``count`` of them.
        longest: They are not longer.
        count: How many.
    """
    days = (whole.end - whole.start) // DAY
    length = min(longest // DAY, days // (count + 1)) * DAY
    for number in range(count, 0, -1):
        begin = whole.end - number * length
        yield Interval(begin, begin + length)


def _begin(window: TrainingWindow) -> str:
    assert window.part is not None, "a fold is a part"
    return window.part.start.isoformat()


def _end(window: TrainingWindow) -> str:
    assert window.part is not None, "a fold is a part"
    return window.part.end.isoformat()
