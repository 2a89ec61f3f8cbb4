"""Sums of weighted features, in double precision: linear regression, and logistic regression of two or more classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.model.heads.missing import as_float32, filled
from nightshift.spec.values import Task
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LinearHead:
    """``features @ coefficients + intercepts``; binary through the logistic function, multiclass through softmax.

    Attributes:
        task: What the sums tell.
        coefficients: ``[K, F]`` float64, a row for each class; for binary and regression K is 1.
        intercepts: ``[K]`` float64.
        instead: ``[F]`` float32, what stands for a missing number.
    """

    task: Task
    coefficients: Array
    intercepts: Array
    instead: Array

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the nodes; see ``Head.onnx_nodes``.

        Raises:
            ModelError: The coefficients are not finite, or not as many as there are features and classes.
        """
        self._check()
        weighted = graph.add(
            "MatMul", filled(graph, features, self.instead), graph.constant(self.coefficients.T.copy())
        )
        sums = graph.add("Add", weighted, graph.constant(self.intercepts))
        if self.task == "multiclass":
            return as_float32(graph, graph.add("Softmax", sums, axis=1), output=output)
        score = graph.add("Squeeze", sums, graph.int64(1))
        return as_float32(graph, graph.add("Sigmoid", score) if self.task == "binary" else score, output=output)

    def _check(self) -> None:
        import numpy as np

        rows, width = self.coefficients.shape
        fits = (len(self.intercepts), len(self.instead)) == (rows, width) and (rows == 1) == (self.task != "multiclass")
        if not fits or not np.isfinite(self.coefficients).all() or not np.isfinite(self.intercepts).all():
            raise ModelError(
                f"finite coefficients for {self.task} were expected: {rows} x {width} of them, {len(self.intercepts)} "
                f"intercepts and {len(self.instead)} features were given."
            )
