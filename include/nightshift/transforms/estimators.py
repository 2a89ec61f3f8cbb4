"""What transforms ask of the training window. Every answer is exact and independent of partitions and workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from nightshift.transforms.float32 import double_sql, float32
from nightshift.transforms.numeric import Clip, Impute, Scale
from nightshift.transforms.protocol import Estimator, FittedTransform

GRID = 1 << 56


@dataclass(frozen=True)
class MedianImpute:
    """Impute with the exact median: Spark's ``percentile``, which sorts the values and interpolates."""

    def aggregates(self, value: str) -> tuple[str, ...]:
        return (f"percentile({value}, 0.5D)",)

    def fit(self, answers: Sequence[Any]) -> FittedTransform:
        (median,) = answers
        return Impute(None if median is None else float32(median))


@dataclass(frozen=True)
class QuantileClip:
    """Clip at two exact quantiles of the training window."""

    low: float
    high: float

    def aggregates(self, value: str) -> tuple[str, ...]:
        return (f"percentile({value}, array({double_sql(self.low)}, {double_sql(self.high)}))",)

    def fit(self, answers: Sequence[Any]) -> FittedTransform:
        (bounds,) = answers
        return Clip(None, None) if bounds is None else Clip(float32(bounds[0]), float32(bounds[1]))


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation, first step: the range of the values, which fixes the grid of the sums.

    Attributes:
        use: ``impute`` with the mean, or ``scale`` by both.
    """

    use: Literal["impute", "scale"]

    def aggregates(self, value: str) -> tuple[str, ...]:
        return (f"min({value})", f"max({value})")

    def fit(self, answers: Sequence[Any]) -> Estimator | FittedTransform:
        low, high = answers
        if low is None or low == high:
            return _from_moments(self.use, low, 0.0)
        return MomentSums(self.use, low, high)


@dataclass(frozen=True)
class MomentSums:
    """Mean and standard deviation, second step: sums that the order of rows cannot change.

    Sums of floating-point numbers depend on their order, hence on partitions. So each value's place in
    the range, ``u = (x - low) / unit`` in [0, 1), and its square are rounded down to multiples of 2**-56
    and added as integers. Working from ``low`` keeps a small spread around a large mean exact.
    """

    use: Literal["impute", "scale"]
    low: float
    high: float

    @property
    def unit(self) -> float:
        """The smallest power of two above the range; dividing by it is exact."""
        return math.ldexp(1.0, math.frexp(self.high - self.low)[1])

    def aggregates(self, value: str) -> tuple[str, ...]:
        place = f"(({value} - {double_sql(self.low)}) / {double_sql(self.unit)})"
        return (f"count({value})", _integer_sum(place), _integer_sum(f"{place} * {place}"))

    def fit(self, answers: Sequence[Any]) -> FittedTransform:
        count, places, squares = (int(answer) for answer in answers)
        mean = Fraction(places, GRID * count)
        variance = max(Fraction(squares, GRID * count) - mean * mean, Fraction(0))
        return _from_moments(self.use, self.low + self.unit * float(mean), self.unit * math.sqrt(variance))


def _integer_sum(value: str) -> str:
    return f"sum(CAST(CAST({value} * {double_sql(float(GRID))} AS BIGINT) AS DECIMAL(18, 0)))"


def _from_moments(use: Literal["impute", "scale"], mean: float | None, deviation: float) -> FittedTransform:
    if use == "impute":
        return Impute(None if mean is None else float32(mean))
    return Scale(0.0 if mean is None else mean + 0.0, deviation)
