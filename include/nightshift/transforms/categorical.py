"""Encoders of one category: one_hot and index, over the levels of the training window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nightshift.transforms.float32 import text_sql
from nightshift.transforms.onnx_graph import ML_DOMAIN, OnnxGraph


@dataclass(frozen=True)
class OneHot:
    """One float32 column of 0 and 1 per level, in order of name; unseen and missing are all zeros."""

    levels: tuple[str, ...]

    def sql(self, value: str) -> str:
        # A window of a constant array, placed by the level's number: one lookup and one copy per row, with
        # code that does not grow with the levels, where one CASE per level outgrows a Java method.
        width = len(self.levels)
        ruler = f"concat(array_repeat(0.0F, {width}), array(1.0F), array_repeat(0.0F, {width}))"
        return f"slice({ruler}, CAST({width + 2} - {_number(self.levels, value)} AS INT), {width})"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        encoded = graph.add("OneHotEncoder", value, domain=ML_DOMAIN, cats_strings=list(self.levels), zeros=1)
        return graph.add("Squeeze", encoded, graph.int64(1))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "one_hot", "levels": list(self.levels)}

    def feature_names(self, column: str) -> tuple[str, ...]:
        return tuple(f"{column}={level}" for level in self.levels)


@dataclass(frozen=True)
class Index:
    """The level's number in order of name, from 0; unseen and missing are -1."""

    levels: tuple[str, ...]

    def sql(self, value: str) -> str:
        number = _number(self.levels, value) if self.levels else "0"
        return f"array(CAST({number} - 1 AS FLOAT))"

    def onnx(self, graph: OnnxGraph, value: str) -> str:
        # LabelEncoder wants at least one key; the empty text is never a level.
        keys = list(self.levels) or [""]
        numbers = [float(number) for number in range(len(self.levels))] or [-1.0]
        return graph.add(
            "LabelEncoder", value, domain=ML_DOMAIN, keys_strings=keys, values_floats=numbers, default_float=-1.0
        )

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "index", "levels": list(self.levels)}

    def feature_names(self, column: str) -> tuple[str, ...]:
        return (column,)


def _number(levels: tuple[str, ...], value: str) -> str:
    """SQL of the level's number from 1; 0 when it is unseen or missing."""
    return f"coalesce(array_position(array({', '.join(map(text_sql, levels))}), {value}), 0L)"
