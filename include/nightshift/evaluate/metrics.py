"""What the scores of one model say on labelled rows: metrics, curves, calibration.

Everything returned is plain JSON: floats are rounded to ten decimals, so that a digest of the evidence does
not depend on the order of a summation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]

DECIMALS = 10
ROC_POINTS = 200
CALIBRATION_BINS = 10
HISTOGRAM_BINS = 20


def rounded(value: float) -> float:
    return round(float(value), DECIMALS)


def require_scores(scores: Scores, *, of: str) -> Scores:
    """Scores as float64, all of them probabilities.

    Args:
        scores: Shape [rows].
        of: The model, for the message.

    Raises:
        ModelError: A score is not a number between 0 and 1.
    """
    import numpy as np

    bad = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(bad):
        raise ModelError(
            f"{of} gives a score that is no probability for {len(bad)} of {len(scores)} rows; "
            f"the first is row {bad[0]}: {scores[bad[0]]}.",
            hint="look at the transforms of model.json: infinite or missing inputs must be imputed or clipped",
        )
    return scores.astype(np.float64)


def require_labels(labels: Labels, *, of: str) -> None:
    """Raises DataError: There are no rows, or only one class."""
    positives = int(labels.sum())
    if len(labels) == 0:
        raise DataError(f"{of} has no labelled rows; nothing can be judged on it.")
    if positives in (0, len(labels)):
        word = "positive" if positives else "negative"
        raise DataError(
            f"{of} has {len(labels)} labelled rows and all of them are {word}; a model cannot be judged on one class.",
            hint="make window.holdout longer, or check label.positive",
        )


def metrics(labels: Labels, scores: Scores, threshold: float) -> dict[str, Any]:
    """The metrics of one model.

    Args:
        labels: 0 or 1, shape [rows], both classes present.
        scores: Probability of the positive class, float64, shape [rows].
        threshold: Probability from which a row is called positive.
    """
    from sklearn import metrics as sk

    called = scores >= threshold
    precision, recall, f1, _ = sk.precision_recall_fscore_support(labels, called, average="binary", zero_division=0)
    (tn, fp), (fn, tp) = sk.confusion_matrix(labels, called, labels=[0, 1]).tolist()
    return {
        "rows": len(labels),
        "positives": int(labels.sum()),
        "roc_auc": rounded(sk.roc_auc_score(labels, scores)),
        "average_precision": rounded(sk.average_precision_score(labels, scores)),
        "log_loss": rounded(sk.log_loss(labels, scores)),
        "brier": rounded(sk.brier_score_loss(labels, scores)),
        "threshold": rounded(threshold),
        "precision": rounded(precision),
        "recall": rounded(recall),
        "f1": rounded(f1),
        "confusion": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        "mean_score": rounded(scores.mean()),
    }


def roc_points(labels: Labels, scores: Scores) -> list[list[float]]:
    """At most 200 points (false positive rate, true positive rate) of the ROC curve, both ends included."""
    import numpy as np
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(labels, scores)
    kept = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), ROC_POINTS)).round().astype(int))
    return [[rounded(x), rounded(y)] for x, y in zip(fpr[kept], tpr[kept], strict=True)]


def calibration(labels: Labels, scores: Scores) -> list[dict[str, Any]]:
    """Predicted against observed share of positives in up to ten bins of about equally many rows."""
    import numpy as np

    edges = np.unique(np.quantile(scores, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for number in np.unique(bins):
        inside = bins == number
        found.append(
            {
                "lower": rounded(edges[number]),
                "upper": rounded(edges[min(number + 1, len(edges) - 1)]),
                "rows": int(inside.sum()),
                "predicted": rounded(scores[inside].mean()),
                "observed": rounded(labels[inside].mean()),
            }
        )
    return found


def histogram(labels: Labels, scores: Scores) -> dict[str, Any]:
    """Counts of scores in 20 equal bins of [0, 1], by true class."""
    import numpy as np

    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    negative, _ = np.histogram(scores[labels == 0], bins=edges)
    positive, _ = np.histogram(scores[labels == 1], bins=edges)
    return {
        "edges": [rounded(edge) for edge in edges],
        "negative": negative.tolist(),
        "positive": positive.tolist(),
    }
