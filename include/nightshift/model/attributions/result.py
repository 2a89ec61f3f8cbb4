"""What an explanation is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Method = Literal["tree_shap", "linear_shap", "replacement"]
Unit = Literal["log-odds", "margin", "probability", "value"]
"""Log-odds of the positive class; a class's margin, which softmax makes probabilities of; a probability; the label's
own unit."""


@dataclass(frozen=True)
class Attributions:
    """What each request column adds to the scores of some rows.

    Attributes:
        method: How it was found.
        unit: Of every number here.
        columns: The request columns, in the order of the graph's inputs.
        values: ``[N, C, K]`` float64, by row, column and score; K is the number of classes for multiclass, else 1.
        base: ``[K]``: the mean raw score of the background rows.
        raw: ``[N, K]``: the raw scores; where the method is SHAP, base + sum of values.
    """

    method: Method
    unit: Unit
    columns: tuple[str, ...]
    values: Array
    base: Array
    raw: Array

    @property
    def adds_up(self) -> bool:
        """Whether base and values add up to the raw score."""
        return self.method != "replacement"
