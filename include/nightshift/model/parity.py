"""Do two ways to score the same rows agree?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ParityError

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far two sets of probabilities are apart.

    Attributes:
        rows: Rows compared.
        max_diff: Largest ``|a - b|``; infinite where either is not a number.
        beyond: Rows with ``|a - b| > 1e-5 * max(1, |a|)``.
        label_mismatches: Rows whose labels differ although ``a`` is further than that from the threshold.
        worst_row: The row with the largest difference; None without rows.
        threshold: Probability from which a row is positive.
    """

    rows: int
    max_diff: float
    beyond: int
    label_mismatches: int
    worst_row: int | None
    threshold: float

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
            f"{self.label_mismatches} labels differ at threshold {self.threshold:.6g}.",
            hint="the model must not ship; compare that row's vector from Spark with the graph's own features",
        )


def compare(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], *, threshold: float) -> Parity:
    """Compare two sets of probabilities of the same rows.

    Args:
        a: The reference, ``[N]``.
        b: The other side, ``[N]``.
        threshold: Probability from which a row is positive.

    Raises:
        ParityError: The two sides have different numbers of rows.
    """
    import numpy as np

    if a.shape != b.shape or a.ndim != 1:
        raise ParityError(f"two ways to score the same rows gave shapes {list(a.shape)} and {list(b.shape)}.")
    left, right = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    difference[~np.isfinite(difference)] = np.inf
    allowed = TOLERANCE * np.maximum(1.0, np.nan_to_num(np.abs(left), nan=0.0, posinf=0.0))
    mismatched = ((left >= threshold) != (right >= threshold)) & (np.abs(left - threshold) > allowed)
    return Parity(
        rows=len(left),
        max_diff=float(difference.max(initial=0.0)),
        beyond=int((difference > allowed).sum()),
        label_mismatches=int(mismatched.sum()),
        worst_row=int(difference.argmax()) if len(left) else None,
        threshold=float(threshold),
    )
