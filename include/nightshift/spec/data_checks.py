"""The section ``data_checks``: how far the data of a night may move."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nightshift.spec import rules
from nightshift.spec.base import SpecModel
from nightshift.spec.problem import reject
from nightshift.spec.values import Column

CheckName = Literal[
    "association",
    "label_shift",
    "unit_shift",
    "sentinel",
    "nulls",
    "dominance",
    "explosion",
    "unseen",
    "past",
]


class DataChecks(SpecModel):
    """What the data of a night is held against before anything is learned from it."""

    leakage: Annotated[float, Field(gt=0.5, le=1)] = 0.8
    """Largest AUC that one feature alone may have, unless features.known_strong names it."""
    association: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """How far a strong feature's AUC alone may move, from train to holdout or against earlier nights; near 1 less."""
    label_shift: Annotated[float, Field(gt=0)] = 0.6
    """How far the share of positives may move from train to holdout, or against earlier nights, as Cohen's h."""
    unit_shift: Annotated[float, Field(gt=0)] = 1.75
    """How many times the largest deviation of the days before all quantiles of a column may move in a day."""
    sentinel: Annotated[float, Field(gt=0, le=1)] = 0.3
    """How far the share of 0, -1, 999 and the like may rise in a day; a tenth of it beyond the values of before."""
    nulls: Annotated[float, Field(gt=0, le=1)] = 0.6
    """How far the share of nulls in a column may rise in a day."""
    dominance: Annotated[float, Field(gt=0, le=1)] = 0.25
    """How far the share of one category may rise in a day."""
    explosion: Annotated[float, Field(gt=1)] = 3.0
    """How many times as many categories as on any of the days before a day may have."""
    unseen: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Largest share of holdout rows whose category the training window does not have."""
    past: Annotated[float, Field(gt=0)] = 0.1
    """How far the past may move: quantiles of a feature on days that an earlier night used too, as a share."""
    relaxed: dict[Column, tuple[CheckName, ...]] = {}
    """Checks that a column is let off, by column; label_shift by the label's, leakage by features.known_strong."""

    @model_validator(mode="after")
    def _relaxed(self) -> Self:
        reject(rules.relaxed(self))
        return self
