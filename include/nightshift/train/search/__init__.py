"""The search for parameters and engine, on folds of the training window; the holdout takes no part."""

from nightshift.train.search.run import Found, search

__all__ = ["Found", "search"]
