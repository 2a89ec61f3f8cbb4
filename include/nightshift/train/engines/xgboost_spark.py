"""Gradient-boosted trees by xgboost, on several workers at once: the tasks of one Spark application.

The rows never come to this process. A worker gets the rows whose key hashes to it, in the order of the key, so
the rows, their order and the worker they go to depend on nothing but the table and the number of workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.model.booster import load_booster, predict
from nightshift.spark import session
from nightshift.spec.models import Training
from nightshift.train.engines import Fitted
from nightshift.train.engines.xgboost import described, fitted, fixed_of, is_told, params_of
from nightshift.train.slots import with_all_workers
from nightshift.train.spark_rows import check_rows, ranking_by, read
from nightshift.train.threshold import threshold_of
from nightshift.train.window import FEATURES, LABEL, TrainingWindow

if TYPE_CHECKING:
    import numpy as np
    from pyspark.sql import DataFrame

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

# xgboost.spark stops working where a worker has no row at all.
ROWS_OF_A_WORKER = 100


class XGBoostOnSpark:
    """``xgboost.spark`` with the histogram method; same rows, parameters, seed and workers give the same trees."""

    name = "xgboost"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``."""
        if window.rows < training.worker_count * ROWS_OF_A_WORKER:
            raise DataError(
                f"{window.named} has {window.rows} rows, too few for {training.worker_count} workers: "
                f"each needs about {ROWS_OF_A_WORKER}.",
                hint="set training.workers to 1",
            )
        with session(
            window.title, threads=threads, scratch=window.scratch, rows=window.rows, storage=window.root
        ) as spark:
            # Spark would compute the workers' shares twice: once only to count them.
            spark.conf.set("spark.sql.adaptive.enabled", "false")
            rows = read(spark, window)
            positives = check_rows(rows, window)
            window.announce(self.name, described(window.label, positives), f"{training.worker_count} workers")
            began = time.monotonic()
            booster = with_all_workers(spark, training.worker_count, lambda: _train(rows, window, training))
            data = bytes(booster.save_raw("ubj"))
            return fitted(
                booster,
                window,
                training,
                scores=predict(booster, asked, threads=threads),
                threshold=threshold_of(training, lambda: ranking_by(rows, window.width, partial(_scores_of, data)))
                if window.label.task == "binary"
                else None,
                seconds=time.monotonic() - began,
            )


def _train(rows: DataFrame, window: TrainingWindow, training: Training) -> Any:
    """The booster; its loss is logged when the training is over, because only then it reaches this process."""
    from pyspark.sql.functions import col
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    for name in ("XGBoost-PySpark", "SparkXGBClassifier", "SparkXGBRegressor"):
        # xgboost.spark would print its parameters, on several lines.
        logging.getLogger(name).setLevel(logging.WARNING)
    key = [col(f"`{name}`") for name in window.key]
    shares = rows.select(col(FEATURES), col(LABEL).cast("float").alias(LABEL), *key)
    shares = shares.repartition(training.worker_count, *key).sortWithinPartitions(*key)
    regression = window.label.task == "regression"
    fixed = fixed_of(window.label, training)
    # A classifier of xgboost.spark chooses these itself, by the labels that there are: check_classes saw all of them.
    own = () if regression else ("objective", "num_class")
    estimator = (SparkXGBRegressor if regression else SparkXGBClassifier)(
        features_col=FEATURES,
        label_col=LABEL,
        num_workers=training.worker_count,
        # With the workers, so that a training that Spark starts again has a new one.
        launch_tracker_on_driver=False,
        random_state=training.seed,
        verbosity=0,
        verbose=False,
        **{name: value for name, value in {**params_of(training), **fixed}.items() if name not in own},
    )
    model = estimator.fit(shares)
    losses = model.training_summary.train_objective_history[fixed["eval_metric"]]
    for number, loss in enumerate(losses, 1):
        if is_told(number, len(losses)):
            log.info("train: round %d/%d %s %.5f", number, len(losses), fixed["eval_metric"], loss)
    return model.get_booster()


def _scores_of(booster: bytes) -> Callable[[Array], Array]:
    """What an executor's Python process scores its rows with."""
    return partial(predict, load_booster(booster))
