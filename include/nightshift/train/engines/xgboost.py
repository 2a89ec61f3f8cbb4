"""Gradient-boosted trees by xgboost, on one machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nightshift.spec.models import Training
from nightshift.spec.xgboost_params import Value
from nightshift.train.engines import Fitted

if TYPE_CHECKING:
    import numpy as np
    import xgboost

log = logging.getLogger(__name__)

PROGRESS_LINES = 8
DEFAULT_TREES = 100


class XGBoost:
    """The histogram method on quantised features; same rows, parameters, seed and threads give the same trees."""

    name = "xgboost"

    def fit(
        self, features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], training: Training, *, threads: int
    ) -> Fitted:
        """Train; see ``Engine.fit``."""
        import xgboost

        params: dict[str, Value] = {"n_estimators": DEFAULT_TREES, **training.params}
        trees = int(params["n_estimators"])
        matrix = xgboost.QuantileDMatrix(features, labels, max_bin=int(params.get("max_bin", 256)), nthread=threads)
        watch = _watch(matrix, trees)
        booster = xgboost.train(
            {
                **{name: value for name, value in params.items() if name != "n_estimators"},
                "objective": "binary:logistic",
                "eval_metric": "logloss",
                "tree_method": "hist",
                "seed": training.seed,
                "nthread": threads,
                "verbosity": 0,
            },
            matrix,
            num_boost_round=trees,
            callbacks=[watch],
        )
        return Fitted(
            booster=booster,
            data=bytes(booster.save_raw("ubj")),
            engine_version=xgboost.__version__,
            params=params,
            trees=booster.num_boosted_rounds(),
            gains=_gains(booster, features.shape[1]),
            probabilities=watch.probabilities,
        )


def _watch(matrix: xgboost.QuantileDMatrix, trees: int) -> Any:
    """A callback that logs the training loss a few times and keeps the last probabilities.

    Asking for the loss in every round would cost a noticeable share of the training. The probabilities are
    taken before training ends because xgboost still has them then, and would compute them again afterwards.
    """
    from xgboost.callback import TrainingCallback

    every = max(1, trees // PROGRESS_LINES)

    class Watch(TrainingCallback):  # type: ignore[misc]
        probabilities: np.ndarray[Any, Any]

        def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: object) -> bool:
            if (epoch + 1) % every == 0 or epoch + 1 == trees:
                loss = float(model.eval(matrix, "train", epoch).rpartition(":")[2])
                log.info("train: round %d/%d logloss %.5f", epoch + 1, trees, loss)
            return False

        def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
            self.probabilities = model.predict(matrix)
            return model

    return Watch()


def _gains(booster: xgboost.Booster, width: int) -> np.ndarray[Any, Any]:
    """Total gain by place in the vector; a feature that no split uses has 0."""
    import numpy as np

    gains = np.zeros(width)
    for name, gain in booster.get_score(importance_type="total_gain").items():
        gains[int(name.removeprefix("f"))] = gain
    return gains
