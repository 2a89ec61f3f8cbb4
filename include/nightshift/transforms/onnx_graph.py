"""A small builder of ONNX graphs: nodes with names that depend on nothing but the order of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from onnx import NodeProto, TensorProto

ML_DOMAIN = "ai.onnx.ml"


class OnnxGraph:
    """Nodes and constants in the order they were added.

    Names of inner tensors contain a slash, which no request column can, so they never meet.

    Attributes:
        scope: First part of the names of what is added.
    """

    def __init__(self) -> None:
        self.scope = "transforms"
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, op: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; gives the output's name."""
        from onnx import helper

        name = output or f"{self.scope}/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"node/{name}", domain=domain, **attributes))
        return name

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        """Add a constant tensor; gives its name."""
        from onnx import numpy_helper

        name = f"{self.scope}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def float32(self, *values: float) -> str:
        """A constant of float32: a scalar for one value, else ``[1, K]``."""
        import numpy as np

        return self.constant(np.array(values[0] if len(values) == 1 else [values], np.float32))

    def float64(self, value: float) -> str:
        """A scalar constant of float64."""
        import numpy as np

        return self.constant(np.array(value, np.float64))

    def int64(self, *values: int) -> str:
        """A constant of int64, ``[K]``."""
        import numpy as np

        return self.constant(np.array(values, np.int64))

    def cast(self, value: str, to: str) -> str:
        """Add a Cast to ``FLOAT``, ``DOUBLE`` or ``INT64``."""
        from onnx import TensorProto

        return self.add("Cast", value, to=getattr(TensorProto, to))
