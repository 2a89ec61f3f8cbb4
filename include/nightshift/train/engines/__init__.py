"""Training engines, one file each, behind one Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.spec.models import Training
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np
    import xgboost


@dataclass(frozen=True)
class Fitted:
    """What an engine gives back.

    Attributes:
        booster: The trained trees.
        data: The same as bytes; equal for equal inputs.
        engine_version: Version of the library that trained.
        params: The parameters it was trained with, defaults of this package included.
        trees: Number of trees.
        gains: Total gain of every feature, ``[F]``.
        threshold: Probability from which a row is positive, a float32: the spec's, or found on the training rows;
            None where the label is not binary.
        seconds: How long the training itself took, after reading.
    """

    booster: xgboost.Booster
    data: bytes
    engine_version: str
    params: dict[str, int | float | str | bool]
    trees: int
    gains: np.ndarray[Any, Any]
    threshold: float | None
    seconds: float


class Engine(Protocol):
    """Something that learns a probability, the probabilities of classes, or a number."""

    name: str

    def fit(self, window: TrainingWindow, training: Training, *, threads: int) -> Fitted:
        """Train.

        Args:
            window: The rows to learn from; missing is NaN.
            training: The spec's section.
            threads: Threads of this process; part of what makes the result reproducible.

        Raises:
            DataError: The window cannot be learned from.
            SpecError: The engine cannot do what the section asks for.
            JobError: What the engine runs on failed; another try may succeed.
        """
        ...


def engine_of(training: Training) -> Engine:
    """The engine that a spec names, for as many workers as it names."""
    from nightshift.train.engines.xgboost import XGBoost
    from nightshift.train.engines.xgboost_spark import XGBoostOnSpark

    engines: dict[str, Engine] = {"xgboost": XGBoost() if training.workers == 1 else XGBoostOnSpark()}
    return engines[training.engine]
