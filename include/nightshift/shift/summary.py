"""A column of one day in few numbers, small enough for a manifest and enough to compare the day with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.float64]

Summary = Mapping[str, Any]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
FEWEST = 30
"""Fewest values, not 0, whose quantiles say something."""
MOST_VALUES = 5
MOST_LEVELS = 10
LEAST_SHARE = 0.02
LONGEST = 60
SENTINELS = (0, -1, *(sign * (10**digits - 1) for digits in range(2, 10) for sign in (1, -1)), 2**31 - 1, -(2**31))
"""Values that stand for "there is none" where nobody said so: 0, -1, 99, 999 and so on, and the ends of int32."""


def summarize(column: pa.ChunkedArray | pa.Array) -> Summary:
    """A column in few numbers, whatever the order of its rows.

    Returns:
        ``rows`` and ``nulls``; of numbers also ``magnitudes`` (logarithms of quantiles of the absolute values that are
        not 0; None where they are few) with ``filled`` (their share), and ``values`` (shares of the most frequent
        ones, and of every sentinel that is there), ``low`` and ``high``; of texts also ``levels`` and the most
        frequent in ``top``.
    """
    import pyarrow as pa

    kind = column.type
    found: dict[str, Any] = {"rows": len(column), "nulls": column.null_count}
    if pa.types.is_dictionary(kind):
        return summarize(column.cast(kind.value_type))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return {**found, **_of_numbers(numbers(column))}
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return {**found, **_of_texts(column)}
    return found


def numbers(column: pa.ChunkedArray | pa.Array) -> Numbers:
    """The values of a numeric column as floats; nulls and infinite ones are NaN."""
    import numpy as np
    import pyarrow as pa

    floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values: Numbers = np.where(np.isfinite(floats), floats, np.nan)
    return values


def _of_numbers(values: Numbers) -> dict[str, Any]:
    import numpy as np

    values = values[~np.isnan(values)]
    sizes = np.abs(values[values != 0])
    magnitudes = None
    if len(sizes) >= FEWEST:
        magnitudes = [round(float(number), 6) for number in np.log(np.quantile(sizes, QUANTILES))]
    filled = round(len(sizes) / len(values), 4) if len(values) else 0.0
    found: dict[str, Any] = {"magnitudes": magnitudes, "filled": filled, "values": _frequent(values)}
    return {**found, "low": float(values.min()), "high": float(values.max())} if len(values) else found


def _frequent(values: Numbers) -> list[list[float]]:
    import numpy as np

    if not len(values):
        return []
    there, counts = np.unique(values, return_counts=True)
    # The smaller value first among equals, so that the order of the rows cannot matter.
    chosen = set(np.lexsort((there, -counts))[:MOST_VALUES].tolist())
    chosen |= set(np.flatnonzero(np.isin(there, SENTINELS)).tolist())
    shares = counts / len(values)
    return [[float(there[place]), round(float(shares[place]), 4)] for place in sorted(chosen)]


def _of_texts(column: pa.ChunkedArray | pa.Array) -> dict[str, Any]:
    import pyarrow.compute as pc

    there = len(column) - column.null_count
    counts = pc.value_counts(column.drop_null()).to_pylist()
    counts.sort(key=lambda row: (-row["counts"], row["values"]))
    top = [[row["values"][:LONGEST], round(row["counts"] / there, 4)] for row in counts[:MOST_LEVELS]]
    return {"levels": len(counts), "top": [[level, share] for level, share in top if share >= LEAST_SHARE]}
