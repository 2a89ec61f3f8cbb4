"""A trained booster and the vectors it was trained on: the reference that the ONNX graph is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import xgboost


def feature_matrix(column: pa.ChunkedArray, width: int) -> np.ndarray[Any, Any]:
    """Vectors stored as ``list<float32>`` as one matrix; a view of the column's memory where it is contiguous.

    Args:
        column: The column ``__features``.
        width: Length that every vector must have.

    Returns:
        ``[N, width]`` float32; missing is NaN.

    Raises:
        DataError: A vector is null or has another length.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    vectors = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(vectors, pa.ChunkedArray):
        vectors = pa.concat_arrays(vectors.chunks) if vectors.num_chunks else pa.array([], vectors.type)
    lengths = pc.min_max(pc.list_value_length(vectors)).as_py()
    if vectors.null_count or (len(vectors) and (lengths["min"], lengths["max"]) != (width, width)):
        raise DataError(
            f"vectors of {width} numbers were expected, but their lengths go from {lengths['min']} to "
            f"{lengths['max']}, and {vectors.null_count} are null."
        )
    values = vectors.flatten()
    if values.null_count:
        raise DataError(f"{values.null_count} numbers inside the vectors are null; missing must be NaN.")
    matrix: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return matrix.reshape(len(vectors), width)


def load_booster(data: bytes) -> xgboost.Booster:
    """A booster from the bytes of ``booster.ubj``.

    Raises:
        ModelError: The bytes are not a booster.
    """
    import xgboost

    if not data.startswith(b"{"):  # UBJSON and JSON do; given nothing at all, xgboost ends the process
        raise ModelError(f"booster.ubj cannot be read: its {len(data)} bytes are no UBJSON.")
    try:
        return xgboost.Booster(model_file=bytearray(data))
    except xgboost.core.XGBoostError as error:
        raise ModelError(f"booster.ubj cannot be read: {str(error).splitlines()[-1]}") from error


def predict(booster: xgboost.Booster, features: np.ndarray[Any, Any], *, threads: int = 1) -> np.ndarray[Any, Any]:
    """Probability of the positive class by the booster itself, without ONNX.

    Args:
        booster: The trained booster.
        features: ``[N, F]`` float32; missing is NaN.
        threads: Threads to use.

    Returns:
        ``[N]`` float32.
    """
    import numpy as np

    booster.set_param({"nthread": threads})
    if not len(features):
        return np.empty(0, np.float32)
    predicted: np.ndarray[Any, Any] = booster.inplace_predict(features, missing=np.nan)
    return predicted
