"""Gives the challenger a version in MLflow: always, refused or not; but never if ONNX graph and booster disagree."""

from nightshift.register.stage import run

__all__ = ["run"]
