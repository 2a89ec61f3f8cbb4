"""Training engines, one file each, behind one Protocol; with what a class of one's own needs from Nightshift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.model.heads import Head
from nightshift.model.heads.onnx_model import OnnxModelHead
from nightshift.spec.engines import is_own
from nightshift.spec.models import Training
from nightshift.spec.parameters import OneOf, Parameters, Real, Value, Whole
from nightshift.train.threshold import Ranking, threshold_of
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = [
    "Engine",
    "Fitted",
    "Head",
    "OneOf",
    "OnnxModelHead",
    "Parameters",
    "Ranking",
    "Real",
    "Training",
    "TrainingWindow",
    "Whole",
    "engine_of",
    "threshold_of",
]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What an engine gives back.

    Attributes:
        head: What was learned, as the end of an ONNX graph.
        scores: What it says of the vectors that were asked about, by the library that trained it: ``[M]``, or
            ``[M, K]`` for K classes, float32. The graph has to say the same.
        artifacts: The model in the library's own format, for people and their tools: bytes by file name; equal
            for equal inputs where the engine promises that.
        engine_version: Version of the library that trained.
        params: The parameters it was trained with, defaults of this package included.
        size: How large it is, in a few words: ``200 trees``.
        importances: What each feature contributed, ``[F]``, in the library's own unit; None where it has none.
        threshold: Probability from which a row is positive, a float32: the spec's, or found on the training rows;
            None where the label is not binary.
        seconds: How long the training itself took, after reading.
    """

    head: Head
    scores: Array
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    engine_version: str
    params: Mapping[str, Value]
    size: str
    importances: Array | None = None
    threshold: float | None = None
    seconds: float


class Engine(Protocol):
    """Something that learns a probability, the probabilities of classes, or a number.

    A class of one's own may have an attribute ``parameters``, an object such as ``Parameters``: what ``params`` of a
    spec may be. A night's first job asks it.
    """

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train.

        Args:
            window: The rows to learn from; missing is NaN.
            training: The spec's section.
            threads: Threads of this process; part of what makes the result reproducible.
            asked: Vectors to score with what was learned, ``[M, F]`` float32.

        Raises:
            DataError: The window cannot be learned from.
            SpecError: The engine cannot do what the section asks for.
            JobError: What the engine runs on failed; another try may succeed.
        """
        ...


def engine_of(training: Training) -> Engine:
    """The engine that a spec names, for as many workers as it names.

    Raises:
        SpecError: It is a class of one's own that cannot be used here.
    """
    if is_own(training.engine):
        from nightshift.train.engines.own import OwnEngine

        return OwnEngine.of(training.engine)
    from nightshift.train.engines.spark_ml import SparkML
    from nightshift.train.engines.torch import Torch
    from nightshift.train.engines.torch_spark import TorchOnSpark
    from nightshift.train.engines.xgboost import XGBoost
    from nightshift.train.engines.xgboost_spark import XGBoostOnSpark

    alone = training.worker_count == 1
    engines: dict[str, Engine] = {
        "spark_ml": SparkML(),
        "torch": Torch() if alone else TorchOnSpark(),
        "xgboost": XGBoost() if alone else XGBoostOnSpark(),
    }
    return engines[training.engine]
