"""A feed-forward network with its standardisation, node by node: no exporter, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.spec.values import Task
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LIMIT = 10.0
"""Standardised numbers are cut off here, in training too: further out a network only extrapolates, and without an
end the largest float32 would drown every other feature."""


@dataclass(frozen=True)
class Standard:
    """How numbers become comparable: ``(x - means) * scales``, missing becomes 0 (the mean), cut off at ``LIMIT``.

    Attributes:
        means: ``[F]`` float64.
        scales: ``[F]`` float64: one by the standard deviation; 0 for a feature that does not vary, which is ignored.
    """

    means: Array
    scales: Array


@dataclass(frozen=True)
class NetworkHead:
    """Linear layers with ReLU between them.

    The graph computes in float64: then what ONNX Runtime and another library add up in another order differs by far
    less than parity allows, also where large terms cancel out.

    Attributes:
        task: What it tells.
        standard: Of the features.
        layers: Weights ``[out, in]`` and biases ``[out]``, float32, from the first layer to the last. The last has
            one output, for multiclass one for each class.
        label_mean: For regression, what an output of 0 means.
        label_scale: For regression, what an output of 1 adds to it.
    """

    task: Task
    standard: Standard
    layers: Sequence[tuple[Array, Array]]
    label_mean: float = 0.0
    label_scale: float = 1.0

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the network; see ``Head.onnx_nodes``.

        Raises:
            ModelError: The layers do not follow each other, or something in them is not finite.
        """
        self._check()
        value = self._standardised(graph, features)
        for place, (weights, biases) in enumerate(self.layers):
            wide = [graph.cast(graph.constant(each), "DOUBLE") for each in (weights, biases)]
            value = graph.add("Gemm", value, *wide, transB=1)
            if place < len(self.layers) - 1:
                value = graph.add("Relu", value)
        if self.task == "multiclass":
            value = graph.add("Softmax", value, axis=1)
        else:
            value = graph.add("Squeeze", value, graph.int64(1))
            value = graph.add("Sigmoid", value) if self.task == "binary" else self._in_units(graph, value)
        return graph.add("Cast", value, to=_float32(), output=output)

    def _standardised(self, graph: OnnxGraph, features: str) -> str:
        centred = graph.add("Sub", graph.cast(features, "DOUBLE"), graph.constant(self.standard.means))
        scaled = graph.add("Mul", centred, graph.constant(self.standard.scales))
        known = graph.add("Where", graph.add("IsNaN", scaled), graph.float64(0.0), scaled)
        return graph.add("Clip", known, graph.float64(-LIMIT), graph.float64(LIMIT))

    def _in_units(self, graph: OnnxGraph, value: str) -> str:
        scaled = graph.add("Mul", value, graph.float64(self.label_scale))
        return graph.add("Add", scaled, graph.float64(self.label_mean))

    def _check(self) -> None:
        import numpy as np

        width = len(self.standard.means)
        for weights, biases in self.layers:
            if weights.shape != (len(biases), width):
                raise ModelError(f"a layer of a network reads {weights.shape[1]} numbers, and is given {width}.")
            width = len(biases)
        numbers = [self.standard.means, self.standard.scales, *(each for layer in self.layers for each in layer)]
        if not all(np.isfinite(each).all() for each in numbers):
            raise ModelError("a network has weights that are not finite.")


def _float32() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)
