"""What a model says about rows, by task, as an array and as a column of a table.

========== ============ ==================================================
task       shape        meaning
========== ============ ==================================================
binary     ``[N]``      probability of the positive class
multiclass ``[N, K]``   probability of each class, in the order of the spec
regression ``[N]``      the value
========== ============ ==================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


REFERENCE = "__score"
"""The column of the table ``reference`` of stage train."""


def to_column(scores: Array) -> pa.Array:
    """Scores as a column: float32, or lists of as many float32 as there are classes; NaN stays NaN.

    Args:
        scores: ``[N]`` or ``[N, K]``.
    """
    import numpy as np
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(scores, np.float32).reshape(-1))
    return values if scores.ndim == 1 else pa.FixedSizeListArray.from_arrays(values, scores.shape[1])


def from_column(column: pa.ChunkedArray) -> Array:
    """The scores in a column that ``to_column`` made, ``[N]`` or ``[N, K]`` float32; a null is NaN."""
    import numpy as np
    import pyarrow as pa

    if not isinstance(column.type, (pa.ListType, pa.FixedSizeListType, pa.LargeListType)):
        scores: Array = column.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return scores
    width = column.type.list_size if isinstance(column.type, pa.FixedSizeListType) else None
    rows = column.to_pylist()
    width = width or next((len(row) for row in rows if row is not None), 0)
    return np.array([[np.nan] * width if row is None else row for row in rows], np.float32).reshape(len(rows), width)
