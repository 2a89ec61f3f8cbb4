"""Numbers as people read them: with as many decimals as it takes, and with the right side of more and less."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nightshift.spec.gate_metrics import Metric

if TYPE_CHECKING:
    from nightshift.evaluate.paired import Difference

DECIMALS = 4
MOST_DECIMALS = 10


def relation(gain: float, metric: Metric) -> str:
    """How the challenger's value stands to another, after what it gains."""
    if metric.higher_is_better:
        return "above" if gain >= 0 else "below"
    return "lower than" if gain >= 0 else "higher than"


def interval(gain: Difference, metric: Metric, bound: float | None = None) -> str:
    """``95 % interval −0.0010 to +0.0040`` of the challenger's value less the other's.

    Args:
        gain: What the challenger gains.
        metric: Of which an error is gained by being lower, and so turned around.
        bound: Of the gain; as many decimals are shown as it takes to tell its lower end from this.
    """
    decimals = decimals_for(gain.lower, gain.upper)
    if bound is not None and bound != gain.lower:
        while decimals < MOST_DECIMALS and f"{gain.lower:.{decimals}f}" == f"{bound:.{decimals}f}":
            decimals += 1
    ends = (gain.lower, gain.upper) if metric.higher_is_better else (-gain.upper, -gain.lower)
    return f"{percent(gain.confidence)} interval {signed(ends[0], decimals)} to {signed(ends[1], decimals)}"


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def signed(value: float, decimals: int | None = None) -> str:
    decimals = decimals_for(value) if decimals is None else decimals
    shown = f"{value:+.{decimals}f}".replace("-", "−")
    return shown if float(f"{value:.{decimals}f}") else f"{0:.{decimals}f}"


def number(value: float) -> str:
    """Four decimals, fewer of a large number, or as many as it takes to tell it from zero."""
    return apart(value, 0.0)[0]


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with four decimals, fewer of large ones, or as many as it takes to tell them apart."""
    for decimals in range(decimals_for(one, other), MOST_DECIMALS + 1):
        texts = f"{one:.{decimals}f}", f"{other:.{decimals}f}"
        if texts[0] != texts[1] or one == other:
            break
    return texts


def decimals_for(*values: float) -> int:
    """Four; of numbers from 10 on, as many fewer as they have digits more."""
    largest = max(abs(value) for value in values)
    return DECIMALS if largest < 10 else max(DECIMALS - math.floor(math.log10(largest)), 0)
