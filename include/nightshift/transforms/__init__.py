"""Declared transforms: fitted once on the training window, then the same numbers in Spark SQL and in ONNX.

The rules both sides share, bit for bit:

- A numeric value is ``float32(float64(value))``. Null and NaN are the same thing: *missing*.
- An infinity that is left at the end of a column's transforms is missing too: no engine learns from it.
- A category is its text, compared byte for byte. Null and the empty text are the same thing: missing.
- A category that the training window did not have, and a missing one, is all zeros under ``one_hot`` and
  -1 under ``index``.
"""

from nightshift.transforms.declared import Transforms
from nightshift.transforms.onnx_graph import OnnxGraph

__all__ = ["OnnxGraph", "Transforms"]
