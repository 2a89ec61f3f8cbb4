"""Whether the labels moved: from the training window to the holdout, and against earlier nights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from nightshift.ledger.blessings import Check
from nightshift.shift.comparison import held
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.models import Label
from nightshift.spec.values import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FEWEST = 50
FEWEST_DAYS = 10


def cohens_h(one: float, other: float) -> float:
    """Distance of two shares, which counts a step from 1 % to 3 % as much as one from 50 % to 64 %."""
    return 2 * abs(math.asin(math.sqrt(one)) - math.asin(math.sqrt(other)))


@dataclass(frozen=True)
class Labels:
    """The labels of one window.

    Attributes:
        rows: How many there are.
        facts: By task: binary, how many are positive; multiclass, how many are of each class; regression, their mean
            and standard deviation.
        days: Over how many days they are.
    """

    rows: int
    facts: Sequence[float]
    days: int

    @classmethod
    def of(cls, labels: npt.NDArray[np.number], days: int, label: Label) -> Labels:
        """Count labels as preprocess stores them."""
        import numpy as np

        if label.task == "regression":
            values = labels.astype(np.float64)
            return cls(len(labels), (float(values.mean()), float(values.std())), days)
        counts = np.bincount(labels, minlength=max(2, len(label.classes))).tolist()
        return cls(len(labels), counts if label.task == "multiclass" else counts[1:], days)

    def measures(self, task: Task) -> list[float]:
        """What is compared: shares, or mean and standard deviation."""
        return [*self.facts] if task == "regression" else [count / self.rows for count in self.facts]


def check_labels(
    train: Labels, holdout: Labels, earlier: Sequence[Sequence[float]], dials: DataChecks, label: Label
) -> Iterator[Check]:
    """Whether the share of positives, of any class, or the mean moved.

    Args:
        train: Labels of the training window.
        holdout: Labels of the holdout.
        earlier: ``measures`` of the training windows of earlier nights.
        dials: Of the spec; the bound is half as large again where a window has less than 10 days.
        label: The spec's section.
    """
    if "label_shift" in dials.relaxed.get(label.column, ()) or train.rows < FEWEST:
        return
    here = ("the training window", train.measures(label.task))
    bound = dials.label_shift
    if holdout.rows >= FEWEST:
        short = min(train.days, holdout.days) < FEWEST_DAYS
        there = ("the holdout", holdout.measures(label.task))
        yield _moved(there, here, "holdout", label, 1.5 * bound if short else bound)
    if earlier:
        short = train.days < FEWEST_DAYS
        usual = ("earlier nights", [median(values) for values in zip(*earlier, strict=True)])
        yield _moved(here, usual, "history", label, 1.5 * bound if short else bound)


def _moved(
    here: tuple[str, Sequence[float]], there: tuple[str, Sequence[float]], name: str, label: Label, bound: float
) -> Check:
    moved, told = (_numbers_moved if label.task == "regression" else _shares_moved)(here, there, label)
    return held(
        f"label_shift.{name}.{label.column}",
        moved,
        bound,
        f"{label.column}: {told} ({bound:g} may be)",
        question="are the labels complete, and do they still mean the same?",
    )


def _shares_moved(
    here: tuple[str, Sequence[float]], there: tuple[str, Sequence[float]], label: Label
) -> tuple[float, str]:
    """The largest distance of any share, and what it is."""
    (place, shares), (other, usual) = here, there
    moves = [cohens_h(share, before) for share, before in zip(shares, usual, strict=True)]
    most = max(range(len(moves)), key=moves.__getitem__)
    what = f"{label.classes[most]}" if label.classes else "positive"
    return moves[most], (
        f"{shares[most]:.1%} of {place} are {what}, {usual[most]:.1%} of {other}, which is {moves[most]:.2f} "
        "as Cohen's h"
    )


def _numbers_moved(
    here: tuple[str, Sequence[float]], there: tuple[str, Sequence[float]], label: Label
) -> tuple[float, str]:
    """The distance of the means, in standard deviations of what they are held against."""
    (place, (mean, _)), (other, (usual, spread)) = here, there
    moved = abs(mean - usual) / max(spread, 1e-12)
    return moved, (
        f"its mean is {mean:.4g} in {place}, {usual:.4g} in {other}, which is {moved:.2f} standard deviations"
    )
