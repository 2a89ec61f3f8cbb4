"""One request column and what is done to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from nightshift.spec.transform_kinds import (
    BucketizeTransform,
    ClipTransform,
    ImputeTransform,
    IndexTransform,
    LogTransform,
    OneHotTransform,
    ScaleTransform,
    Transform,
)
from nightshift.transforms.categorical import Index, OneHot
from nightshift.transforms.estimators import MedianImpute, Moments, QuantileClip
from nightshift.transforms.float32 import INFINITY, NAN, float32
from nightshift.transforms.numeric import Bucketize, Clip, Impute, Log, from_dict
from nightshift.transforms.onnx_graph import OnnxGraph
from nightshift.transforms.protocol import Estimator, FittedTransform


@dataclass(frozen=True)
class NumericColumn:
    """A number and its transforms, in order."""

    name: str
    steps: tuple[Estimator | FittedTransform, ...] = ()

    @property
    def fitted(self) -> bool:
        return not any(isinstance(step, Estimator) for step in self.steps)

    def question(self) -> tuple[Estimator, str] | None:
        """The first transform that still asks, and SQL of the value it asks about; None when all is known."""
        value = self._entry()
        for step in self.steps:
            if isinstance(step, Estimator):
                return step, value
            value = step.sql(value)
        return None

    def answered(self, step: Estimator | FittedTransform) -> NumericColumn:
        """The column with its first asking transform replaced."""
        place = next(place for place, old in enumerate(self.steps) if isinstance(old, Estimator))
        return replace(self, steps=(*self.steps[:place], step, *self.steps[place + 1 :]))

    def sql(self) -> str:
        """Spark SQL of type float, never null: what is missing or infinite at the end is NaN."""
        value = self._entry()
        for step in self._fitted_steps():
            value = step.sql(value)
        return f"coalesce(CASE WHEN abs({value}) < {INFINITY} THEN {value} END, {NAN})"

    def onnx(self, graph: OnnxGraph) -> str:
        """Nodes from the input to ``[N, 1]``; infinities are settled for all columns together afterwards."""
        value = self.name
        for step in self._fitted_steps():
            value = step.onnx(graph, value)
        return value

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "numeric", "steps": [step.to_dict() for step in self._fitted_steps()]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> NumericColumn:
        return cls(raw["name"], tuple(from_dict(step) for step in raw["steps"]))

    def _entry(self) -> str:
        return f"nullif(CAST(CAST(`{self.name}` AS DOUBLE) AS FLOAT), {NAN})"

    def _fitted_steps(self) -> tuple[FittedTransform, ...]:
        fitted = tuple(step for step in self.steps if not isinstance(step, Estimator))
        if len(fitted) != len(self.steps):
            raise ValueError(f"the transforms of {self.name} are not fitted")
        return fitted


@dataclass(frozen=True)
class CategoricalColumn:
    """A category and its encoder.

    Attributes:
        name: The request column.
        encoder: ``one_hot`` or ``index``.
        max_levels: How many levels the encoder may have.
        levels: The levels of the training window in order of name; None before fitting.
    """

    name: str
    encoder: str
    max_levels: int
    levels: tuple[str, ...] | None = None

    @property
    def fitted(self) -> OneHot | Index:
        """The encoder with its levels.

        Raises:
            ValueError: The levels are not known yet.
        """
        if self.levels is None:
            raise ValueError(f"the transforms of {self.name} are not fitted")
        return OneHot(self.levels) if self.encoder == "one_hot" else Index(self.levels)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "categorical",
            "max_levels": self.max_levels,
            "encoder": self.fitted.to_dict(),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CategoricalColumn:
        return cls(raw["name"], raw["encoder"]["kind"], raw["max_levels"], tuple(raw["encoder"]["levels"]))


def declare_numeric(name: str, transforms: tuple[Transform, ...]) -> NumericColumn:
    """Raises ValueError: A transform's arguments make no sense; the text begins with its place."""
    steps = []
    for place, transform in enumerate(transforms):
        try:
            steps.append(_step(transform))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"features.transforms.{name}[{place}] ({transform.kind}): {error}") from error
    return NumericColumn(name, tuple(steps))


def declare_categorical(name: str, transforms: tuple[Transform, ...]) -> CategoricalColumn:
    """The declared encoder, by default one_hot."""
    encoder = transforms[0] if transforms else OneHotTransform(kind="one_hot")
    if not isinstance(encoder, OneHotTransform | IndexTransform):
        raise ValueError(f"features.transforms.{name}[0] ({encoder.kind}): a category takes index or one_hot")
    return CategoricalColumn(name, encoder.kind, encoder.max_levels)


def _step(transform: Transform) -> Estimator | FittedTransform:
    match transform:
        case ImputeTransform():
            return _impute(transform)
        case ClipTransform():
            return _clip(transform)
        case ScaleTransform():
            return Moments("scale")
        case LogTransform():
            return Log()
        case BucketizeTransform():
            edges = tuple(float32(edge) for edge in transform.edges)
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"edges must ascend as float32 numbers, not {list(transform.edges)}")
            return Bucketize(edges)
        case _:
            raise ValueError("a number takes impute, clip, scale, log or bucketize")


def _impute(transform: ImputeTransform) -> Estimator | FittedTransform:
    if transform.value is not None:
        return Impute(float32(transform.value))
    return MedianImpute() if transform.strategy == "median" else Moments("impute")


def _clip(transform: ClipTransform) -> Estimator | FittedTransform:
    if transform.quantiles is not None:
        return QuantileClip(*transform.quantiles)
    low, high = transform.bounds or (-math.inf, math.inf)
    return Clip(_bound(low), _bound(high))


def _bound(value: float) -> float | None:
    return None if math.isinf(value) else float32(value)
