"""What was learned, as nodes of the ONNX graph: one file for each form that a model can have."""

from __future__ import annotations

from typing import Protocol

from nightshift.transforms import OnnxGraph


class Head(Protocol):
    """The part of a graph that comes after the transforms."""

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the nodes from the vector to the scores.

        Args:
            graph: Where to add them.
            features: Name of the vector, ``[N, F]`` float32; missing is NaN.
            output: Name of the scores, float32: for binary, the probability of the positive class, ``[N]``; for
                multiclass, of each class, ``[N, K]``; for regression the value, ``[N]``.

        Returns:
            ``output``.

        Raises:
            ModelError: What was learned does not fit the vector or the task.
        """
        ...
