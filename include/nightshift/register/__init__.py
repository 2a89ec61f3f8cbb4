"""Gives the challenger a version in MLflow: refused or not, but never if the graph disagrees with what was trained."""

from nightshift.register.stage import run

__all__ = ["run"]
