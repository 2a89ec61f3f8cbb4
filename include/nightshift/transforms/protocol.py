"""The seams of a transform: what the training window decides, and what is left when it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from nightshift.transforms.onnx_graph import OnnxGraph


class FittedTransform(Protocol):
    """One transform of one column, with every number in it decided.

    Numeric transforms take and give one float32; encoders take one text. ``sql`` and ``onnx`` must give
    the same bits for every input.
    """

    def sql(self, value: str) -> str:
        """Spark SQL over ``value``: a float where missing is null, or for encoders a string.

        Numeric transforms give a float where missing is null; encoders give ``array<float>``.
        """
        ...

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        """Add nodes that read the tensor named ``value``, ``[N, 1]``; gives the name of ``[N, width]``.

        Missing is NaN for numeric transforms and the empty text for encoders.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Everything needed to build it again, as JSON."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """A transform that still needs statistics of the training window."""

    def aggregates(self, value: str) -> tuple[str, ...]:
        """Exact Spark SQL aggregates over ``value``: a finite double, null where missing."""
        ...

    def fit(self, answers: Sequence[Any]) -> Estimator | FittedTransform:
        """The transform, or an estimator that asks for more now that it knows these answers."""
        ...
