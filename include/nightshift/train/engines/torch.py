"""A tabular network by PyTorch, in this process."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from nightshift.spec.models import Training
from nightshift.spec.torch_params import DEFAULTS
from nightshift.train.engines import Fitted
from nightshift.train.engines.xgboost import described
from nightshift.train.network import Network, Recipe, learn
from nightshift.train.ranks import Alone
from nightshift.train.threshold import Ranking, threshold_of
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

ARTIFACT = "network.pt"
# Below so many numbers in the output of a layer a second thread costs more than it brings (docs/training.md).
WORTH_THREADS = 1 << 20


class Torch:
    """A feed-forward network; on one machine without a GPU, the same rows, parameters, seed and threads give the
    same weights.
    """

    name = "torch"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``."""
        features, labels = window.arrays()
        recipe = recipe_of(window, training, rows=len(features))
        used = threads_for(recipe, threads)
        window.announce(self.name, described(window.label, labels), f"{used} threads")
        began = time.monotonic()
        network = learn(recipe, features, labels, ranks=Alone(), threads=used, checkpoints=window.checkpoints)
        threshold = None
        if window.label.task == "binary":
            threshold = threshold_of(training, lambda: Ranking.of(labels, network.scores(features)))
        return fitted(network, scores=network.scores(asked), threshold=threshold, seconds=time.monotonic() - began)


def recipe_of(window: TrainingWindow, training: Training, *, rows: int) -> Recipe:
    """What a spec asks for, of so many rows."""
    return Recipe(
        task=window.label.task,
        classes=len(window.label.classes),
        params={**DEFAULTS, **training.params},
        seed=training.seed,
        rows=rows,
    )


def threads_for(recipe: Recipe, threads: int) -> int:
    """As many of the threads as the size of the layers is worth."""
    numbers = int(recipe.params["batch_size"]) * int(recipe.params["hidden_width"])
    return threads if numbers >= WORTH_THREADS else 1


def fitted(network: Network, *, scores: Array, threshold: float | None, seconds: float) -> Fitted:
    """What both engines of this name give back."""
    import torch

    params = network.recipe.params
    return Fitted(
        head=network.head(),
        scores=scores,
        artifacts={ARTIFACT: network.to_bytes()},
        engine_version=torch.__version__,
        params=params,
        size=f"{params['hidden_layers']} hidden layers of {params['hidden_width']}, {params['epochs']} epochs",
        importances=None,
        threshold=threshold,
        seconds=seconds,
    )
