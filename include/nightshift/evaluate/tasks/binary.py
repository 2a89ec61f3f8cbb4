"""Labels of two classes: ROC AUC decides, log loss must not be worse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from nightshift.evaluate import baselines, metrics, paired
from nightshift.evaluate.paired import Difference
from nightshift.evaluate.task import Drawings, Fallback, Judged
from nightshift.spec.models import Features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[Any]
    Days = NDArray[np.integer[Any]]

SLICE_ROWS = 500
SLICE_CLASS_ROWS = 50


class Binary:
    """Labels 0 and 1; scores are the probability of 1."""

    name: Literal["binary"] = "binary"

    def require_labels(self, labels: Labels, *, of: str) -> None:
        """Raises DataError: There are no rows, or only one class."""
        metrics.require_labels(labels, of=of)

    def require_scores(self, scores: Scores, *, of: str) -> Scores:
        """Raises ModelError: A score is not a number between 0 and 1."""
        return metrics.require_scores(scores, of=of)

    def measure(self, labels: Labels, scores: Scores, threshold: float | None) -> dict[str, Any]:
        return metrics.metrics(labels, scores, 0.5 if threshold is None else threshold)

    def value(self, metric: str, labels: Labels, scores: Scores) -> float:
        from sklearn import metrics as sk

        if metric == "log_loss":
            return metrics.rounded(sk.log_loss(labels, scores, labels=[0, 1]))
        return metrics.rounded(sk.roc_auc_score(labels, scores))

    def gain(
        self, metric: str, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        if metric == "roc_auc":
            return paired.auc_gain(labels, challenger, champion, days, confidence=confidence)
        losses = paired.log_losses(labels, champion) - paired.log_losses(labels, challenger)
        return paired.mean_gain(losses, days, confidence=confidence)

    def calibration_gain(
        self, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        errors = paired.calibration_losses(labels, champion) - paired.calibration_losses(labels, challenger)
        return paired.mean_gain(errors, days, confidence=confidence)

    def guess(self, train_labels: Labels, labels: Labels) -> dict[str, Any]:
        return baselines.majority(train_labels, labels)

    def single_feature(self, train: pd.DataFrame, holdout: pd.DataFrame, features: Features, metric: str) -> Fallback:
        return Fallback(*baselines.best_single_feature(train, holdout, features))

    def required_rows(self, labels: Labels, of_each: int, trained: Labels) -> Iterator[tuple[int, int, str]]:
        positives = int(labels.sum())
        yield positives, of_each, "positives"
        yield len(labels) - positives, of_each, "negatives"

    def is_large(self, labels: Labels) -> bool:
        positives = int(labels.sum())
        return len(labels) >= SLICE_ROWS and min(positives, len(labels) - positives) >= SLICE_CLASS_ROWS

    def about(self, labels: Labels) -> dict[str, Any]:
        return {"positives": int(labels.sum())}

    def drawings(self, challenger: Judged, champion: Judged | None, single: Scores) -> Drawings:
        def of_both(draw: Any) -> dict[str, Any]:
            return {
                "challenger": draw(challenger.labels, challenger.scores),
                "champion": None if champion is None else draw(champion.labels, champion.scores),
            }

        return {
            "roc": {
                **of_both(metrics.roc_points),
                "best_single_feature": metrics.roc_points(challenger.labels, single),
            },
            "calibration": of_both(metrics.calibration),
            "histogram": metrics.histogram(challenger.labels, challenger.scores),
        }
