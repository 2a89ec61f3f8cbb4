"""The seam between the gate and the kinds of label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.evaluate.paired import Difference
from nightshift.spec import values
from nightshift.spec.models import Features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Labels = NDArray[Any]
    Days = NDArray[np.integer[Any]]

Drawings = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """Labels and what a model says of them.

    Attributes:
        labels: As preprocess stores them: 0 or 1, the place of a class, or a number; shape [rows].
        scores: float64: probabilities, shape [rows]; of each class, shape [rows, classes]; or values, shape [rows].
    """

    labels: Labels
    scores: Scores


@dataclass(frozen=True)
class Fallback:
    """The best that one feature alone can do.

    Attributes:
        evidence: Its name, and its metrics on the holdout.
        answers: What it says of the holdout's rows: a ranking, probabilities or values; shapes as of ``Judged``.
    """

    evidence: dict[str, Any]
    answers: Scores


class Task(Protocol):
    """One kind of label. Scores are as in ``Judged``; a metric is one that ``measure`` gives."""

    @property
    def name(self) -> values.Task:
        """As in ``label.task``."""

    def require_labels(self, labels: Labels, *, of: str) -> None:
        """Raises DataError: Nothing can be judged on these labels."""

    def require_scores(self, scores: Scores, *, of: str) -> Scores:
        """Scores as float64.

        Args:
            scores: What a model gave, float32.
            of: The model, for the message.

        Raises:
            ModelError: No model that works gives such scores.
        """

    def measure(self, labels: Labels, scores: Scores, threshold: float | None) -> dict[str, Any]:
        """Every metric of one model; ``threshold`` is for binary labels, from which on a row is called positive."""

    def value(self, metric: str, labels: Labels, scores: Scores) -> float:
        """One of the metrics that may decide, rounded."""

    def gain(
        self, metric: str, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        """What the challenger gains over the champion in a metric that may decide, or must not be worse."""

    def calibration_gain(
        self, labels: Labels, challenger: Scores, champion: Scores, days: Days, *, confidence: float
    ) -> Difference:
        """What it gains in calibration, or in bias."""

    def guess(self, train_labels: Labels, labels: Labels) -> dict[str, Any]:
        """Metrics of the best constant answer, learned from the training labels, on the holdout's."""

    def single_feature(self, train: pd.DataFrame, holdout: pd.DataFrame, features: Features, metric: str) -> Fallback:
        """The best that one feature alone can do; nothing is chosen on the holdout.

        Args:
            train: The features and ``__label`` of the training window.
            holdout: The same columns of the holdout.
            features: Names of numeric and categorical features.
            metric: The one that chooses the feature.
        """

    def required_rows(self, labels: Labels, of_each: int, trained: Labels) -> Iterator[tuple[int, int, str]]:
        """Rows by class that a comparison takes: found, needed, and of what.

        Args:
            labels: Of the rows that both are judged on.
            of_each: Fewest rows of a class.
            trained: Labels of the training window.
        """

    def is_large(self, labels: Labels) -> bool:
        """Whether a slice with these labels has enough rows to be judged."""

    def about(self, labels: Labels) -> dict[str, Any]:
        """What there is to say of the labels, for people: how many of each class, or around which value."""

    def drawings(self, challenger: Judged, champion: Judged | None, single: Scores) -> Drawings:
        """What the report draws, as plain numbers.

        Args:
            challenger: The holdout.
            champion: The rows that both were judged on; None where there is no champion to compare.
            single: What the best single feature says of the holdout.
        """
