"""Labels that are numbers: root mean squared or mean absolute error decides, the other must not be worse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import DataError, ModelError
from nightshift.evaluate import baselines, paired
from nightshift.evaluate.metrics import CALIBRATION_BINS, rounded
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
RESIDUAL_BINS = 40
# The picture of the residuals shows all but the most extreme; its outermost bars hold those.
SHOWN = (0.01, 0.99)


class Regression:
    """Labels and scores are numbers, in the same unit."""

    name: Literal["regression"] = "regression"

    def require_labels(self, labels: Labels, *, of: str) -> None:
        """Raises DataError: There are no rows, or all labels are equal."""
        if len(labels) == 0:
            raise DataError(f"{of} has no labelled rows; nothing can be judged on it.")
        if labels.min() == labels.max():
            raise DataError(
                f"{of} has {len(labels)} labelled rows and all of them are {labels[0]:g}; a model cannot be judged on "
                "one value.",
                hint="make window.holdout longer, or check label.column",
            )

    def require_scores(self, scores: Scores, *, of: str) -> Scores:
        """Raises ModelError: A score is no finite number."""
        import numpy as np

        if scores.ndim != 1:
            raise ModelError(f"{of} gives scores of shape {list(scores.shape)}; one number for each row was expected.")
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise ModelError(
                f"{of} gives a score that is no finite number for {len(bad)} of {len(scores)} rows; "
                f"the first is row {bad[0]}: {scores[bad[0]]}.",
                hint="look at the transforms of model.json: infinite or missing inputs must be imputed or clipped",
            )
        return scores.astype(np.float64)

    def measure(self, labels: Labels, scores: Scores, threshold: float | None) -> dict[str, Any]:
        from sklearn import metrics as sk

        return {
            "rows": len(labels),
            "rmse": self.value("rmse", labels, scores),
            "mae": self.value("mae", labels, scores),
            "r2": rounded(sk.r2_score(labels, scores)),
            "median_absolute_error": rounded(sk.median_absolute_error(labels, scores)),
            "bias": rounded((scores - labels).mean()),
            "mean_score": rounded(scores.mean()),
            "mean_label": rounded(labels.mean()),
        }

    def value(self, metric: str, labels: Labels, scores: Scores) -> float:
        from sklearn import metrics as sk

        measure = sk.root_mean_squared_error if metric == "rmse" else sk.mean_absolute_error
        return rounded(measure(labels, scores))

    def gain(
        self, metric: str, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        import numpy as np

        if metric == "rmse":
            return paired.rmse_gain(labels, challenger, champion, days, confidence=confidence)
        losses = np.abs(champion - labels) - np.abs(challenger - labels)
        return paired.mean_gain(losses, days, confidence=confidence)

    def calibration_gain(
        self, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        """Of bias: how far, in ten bins of the prediction, its mean is from the labels'."""
        errors = paired.calibration_losses(labels, champion) - paired.calibration_losses(labels, challenger)
        return paired.mean_gain(errors, days, confidence=confidence)

    def guess(self, train_labels: Labels, labels: Labels) -> dict[str, Any]:
        """Each metric by the constant that suits it: the mean for RMSE, the median for MAE."""
        import numpy as np

        mean, median = float(np.mean(train_labels)), float(np.median(train_labels))
        return {
            "mean": rounded(mean),
            "median": rounded(median),
            "rmse": self.value("rmse", labels, np.full(len(labels), mean)),
            "mae": self.value("mae", labels, np.full(len(labels), median)),
        }

    def single_feature(self, train: pd.DataFrame, holdout: pd.DataFrame, features: Features, metric: str) -> Fallback:
        import numpy as np

        wanted = train["__label"].to_numpy(np.float64)[:, None]
        return baselines.best_single_rule(train, holdout, features, self, metric, wanted=wanted)

    def required_rows(self, labels: Labels, of_each: int, trained: Labels) -> Iterator[tuple[int, int, str]]:
        yield from ()

    def is_large(self, labels: Labels) -> bool:
        return len(labels) >= SLICE_ROWS

    def about(self, labels: Labels) -> dict[str, Any]:
        return {"mean": rounded(labels.mean()), "deviation": rounded(labels.std())}

    def drawings(self, challenger: Judged, champion: Judged | None, single: Scores) -> Drawings:
        return {
            "calibration": {
                "challenger": _bins(challenger),
                "champion": None if champion is None else _bins(champion),
            },
            "residuals": _residuals(challenger, champion),
        }


def _bins(judged: Judged) -> list[dict[str, Any]]:
    """Mean prediction, mean label and the middle 80 % of the labels, in up to ten bins of about equally many rows."""
    import numpy as np

    edges = np.unique(np.quantile(judged.scores, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, judged.scores, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for number in np.unique(bins):
        labels, scores = judged.labels[bins == number], judged.scores[bins == number]
        low, high = np.quantile(labels, (0.1, 0.9))
        found.append(
            {
                "rows": len(labels),
                "predicted": rounded(scores.mean()),
                "observed": rounded(labels.mean()),
                "low": rounded(low),
                "high": rounded(high),
            }
        )
    return found


def _residuals(challenger: Judged, champion: Judged | None) -> dict[str, Any]:
    """Rows by how far the prediction is above the label, in equal bins."""
    import numpy as np

    errors = challenger.scores - challenger.labels
    low, high = np.quantile(errors, SHOWN)
    reach = max(abs(low), abs(high)) or 1.0
    edges = np.linspace(-reach, reach, RESIDUAL_BINS + 1)

    def counted(values: Scores) -> list[int]:
        counts: list[int] = np.histogram(np.clip(values, -reach, reach), bins=edges)[0].tolist()
        return counts

    return {
        "edges": [rounded(edge) for edge in edges],
        "challenger": counted(errors),
        "champion": None if champion is None else counted(champion.scores - champion.labels),
    }
