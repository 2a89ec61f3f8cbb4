"""Linear models: exact by arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.model.attributions.layout import Layout
from nightshift.model.attributions.result import Method

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Linear:
    """A matrix, and what is added.

    Attributes:
        method: As in ``Attributions``.
    """

    method: Method = "linear_shap"

    def __init__(self, layout: Layout) -> None:
        weights = layout.constants[layout.node.input[1]].astype("float64")
        attributes = {attribute.name: attribute for attribute in layout.node.attribute}
        number = {name: attribute.f for name, attribute in attributes.items() if name in ("alpha", "beta")}
        if "transB" in attributes and attributes["transB"].i:
            weights = weights.T
        self._weights: Array = number.get("alpha", 1.0) * weights
        self._added: Array | float = 0.0
        if len(layout.node.input) > 2:
            self._added = number.get("beta", 1.0) * layout.constants[layout.node.input[2]].astype("float64").reshape(-1)

    @property
    def cost(self) -> int:
        """Nothing to speak of."""
        return 0

    def attributions(self, vectors: Array, background: Array) -> tuple[Array, Array]:
        """See ``Additive.attributions``."""
        mean = background.mean(axis=0)
        return (vectors - mean)[:, :, None] * self._weights[None], mean @ self._weights + self._added
