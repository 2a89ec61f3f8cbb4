"""Transforms of one number: impute, clip, scale, log, bucketize.

Between transforms a value is a float32; missing is null in Spark and NaN in ONNX, and stays missing in
everything but ``impute``. Arithmetic happens in float64 on both sides and is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.transforms.float32 import double_sql, float_sql
from nightshift.transforms.onnx_graph import OnnxGraph
from nightshift.transforms.protocol import FittedTransform


@dataclass(frozen=True)
class Impute:
    """Missing becomes ``value``. With no value (the window had none to learn from) it stays missing."""

    value: float | None

    def sql(self, value: str) -> str:
        return value if self.value is None else f"coalesce({value}, {float_sql(self.value)})"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        if self.value is None:
            return value
        return graph.add("Where", graph.add("IsNaN", value), graph.float32(self.value), value)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "impute", **asdict(self)}


@dataclass(frozen=True)
class Clip:
    """Values below ``low`` become ``low``, above ``high`` become ``high``; a bound of None is open."""

    low: float | None
    high: float | None

    def sql(self, value: str) -> str:
        cases = []
        if self.low is not None:
            cases.append(f"WHEN {value} < {float_sql(self.low)} THEN {float_sql(self.low)}")
        if self.high is not None:
            cases.append(f"WHEN {value} > {float_sql(self.high)} THEN {float_sql(self.high)}")
        return f"CASE {' '.join(cases)} ELSE {value} END" if cases else value

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        # Not the Clip operator: what it makes of NaN differs between runtimes. A comparison with NaN is false.
        clipped = value
        if self.high is not None:
            high = graph.float32(self.high)
            clipped = graph.add("Where", graph.add("Greater", value, high), high, clipped)
        if self.low is not None:
            low = graph.float32(self.low)
            clipped = graph.add("Where", graph.add("Less", value, low), low, clipped)
        return clipped

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "clip", **asdict(self)}


@dataclass(frozen=True)
class Scale:
    """``float32((x - mean) / deviation)`` in float64; a column that was constant becomes 0.

    ``deviation`` is the population standard deviation.
    """

    mean: float
    deviation: float

    def sql(self, value: str) -> str:
        if self.deviation == 0:
            return f"CASE WHEN {value} IS NOT NULL THEN 0.0F END"
        return f"CAST((CAST({value} AS DOUBLE) - {double_sql(self.mean)}) / {double_sql(self.deviation)} AS FLOAT)"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        if self.deviation == 0:
            return graph.add("Where", graph.add("IsNaN", value), value, graph.float32(0.0))
        centred = graph.add("Sub", graph.cast(value, "DOUBLE"), graph.float64(self.mean))
        return graph.cast(graph.add("Div", centred, graph.float64(self.deviation)), "FLOAT")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "scale", **asdict(self)}


@dataclass(frozen=True)
class Log:
    """``sign(x) * ln(1 + |x|)``: defined and increasing everywhere, so negative values keep their order.

    The logarithm is taken in float64 and rounded to float32. Java and the C library may differ in the last
    bit of the float64, which the rounding hides except for about one value in a thousand million.
    """

    def sql(self, value: str) -> str:
        logarithm = f"ln(1.0D + abs(CAST({value} AS DOUBLE)))"
        return f"CAST({logarithm} * CASE WHEN {value} < 0.0F THEN -1.0D ELSE 1.0D END AS FLOAT)"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        magnitude = graph.add("Abs", graph.cast(value, "DOUBLE"))
        logarithm = graph.add("Log", graph.add("Add", graph.float64(1.0), magnitude))
        # Not the Neg operator: ONNX Runtime makes 0 - x of it, which loses the sign of zero.
        negative = graph.add("Less", value, graph.float32(0.0))
        sign = graph.add("Where", negative, graph.float64(-1.0), graph.float64(1.0))
        return graph.cast(graph.add("Mul", logarithm, sign), "FLOAT")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "log"}


@dataclass(frozen=True)
class Bucketize:
    """How many of the ascending ``edges`` are at or below the value: 0 to ``len(edges)``."""

    edges: tuple[float, ...]

    def sql(self, value: str) -> str:
        cases = [f"WHEN {value} < {float_sql(edge)} THEN {float_sql(number)}" for number, edge in enumerate(self.edges)]
        return f"CASE {' '.join(cases)} WHEN {value} IS NOT NULL THEN {float_sql(len(self.edges))} END"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        reached = graph.cast(graph.add("GreaterOrEqual", value, graph.float32(*self.edges)), "FLOAT")
        bucket = graph.add("ReduceSum", reached, graph.int64(1), keepdims=1)
        return graph.add("Where", graph.add("IsNaN", value), value, bucket)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "bucketize", "edges": list(self.edges)}


BY_KIND: dict[str, Callable[..., FittedTransform]] = {
    "impute": Impute,
    "clip": Clip,
    "scale": Scale,
    "log": Log,
    "bucketize": Bucketize,
}


def from_dict(raw: Mapping[str, Any]) -> FittedTransform:
    """The transform that ``to_dict`` described.

    Raises:
        KeyError, TypeError: It is not such a description.
    """
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items() if key != "kind"}
    return BY_KIND[raw["kind"]](**arguments)
