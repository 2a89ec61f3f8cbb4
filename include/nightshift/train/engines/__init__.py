"""Training engines, one file each, behind one Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.spec.models import Training

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
        probabilities: Of the positive class, for the training rows, ``[N]`` float32.
    """

    booster: xgboost.Booster
    data: bytes
    engine_version: str
    params: dict[str, int | float | str | bool]
    trees: int
    gains: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any]


class Engine(Protocol):
    """Something that learns a probability."""

    name: str

    def fit(
        self, features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], training: Training, *, threads: int
    ) -> Fitted:
        """Train.

        Args:
            features: ``[N, F]`` float32; missing is NaN.
            labels: ``[N]`` of 0 and 1, both present.
            training: The spec's section.
            threads: Threads to use; part of what makes the result reproducible.

        Raises:
            SpecError: The engine does not take these parameters.
        """
        ...


def engine_of(training: Training) -> Engine:
    """The engine that a spec names."""
    from nightshift.train.engines.xgboost import XGBoost

    engines: dict[str, Engine] = {"xgboost": XGBoost()}
    return engines[training.engine]
