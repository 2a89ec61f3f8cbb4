"""Do two ways to score the same rows agree? By task: probabilities, probabilities of classes, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ParityError
from nightshift.spec.values import Task

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far two sets of scores are apart.

    Attributes:
        rows: Rows compared.
        max_diff: Largest ``|a - b|``; infinite where either is not a number.
        beyond: Rows with ``|a - b| > 1e-5 * max(1, |a|)``.
        label_mismatches: Rows whose labels differ although ``a`` is further than that from the threshold, or from a
            tie of the two classes; 0 for regression.
        worst_row: The row with the largest difference, for regression as a share of what is allowed; None without
            rows.
        threshold: Probability from which a row is positive; None where the label is not binary.
    """

    rows: int
    max_diff: float
    beyond: int
    label_mismatches: int
    worst_row: int | None
    threshold: float | None

    @property
    def holds(self) -> bool:
        return self.beyond == 0 and self.label_mismatches == 0

    def require(self, what: str = "the ONNX graph and the trained model") -> Parity:
        """The same object, if the two sides agree.

        Raises:
            ParityError: They do not.
        """
        if self.holds:
            return self
        raise ParityError(
            f"{what} disagree: {self.beyond} of {self.rows} rows differ by more than {TOLERANCE:g} "
            f"(largest difference {self.max_diff:.3g}, row {self.worst_row}), "
            f"{self.label_mismatches} labels differ"
            + (f" at threshold {self.threshold:.6g}." if self.threshold is not None else "."),
            hint="the model must not ship; compare that row's vector from Spark with the graph's own features",
        )


def compare(
    a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], *, task: Task = "binary", threshold: float | None = None
) -> Parity:
    """Compare two sets of scores of the same rows.

    Args:
        a: The reference: ``[N]``, for multiclass ``[N, K]``.
        b: The other side, as many.
        task: What the scores are.
        threshold: For binary, probability from which a row is positive.

    Raises:
        ParityError: The two sides have different numbers of rows, or not the form of the task.
    """
    import numpy as np

    if a.shape != b.shape or a.ndim != (2 if task == "multiclass" else 1):
        raise ParityError(f"two ways to score the same rows gave shapes {list(a.shape)} and {list(b.shape)}.")
    left, right = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    difference[~np.isfinite(difference)] = np.inf
    allowed = TOLERANCE * np.maximum(1.0, np.nan_to_num(np.abs(left), nan=0.0, posinf=0.0, neginf=0.0))
    # Of a row: how far beyond what is allowed its worst score is.
    excess = difference / allowed
    if task == "multiclass":
        difference, excess = difference.max(axis=1, initial=0.0), excess.max(axis=1, initial=0.0)
    return Parity(
        rows=len(left),
        max_diff=float(difference.max(initial=0.0)),
        beyond=int((excess > 1).sum()),
        label_mismatches=_mismatches(left, right, task, threshold),
        worst_row=int(excess.argmax()) if len(left) else None,
        threshold=None if threshold is None else float(threshold),
    )


def _mismatches(left: Array, right: Array, task: Task, threshold: float | None) -> int:
    """Rows that are called otherwise, although the reference is not near to where a call changes."""
    import numpy as np

    if task == "regression" or not len(left):
        return 0
    if task == "multiclass":
        rows = np.arange(len(left))
        ours, theirs = left.argmax(axis=1), right.argmax(axis=1)
        return int((left[rows, ours] - left[rows, theirs] > TOLERANCE).sum())
    assert threshold is not None, "binary labels are called at a threshold"
    return int((((left >= threshold) != (right >= threshold)) & (np.abs(left - threshold) > TOLERANCE)).sum())
