"""Preprocess: the prepare SQL, transforms fitted on the training window, train, holdout and probe tables."""

from nightshift.preprocess.stage import run

__all__ = ["run"]
