"""Judges a challenger on the holdout, against floors, baselines and the champion on the same rows."""

from nightshift.evaluate.stage import run

__all__ = ["run"]
