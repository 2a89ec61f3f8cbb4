"""What stands for a missing number in models that cannot learn from missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def filled(graph: OnnxGraph, features: str, instead: Array) -> str:
    """Add the nodes that fill what is missing.

    Args:
        graph: Where to add them.
        features: Name of the vector, ``[N, F]`` float32; missing is NaN.
        instead: What stands for a missing number, ``[F]`` float32: the feature's mean over the training window.

    Returns:
        Name of the vector without NaN, ``[N, F]`` float64. Every float32 is a float64, so nothing is rounded.

    Raises:
        ModelError: There is not one finite float32 for each feature.
    """
    import numpy as np

    if instead.ndim != 1 or instead.dtype != np.float32 or not np.isfinite(instead).all():
        raise ModelError(f"one finite float32 for each feature was expected, not {instead!r}.")
    constant = graph.constant(instead.reshape(1, -1))
    return graph.cast(graph.add("Where", graph.add("IsNaN", features), constant, features), "DOUBLE")


def as_float32(graph: OnnxGraph, value: str, *, output: str) -> str:
    """Add the nodes from float64 to float32; what is beyond the largest float32 becomes that.

    Args:
        graph: Where to add them.
        value: Name of a float64 tensor.
        output: Name of the result.
    """
    import numpy as np
    from onnx import TensorProto

    largest = float(np.finfo(np.float32).max)
    within = graph.add("Clip", value, graph.float64(-largest), graph.float64(largest))
    return graph.add("Cast", within, to=TensorProto.FLOAT, output=output)
