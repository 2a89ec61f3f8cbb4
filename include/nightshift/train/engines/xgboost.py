"""Gradient-boosted trees by xgboost, on one machine."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from nightshift.model.booster import predict
from nightshift.model.heads.booster import BoosterHead
from nightshift.spec.models import Label, Training
from nightshift.spec.parameters import Value
from nightshift.spec.xgboost_params import OBJECTIVES
from nightshift.train.engines import Fitted
from nightshift.train.engines.xgboost_faults import parameters_blamed
from nightshift.train.threshold import Ranking, threshold_of
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np
    import xgboost

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

PROGRESS_LINES = 8
DEFAULT_TREES = 100
# What is logged while an objective is learned.
LOSSES = {
    "binary:logistic": "logloss",
    "multi:softprob": "mlogloss",
    "reg:squarederror": "rmse",
    "reg:absoluteerror": "mae",
    "reg:pseudohubererror": "mphe",
}


class XGBoost:
    """The histogram method on quantised features; same rows, parameters, seed and threads give the same trees."""

    name = "xgboost"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``."""
        import xgboost

        features, labels = window.arrays()
        task = window.label.task
        window.announce(self.name, described(window.label, labels), f"{threads} threads")
        began = time.monotonic()
        params = params_of(training)
        fixed = fixed_of(window.label, training)
        trees = int(params["n_estimators"])
        matrix = xgboost.QuantileDMatrix(features, labels, max_bin=int(params.get("max_bin", 256)), nthread=threads)
        del features  # the matrix has them in bins, of a byte or two; nobody looks at the numbers again
        watch = _watch(matrix, trees, str(fixed["eval_metric"]), keep=task == "binary")
        with parameters_blamed():
            booster = xgboost.train(
                {
                    **{name: value for name, value in params.items() if name != "n_estimators"},
                    **fixed,
                    "seed": training.seed,
                    "nthread": threads,
                    "verbosity": 0,
                },
                matrix,
                num_boost_round=trees,
                callbacks=[watch],
            )
        return fitted(
            booster,
            window,
            training,
            scores=predict(booster, asked, threads=threads),
            threshold=threshold_of(training, lambda: Ranking.of(labels, watch.probabilities))
            if task == "binary"
            else None,
            seconds=time.monotonic() - began,
        )


def fitted(
    booster: xgboost.Booster,
    window: TrainingWindow,
    training: Training,
    *,
    scores: Array,
    threshold: float | None,
    seconds: float,
) -> Fitted:
    """What every engine of this name gives back, wherever it trained."""
    import xgboost

    return Fitted(
        head=BoosterHead(booster, window.label.task, window.width, len(window.label.classes)),
        scores=scores,
        artifacts={"booster.ubj": bytes(booster.save_raw("ubj"))},
        engine_version=xgboost.__version__,
        params=params_of(training),
        size=f"{booster.num_boosted_rounds()} trees",
        importances=gains_of(booster, window.width),
        threshold=threshold,
        seconds=seconds,
    )


def params_of(training: Training) -> dict[str, Value]:
    """The spec's parameters, with the number of trees."""
    return {"n_estimators": DEFAULT_TREES, **training.params}


def fixed_of(label: Label, training: Training) -> dict[str, Value]:
    """What follows from the task; every engine of this name trains with the same."""
    objective = str(training.params.get("objective", OBJECTIVES[label.task][0]))
    fixed: dict[str, Value] = {"objective": objective, "eval_metric": LOSSES[objective], "tree_method": "hist"}
    return {**fixed, "num_class": len(label.classes)} if label.task == "multiclass" else fixed


def described(label: Label, labels: Array | int) -> str:
    """What is learned, for the log; of two classes, from the labels or from how many of them are positive."""
    if label.task == "binary":
        return f"{labels if isinstance(labels, int) else int(labels.sum())} positive"
    return f"{len(label.classes)} classes" if label.task == "multiclass" else f"{label.column} as a number"


def is_told(round_: int, trees: int) -> bool:
    """Whether the loss after this round, counted from 1, is worth a line of the log."""
    return round_ % max(1, trees // PROGRESS_LINES) == 0 or round_ == trees


def _watch(matrix: xgboost.QuantileDMatrix, trees: int, loss_name: str, *, keep: bool) -> Any:
    """A callback that logs the training loss a few times and, to ``keep``, the last probabilities.

    Asking for the loss in every round would cost a noticeable share of the training. The probabilities are
    taken before training ends because xgboost still has them then, and would compute them again afterwards.
    """
    from xgboost.callback import TrainingCallback

    class Watch(TrainingCallback):  # type: ignore[misc]
        probabilities: Array

        def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: object) -> bool:
            if is_told(epoch + 1, trees):
                loss = float(model.eval(matrix, "train", epoch).rpartition(":")[2])
                log.info("train: round %d/%d %s %.5f", epoch + 1, trees, loss_name, loss)
            return False

        def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
            if keep:
                self.probabilities = model.predict(matrix)
            return model

    return Watch()


def gains_of(booster: xgboost.Booster, width: int) -> Array:
    """Total gain by place in the vector; a feature that no split uses has 0."""
    import numpy as np

    gains = np.zeros(width)
    for name, gain in booster.get_score(importance_type="total_gain").items():
        gains[int(name.removeprefix("f"))] = gain
    return gains
