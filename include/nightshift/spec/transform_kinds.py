"""The transforms that a spec can declare for a feature."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nightshift.spec import rules
from nightshift.spec.base import SpecModel
from nightshift.spec.problem import reject


class ImputeTransform(SpecModel):
    """Nulls become a value of the training window."""

    kind: Literal["impute"]
    """Nulls become a value."""
    strategy: Literal["median", "mean", "constant"] = "median"
    """Which value: of the training window, or a constant."""
    value: float | None = None
    """The constant, for strategy constant."""

    @model_validator(mode="after")
    def _value(self) -> ImputeTransform:
        reject(rules.impute(self))
        return self


class ClipTransform(SpecModel):
    """Values beyond the bounds become the bounds. Needs quantiles or bounds."""

    kind: Literal["clip"]
    """Values beyond the bounds become the bounds."""
    quantiles: tuple[float, float] | None = None
    """Bounds as exact quantiles of the training window."""
    bounds: tuple[float, float] | None = None
    """Bounds as values."""

    @model_validator(mode="after")
    def _bounds(self) -> ClipTransform:
        reject(rules.clip(self))
        return self


class ScaleTransform(SpecModel):
    """Mean 0 and standard deviation 1 on the training window."""

    kind: Literal["scale"]
    """Mean 0 and standard deviation 1 on the training window."""


class LogTransform(SpecModel):
    """sign(x) * ln(1 + |x|), so that negative values keep their order."""

    kind: Literal["log"]
    """sign(x) * ln(1 + |x|), so that negative values keep their order."""


class BucketizeTransform(SpecModel):
    """Values become the number of their bucket."""

    kind: Literal["bucketize"]
    """Values become the number of their bucket."""
    edges: Annotated[tuple[float, ...], Field(min_length=1, examples=[[0, 15, 60]])]
    """Inner edges, ascending; a value at an edge belongs to the bucket above."""

    @model_validator(mode="after")
    def _edges(self) -> BucketizeTransform:
        reject(rules.bucketize(self))
        return self


class IndexTransform(SpecModel):
    """Categories become numbers in the order of their names; others are -1."""

    kind: Literal["index"]
    """Categories become numbers in the order of their names; others are -1."""
    max_levels: Annotated[int, Field(ge=1)] = 200
    """Most frequent levels of the training window that get a number; others are -1."""


class OneHotTransform(SpecModel):
    """Each frequent category becomes a column of its own."""

    kind: Literal["one_hot"]
    """Each frequent category becomes a column of its own."""
    max_levels: Annotated[int, Field(ge=1)] = 200
    """Most frequent levels of the training window that get a column; others are all zeros."""


Transform = Annotated[
    ImputeTransform
    | ClipTransform
    | ScaleTransform
    | LogTransform
    | BucketizeTransform
    | IndexTransform
    | OneHotTransform,
    Field(discriminator="kind"),
]
