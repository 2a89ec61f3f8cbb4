"""Stage train: from the transformed training window to a model, and to one ONNX graph."""

from nightshift.train.engines.own import require_own
from nightshift.train.stage import run

__all__ = ["require_own", "run"]
