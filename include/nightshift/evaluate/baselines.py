"""What the challenger has to be better than: the majority class, and the best single feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.evaluate.metrics import rounded
from nightshift.spec.models import Features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating[Any]]


def majority(train_labels: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """The model that always answers with the training window's share of positives.

    Args:
        train_labels: 0 or 1, shape [training rows].
        labels: 0 or 1, shape [holdout rows].
    """
    import numpy as np
    from sklearn.metrics import log_loss

    rate = float(train_labels.mean())
    return {
        "rate": rounded(rate),
        "roc_auc": 0.5,
        "log_loss": rounded(log_loss(labels, np.full(len(labels), rate), labels=[0, 1])),
    }


def best_single_feature(
    train: pd.DataFrame, holdout: pd.DataFrame, features: Features
) -> tuple[dict[str, Any], Numbers]:
    """The one feature that ranks the training rows best, and how it ranks the holdout's.

    A number counts as it is, or turned around where that is better on the training rows; a text counts as
    the share of positives of its training rows. Nothing is chosen on the holdout.

    Args:
        train: The features and ``__label`` of the training window.
        holdout: The same columns of the holdout.
        features: Names of numeric and categorical features.

    Returns:
        Its name and metrics, and how it ranks the holdout's rows, shape [rows].
    """
    from sklearn.metrics import roc_auc_score

    candidates = []
    for name in (*features.numeric, *features.categorical):
        rank = _numeric if name in features.numeric else _categorical
        ranking, of_holdout, orientation = rank(train, holdout, name)
        auc = rounded(roc_auc_score(train["__label"], ranking))
        candidates.append((auc, {"feature": name, "orientation": orientation, "train_roc_auc": auc}, of_holdout))
    _, best, of_holdout = max(candidates, key=lambda candidate: candidate[0])
    return {**best, "roc_auc": rounded(roc_auc_score(holdout["__label"], of_holdout))}, of_holdout


def _numeric(train: pd.DataFrame, holdout: pd.DataFrame, name: str) -> tuple[Numbers, Numbers, str]:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    values = train[name].to_numpy(np.float64, na_value=np.nan)
    of_holdout = holdout[name].to_numpy(np.float64, na_value=np.nan)
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    values, of_holdout = (
        np.nan_to_num(array, nan=middle, posinf=np.finfo(np.float64).max, neginf=np.finfo(np.float64).min)
        for array in (values, of_holdout)
    )
    if roc_auc_score(train["__label"], values) < 0.5:
        return -values, -of_holdout, "lower"
    return values, of_holdout, "higher"


def _categorical(train: pd.DataFrame, holdout: pd.DataFrame, name: str) -> tuple[Numbers, Numbers, str]:
    labels = train["__label"].astype("float64")
    share = labels.groupby(train[name]).mean()
    overall = float(labels.mean())
    ranking, of_holdout = (
        frame[name].map(share).astype("float64").fillna(overall).to_numpy() for frame in (train, holdout)
    )
    return ranking, of_holdout, "share of positives"
