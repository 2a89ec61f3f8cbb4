"""Mean and standard deviation of every feature over the rows of a Spark table; what is missing is left out.

The same rows in the same partitions and order give the same numbers to the last bit: each partition is summed up by
itself, and the partitions are added in order of their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from nightshift.model.booster import feature_matrix
from nightshift.train.window import FEATURES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame

    Array = np.ndarray[Any, Any]

SCHEMA = "part int, rows array<double>, mean array<double>, spread array<double>"


@dataclass(frozen=True)
class Moments:
    """Of some rows, by feature, ``[F]`` float64 each.

    Attributes:
        rows: How many have a value.
        mean: Its mean; 0 where no row has one.
        spread: Sum of the squares of the distances from the mean.
    """

    rows: Array
    mean: Array
    spread: Array

    @classmethod
    def of(cls, matrix: Array) -> Moments:
        """Of the rows of a matrix, ``[N, F]``; NaN is missing."""
        import numpy as np

        values = matrix.astype(np.float64)
        there = ~np.isnan(values)
        rows = there.sum(axis=0).astype(np.float64)
        mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(rows, 1.0)
        return cls(rows, mean, (np.where(there, values - mean, 0.0) ** 2).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Of both together; after Chan, Golub and LeVeque, which loses nothing where the mean is large."""
        import numpy as np

        rows = self.rows + other.rows
        share = other.rows / np.maximum(rows, 1.0)
        step = other.mean - self.mean
        return Moments(rows, self.mean + step * share, self.spread + other.spread + step**2 * self.rows * share)

    def deviation(self, rows: int) -> Array:
        """Standard deviation over so many rows, those without a value standing at the mean."""
        import numpy as np

        deviation: Array = np.sqrt(self.spread / rows)
        return deviation


def moments_of(rows: DataFrame, width: int) -> Moments:
    """Of the column of vectors of a table that has at least one row."""
    import numpy as np

    parts = rows.select(FEATURES).mapInArrow(partial(_of_partition, width=width), SCHEMA).toArrow().sort_by("part")
    found = [Moments(*(np.array(part[name]) for name in ("rows", "mean", "spread"))) for part in parts.to_pylist()]
    return reduce(Moments.__add__, found)


def _of_partition(batches: Iterator[pa.RecordBatch], *, width: int) -> Iterator[pa.RecordBatch]:
    """What an executor's Python process does with its rows."""
    import pyarrow as pa
    from pyspark import TaskContext

    found = [Moments.of(feature_matrix(pa.chunked_array([batch.column(0)]), width)) for batch in batches]
    context = TaskContext.get()
    assert context is not None, "this runs in a task of Spark"
    if found:
        all_ = reduce(Moments.__add__, found)
        columns = [[context.partitionId()], [all_.rows], [all_.mean], [all_.spread]]
        types = [pa.int32(), *[pa.list_(pa.float64())] * 3]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, names=["part", "rows", "mean", "spread"])
