"""The metric of the gates, on the rows of a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.spec.gate_metrics import MetricName

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# As in a stage's evidence: a digest of it must not depend on the order of a summation.
DECIMALS = 10


def value_of(metric: MetricName, labels: Array, scores: Array) -> float:
    """What the scores are worth.

    Args:
        metric: As in ``gates.metric``.
        labels: ``[N]``: 0 and 1, places of classes, or numbers.
        scores: ``[N]`` probabilities or numbers, or ``[N, K]`` probabilities of classes.

    Raises:
        ModelError: A score is not a finite number.
    """
    import numpy as np
    from sklearn import metrics as sk

    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        rows = int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum())
        raise ModelError(f"what was learned gives no finite number for {rows} of {len(scores)} rows.")
    if metric == "roc_auc":
        found = sk.roc_auc_score(labels, scores)
    elif metric == "rmse":
        found = sk.root_mean_squared_error(labels, scores)
    elif metric == "mae":
        found = sk.mean_absolute_error(labels, scores)
    elif metric == "accuracy":
        found = sk.accuracy_score(labels, scores.argmax(axis=1))
    elif metric == "log_loss":
        shares = scores / scores.sum(axis=1, keepdims=True)
        found = sk.log_loss(labels, shares, labels=range(scores.shape[1]))
    else:
        found = np.mean([sk.roc_auc_score(labels == one, scores[:, one]) for one in np.unique(labels)])
    return round(float(found), DECIMALS)
