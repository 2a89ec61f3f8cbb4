"""From a table of requests to the arrays that the graph takes. Nothing is guessed: text is not a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


def request_arrays(data: pa.Table | pd.DataFrame, columns: Sequence[tuple[str, str]]) -> dict[str, Array]:
    """The graph's inputs by name, each ``[N, 1]``: float32, or objects of text.

    Args:
        data: Rows; columns that are not asked for are left alone.
        columns: Name and kind (``numeric``, ``categorical``) of what the graph takes.

    Raises:
        DataError: A column is absent, given twice, or of a type that would need guessing.
    """
    import pyarrow as pa

    given = data.column_names if isinstance(data, pa.Table) else data.columns.tolist()
    missing = [name for name, _ in columns if name not in given]
    if missing:
        raise DataError(
            f"the request lacks {_listed(missing)}.",
            hint=f"the model takes {_listed([name for name, _ in columns])}; send null for an unknown value",
        )
    twice = [name for name, _ in columns if given.count(name) > 1]
    if twice:
        raise DataError(f"the request has {_listed(twice)} more than once.")
    arrays = {}
    for name, kind in columns:
        column = _arrow(data, name)
        array = _numbers(name, column) if kind == "numeric" else _texts(name, column)
        arrays[name] = array.reshape(-1, 1)
    return arrays


def _arrow(data: pa.Table | pd.DataFrame, name: str) -> pa.ChunkedArray | pa.Array:
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return data.column(name)
    try:
        return pa.Array.from_pandas(data[name])
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"column {name} mixes types: {error}", hint="send one type per column, or null") from error


def _numbers(name: str, column: pa.ChunkedArray | pa.Array) -> Array:
    """Float32 by way of float64, as Spark does it when it fits the transforms."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if column.null_count == len(column):
        return np.full(len(column), np.nan, np.float32)
    if pa.types.is_decimal(kind):
        values = np.array([np.nan if value is None else float(value) for value in column.to_pylist()], np.float64)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        raise DataError(f"column {name} must hold numbers, but its type is {kind}.", hint="send numbers without quotes")
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _texts(name: str, column: pa.ChunkedArray | pa.Array) -> Array:
    import numpy as np
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if column.null_count == len(column):  # pandas gives a column without values any type
        return np.full(len(column), "", object)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise DataError(f"column {name} must hold text, but its type is {kind}.", hint="send categories as text")
    texts: Array = column.to_numpy(zero_copy_only=False)
    return np.where(texts == None, "", texts)  # noqa: E711 - elementwise


def _listed(names: Sequence[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(names)
