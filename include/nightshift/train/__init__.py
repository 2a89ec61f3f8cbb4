"""Stage train: from the transformed training window to a model, and to one ONNX graph."""

from nightshift.train.stage import run

__all__ = ["run"]
