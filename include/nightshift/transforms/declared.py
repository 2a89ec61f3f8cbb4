"""All transforms of a model as one object: declared by the spec, fitted on the training window."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import IntegrityError, PrepareError, SpecError
from nightshift.plan import canonical_json
from nightshift.spec.models import Features
from nightshift.transforms.columns import CategoricalColumn, NumericColumn, declare_categorical, declare_numeric
from nightshift.transforms.fitting import check_types, find_levels, fit_numeric
from nightshift.transforms.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRANSFORMS_FORMAT = 1
Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True)
class Transforms:
    """From request columns to the model's vector: numeric features first, then the encoded categories.

    Both groups keep the order of the spec.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @classmethod
    def declare(cls, features: Features) -> Transforms:
        """What the spec asks for, not fitted yet.

        Raises:
            SpecError: A transform's numbers have no float32.
        """
        try:
            return cls(
                tuple(declare_numeric(name, features.transforms.get(name, ())) for name in features.numeric),
                tuple(declare_categorical(name, features.transforms.get(name, ())) for name in features.categorical),
            )
        except ValueError as error:
            raise SpecError(str(error)) from error

    def fit(self, frame: DataFrame) -> Transforms:
        """Decide every number from the rows of the training window; see ``fitting`` for the queries.

        Raises:
            PrepareError: A column is absent or of the wrong type, or no column has anything to learn from.
        """
        check_types(frame, self.request_columns)
        levels = find_levels(frame, {column.name: column.max_levels for column in self.categorical})
        fitted = Transforms(
            fit_numeric(frame, self.numeric),
            tuple(replace(column, levels=levels[column.name]) for column in self.categorical),
        )
        if not fitted.feature_names:
            raise PrepareError("no category of the training window has a value; there is nothing to learn from.")
        return fitted

    @property
    def request_columns(self) -> tuple[tuple[str, Kind], ...]:
        """The columns a request has, in the order of the graph's inputs."""
        return (
            *((column.name, "numeric") for column in self.numeric),
            *((column.name, "categorical") for column in self.categorical),
        )

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the vector's places: the column, or ``column=level`` for one_hot.

        Raises:
            ValueError: The transforms are not fitted.
        """
        encoded = (column.fitted.feature_names(column.name) for column in self.categorical)
        return (*(column.name for column in self.numeric), *(name for names in encoded for name in names))

    @cached_property
    def columns_of_features(self) -> tuple[str, ...]:
        """The request column that each place of the vector comes from."""
        encoded = ([column.name] * len(column.fitted.feature_names(column.name)) for column in self.categorical)
        return (*(column.name for column in self.numeric), *(name for names in encoded for name in names))

    def spark_columns(self) -> str:
        """The vector as one Spark SQL expression of type ``array<float>``.

        Raises:
            ValueError: The transforms are not fitted.
        """
        parts = [f"array({', '.join(column.sql() for column in self.numeric)})"] if self.numeric else []
        parts += [column.fitted.sql(f"`{column.name}`") for column in self._encoded()]
        return parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})"

    def onnx_nodes(self, graph: OnnxGraph, *, output: str = "features") -> str:
        """Add the nodes from the request columns, each ``[N, 1]``, to the vector ``[N, F]`` of float32.

        Args:
            graph: Where to add them. Inputs have the names of the request columns.
            output: Name of the vector.

        Raises:
            ValueError: The transforms are not fitted.
        """
        parts = []
        if self.numeric:
            numbers = graph.add("Concat", *(column.onnx(graph) for column in self.numeric), axis=1)
            parts.append(graph.add("Where", graph.add("IsInf", numbers), graph.float32(float("nan")), numbers))
        parts += [column.fitted.onnx(graph, column.name) for column in self._encoded()]
        return graph.add("Concat", *parts, axis=1, output=output)

    def to_json(self) -> bytes:
        """Raises ValueError: The transforms are not fitted."""
        columns = [*(column.to_dict() for column in self.numeric), *(column.to_dict() for column in self.categorical)]
        return canonical_json(
            {"format": TRANSFORMS_FORMAT, "columns": columns, "feature_names": list(self.feature_names)}
        )

    @classmethod
    def from_json(cls, data: bytes) -> Transforms:
        """Raises IntegrityError: The bytes are not fitted transforms of this format."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != TRANSFORMS_FORMAT:
                raise IntegrityError(f"the transforms have format {raw['format']}; this reads {TRANSFORMS_FORMAT}.")
            found = cls(
                tuple(NumericColumn.from_dict(column) for column in raw["columns"] if column["kind"] == "numeric"),
                tuple(
                    CategoricalColumn.from_dict(column) for column in raw["columns"] if column["kind"] == "categorical"
                ),
            )
            if list(found.feature_names) != raw["feature_names"]:
                raise IntegrityError("the transforms name other features than their columns give.")
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"the transforms are not readable: {error!r}") from error
        return found

    def _encoded(self) -> list[CategoricalColumn]:
        """Categorical columns that have a place in the vector; one_hot without a level has none."""
        return [column for column in self.categorical if column.fitted.feature_names(column.name)]
