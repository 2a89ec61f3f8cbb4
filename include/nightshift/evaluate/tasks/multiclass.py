"""Labels of several classes: accuracy, log loss or ROC AUC decides; log loss must not be worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import DataError, ModelError
from nightshift.evaluate import baselines, metrics, paired
from nightshift.evaluate.metrics import rounded
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
# Of float32 and a hundred classes a sum is off by a millionth; what is off by more is no distribution.
SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Multiclass:
    """Labels are places in a list of classes; scores are the probabilities of all of them.

    Attributes:
        classes: Their names, in the order of the probabilities.
    """

    classes: tuple[str, ...]
    name: Literal["multiclass"] = "multiclass"

    def require_labels(self, labels: Labels, *, of: str) -> None:
        """Raises DataError: There are no rows, or only one class."""
        import numpy as np

        found = np.unique(labels)
        if len(found) == 0:
            raise DataError(f"{of} has no labelled rows; nothing can be judged on it.")
        if len(found) == 1:
            raise DataError(
                f"{of} has {len(labels)} labelled rows and all of them are {self.classes[int(found[0])]}; a model "
                "cannot be judged on one class.",
                hint="make window.holdout longer, or check label.classes",
            )

    def require_scores(self, scores: Scores, *, of: str) -> Scores:
        """Raises ModelError: Rows are not one probability for each class, with a sum of one."""
        import numpy as np

        if scores.ndim != 2 or scores.shape[1] != len(self.classes):
            raise ModelError(
                f"{of} gives scores of shape {list(scores.shape)}; one probability for each of the "
                f"{len(self.classes)} classes was expected."
            )
        scores = scores.astype(np.float64)
        inside = np.all((scores >= 0) & (scores <= 1), axis=1)
        sums = scores.sum(axis=1)
        bad = np.flatnonzero(~(inside & (np.abs(sums - 1) <= SUM_TOLERANCE)))
        if len(bad):
            row = scores[bad[0]]
            told = f"its probabilities sum to {row.sum():.6g}" if inside[bad[0]] else f"it has {_no_probability(row)}"
            raise ModelError(
                f"{of} gives no distribution over the classes for {len(bad)} of {len(scores)} rows; "
                f"the first is row {bad[0]}: {told}.",
                hint="look at the transforms of model.json: infinite or missing inputs must be imputed or clipped",
            )
        even: Scores = scores / sums[:, None]
        return even

    def measure(self, labels: Labels, scores: Scores, threshold: float | None) -> dict[str, Any]:
        from sklearn import metrics as sk

        called, known = scores.argmax(axis=1), range(len(self.classes))
        of_class = sk.precision_recall_fscore_support(labels, called, labels=known, zero_division=0)
        precision, recall, f1, support = (part.tolist() for part in of_class)
        counted = self._counted(labels, 1)
        return {
            "rows": len(labels),
            **{name: self.value(name, labels, scores) for name in ("accuracy", "log_loss", "roc_auc_ovr")},
            "balanced_accuracy": rounded(sum(recall[one] for one in counted) / len(counted)),
            "f1_macro": rounded(sum(f1[one] for one in counted) / len(counted)),
            "by_class": [
                {
                    "class": name,
                    "rows": support[place],
                    "called": int((called == place).sum()),
                    "mean_score": rounded(scores[:, place].mean()),
                    "precision": rounded(precision[place]),
                    "recall": rounded(recall[place]),
                    "roc_auc": rounded(sk.roc_auc_score(labels == place, scores[:, place]))
                    if place in counted
                    else None,
                }
                for place, name in enumerate(self.classes)
            ],
        }

    def value(self, metric: str, labels: Labels, scores: Scores) -> float:
        from sklearn import metrics as sk

        if metric == "accuracy":
            return rounded(sk.accuracy_score(labels, scores.argmax(axis=1)))
        if metric == "log_loss":
            return rounded(sk.log_loss(labels, scores, labels=range(len(self.classes))))
        counted = self._counted(labels, self._least(labels))
        each = [sk.roc_auc_score(labels == one, scores[:, one]) for one in counted]
        return rounded(sum(each) / len(each))

    def _least(self, labels: Labels) -> int:
        """Fewest rows of a class that counts in the mean ROC AUC: few say nothing where many others say much."""
        many = len(self._counted(labels, SLICE_CLASS_ROWS)) > 1
        return SLICE_CLASS_ROWS if many else 1

    def _counted(self, labels: Labels, least: int) -> list[int]:
        """Classes with at least so many rows."""
        import numpy as np

        counts = np.bincount(labels, minlength=len(self.classes))
        return [place for place, count in enumerate(counts.tolist()) if count >= least]

    def gain(
        self, metric: str, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        if metric == "roc_auc_ovr":
            counted = self._counted(labels, self._least(labels))
            return paired.macro_auc_gain(labels, challenger, champion, days, classes=counted, confidence=confidence)
        if metric == "log_loss":
            losses = paired.class_log_losses(labels, champion) - paired.class_log_losses(labels, challenger)
        else:
            ours, theirs = (scores.argmax(axis=1) == labels for scores in (challenger, champion))
            losses = ours.astype(float) - theirs
        return paired.mean_gain(losses, days, confidence=confidence)

    def calibration_gain(
        self, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        """Of confidence: the highest probability against how often that class is right."""
        theirs, ours = (paired.calibration_losses(*_confidence(labels, one)) for one in (champion, challenger))
        return paired.mean_gain(theirs - ours, days, confidence=confidence)

    def guess(self, train_labels: Labels, labels: Labels) -> dict[str, Any]:
        import numpy as np

        counts = np.bincount(train_labels, minlength=len(self.classes))
        shares = np.tile(counts / counts.sum(), (len(labels), 1))
        return {
            "class": self.classes[int(counts.argmax())],
            "accuracy": self.value("accuracy", labels, shares),
            "log_loss": self.value("log_loss", labels, shares),
            "roc_auc_ovr": 0.5,
        }

    def single_feature(self, train: pd.DataFrame, holdout: pd.DataFrame, features: Features, metric: str) -> Fallback:
        import numpy as np

        wanted = np.eye(len(self.classes))[train["__label"].to_numpy(np.int64)]
        return baselines.best_single_rule(train, holdout, features, self, metric, wanted=wanted)

    def required_rows(self, labels: Labels, of_each: int, trained: Labels) -> Iterator[tuple[int, int, str]]:
        import numpy as np

        counts = np.bincount(labels, minlength=len(self.classes))
        for place in np.unique(trained).tolist():
            yield int(counts[place]), of_each, f"rows of class {self.classes[place]}"

    def is_large(self, labels: Labels) -> bool:
        return len(labels) >= SLICE_ROWS and len(self._counted(labels, SLICE_CLASS_ROWS)) > 1

    def about(self, labels: Labels) -> dict[str, Any]:
        import numpy as np

        counts = np.bincount(labels, minlength=len(self.classes)).tolist()
        return {"classes": dict(zip(self.classes, counts, strict=True))}

    def drawings(self, challenger: Judged, champion: Judged | None, single: Scores) -> Drawings:
        return {
            "classes": list(self.classes),
            "confusion": {
                "challenger": self._confusion(challenger),
                "champion": None if champion is None else self._confusion(champion),
            },
            "calibration": {
                "challenger": metrics.calibration(*_confidence(challenger.labels, challenger.scores)),
                "champion": None
                if champion is None
                else metrics.calibration(*_confidence(champion.labels, champion.scores)),
            },
        }

    def _confusion(self, judged: Judged) -> list[list[int]]:
        """Rows by class and by called class."""
        from sklearn.metrics import confusion_matrix

        called = judged.scores.argmax(axis=1)
        found: list[list[int]] = confusion_matrix(judged.labels, called, labels=range(len(self.classes))).tolist()
        return found


def _confidence(labels: Labels, scores: Scores) -> tuple[Labels, Scores]:
    """Whether the most probable class is right, and its probability; each of shape [rows]."""
    return (scores.argmax(axis=1) == labels).astype(int), scores.max(axis=1)


def _no_probability(row: Scores) -> str:
    import numpy as np

    place = int(np.flatnonzero(~((row >= 0) & (row <= 1)))[0])
    return f"{row[place]} for class number {place + 1}"
