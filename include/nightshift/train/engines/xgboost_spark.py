"""Gradient-boosted trees by xgboost, on several workers at once: the tasks of one Spark application.

The rows never come to this process. A worker gets the rows whose key hashes to it, in the order of the key, so
the rows, their order and the worker they go to depend on nothing but the table and the number of workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, IntegrityError
from nightshift.model.booster import feature_matrix, load_booster, predict
from nightshift.spark import session
from nightshift.spec.models import Training
from nightshift.train.engines import Fitted
from nightshift.train.engines.xgboost import described, fixed_of, gains_of, is_told, params_of
from nightshift.train.slots import with_all_workers
from nightshift.train.threshold import Ranking, threshold_of
from nightshift.train.window import FEATURES, LABEL, TABLE, TrainingWindow

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, Row, SparkSession

log = logging.getLogger(__name__)

PROBABILITY = "probability"
# xgboost.spark stops working where a worker has no row at all.
ROWS_OF_A_WORKER = 100
# Rows whose probabilities begin with the same six decimals are not told apart when a threshold is looked for.
STEPS = 1_000_000


class XGBoostOnSpark:
    """``xgboost.spark`` with the histogram method; same rows, parameters, seed and workers give the same trees."""

    name = "xgboost"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int) -> Fitted:
        """Train; see ``Engine.fit``."""
        import xgboost

        if window.rows < training.workers * ROWS_OF_A_WORKER:
            raise DataError(
                f"the training window has {window.rows} rows, too few for {training.workers} workers: "
                f"each needs about {ROWS_OF_A_WORKER}.",
                hint="set training.workers to 1",
            )
        with session(
            window.title, threads=threads, scratch=window.scratch, rows=window.rows, storage=window.root
        ) as spark:
            # Spark would compute the workers' shares twice: once only to count them.
            spark.conf.set("spark.sql.adaptive.enabled", "false")
            rows = _read(spark, window)
            labels = _check_numbers(rows, window) if window.label.task == "regression" else _check(rows, window)
            window.announce(self.name, labels, f"{training.workers} workers")
            began = time.monotonic()
            booster = with_all_workers(spark, training.workers, lambda: _train(rows, window, training))
            data = bytes(booster.save_raw("ubj"))
            return Fitted(
                booster=booster,
                data=data,
                engine_version=xgboost.__version__,
                params=params_of(training),
                trees=booster.num_boosted_rounds(),
                gains=gains_of(booster, window.width),
                threshold=threshold_of(training, lambda: _ranking(rows, data, window.width))
                if window.label.task == "binary"
                else None,
                seconds=time.monotonic() - began,
            )


def _read(spark: SparkSession, window: TrainingWindow) -> DataFrame:
    """The table, once every file has proven to be the one that was published.

    Raises:
        IntegrityError: One is not.
    """
    from pyspark.errors import AnalysisException

    uris = window.store.uris(window.given, TABLE)
    published = {entry.path.rpartition("/")[2]: entry.sha256 for entry in window.files}
    hint = "restore it from a backup, or delete that version and run preprocess again"
    try:
        files = spark.read.format("binaryFile").load(uris)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        gone = (error.getMessageParameters() or {}).get("path", "a file")
        raise IntegrityError(f"{gone} is gone; {window.given.ref} lists it.", hint=hint) from error
    digests = files.selectExpr("path", "sha2(content, 256) AS sha256").collect()
    found = {row["path"].rpartition("/")[2]: row["sha256"] for row in digests}
    if damaged := sorted(name for name, sha256 in published.items() if found.get(name) != sha256):
        raise IntegrityError(
            f"{len(damaged)} of {len(published)} files of the training window have other bytes than were published; "
            f"{window.given.ref} lists {damaged[0]}.",
            hint=hint,
        )
    return spark.read.parquet(*uris)


def _check(rows: DataFrame, window: TrainingWindow) -> str:
    """Demand what native training demands, and that the workers read what was published; gives words for the log.

    Raises:
        DataError: The window cannot be learned from.
    """
    told = rows.groupBy(LABEL).agg(*_facts()).collect()
    counts = {int(row[LABEL]): int(row["rows"]) for row in told if row[LABEL] is not None}
    window.check_classes(counts, unlabelled=sum(row["rows"] for row in told if row[LABEL] is None))
    _check_vectors(told, window)
    return described(window.label, counts[1])


def _check_numbers(rows: DataFrame, window: TrainingWindow) -> str:
    """The same where numbers are learned.

    Raises:
        DataError: The window cannot be learned from.
    """
    import math

    from pyspark.sql.functions import col, count_if, max, min

    [told] = rows.agg(
        *_facts(),
        count_if(col(LABEL).isNull()).alias("unlabelled"),
        min(LABEL).alias("smallest"),
        max(LABEL).alias("largest"),
    ).collect()
    smallest = math.inf if told["smallest"] is None else told["smallest"]
    largest = -math.inf if told["largest"] is None else told["largest"]
    window.check_numbers(smallest, largest, unlabelled=told["unlabelled"])
    _check_vectors([told], window)
    return described(window.label, 0)


def _check_vectors(told: Sequence[Row], window: TrainingWindow) -> None:
    """Raises DataError: Not every vector has the width of the window."""
    nulls = sum(row["nulls"] for row in told)
    least, most = min(row["least"] for row in told), max(row["most"] for row in told)
    if nulls or (least, most) != (window.width, window.width):
        raise DataError(
            f"vectors of {window.width} numbers were expected, but their lengths go from {least} to {most}, "
            f"and {nulls} are null."
        )


def _facts() -> list[Any]:
    from pyspark.sql.functions import coalesce, col, count, count_if, lit, max, min, size

    length = coalesce(size(col(FEATURES)), lit(0))
    return [
        count("*").alias("rows"),
        count_if(col(FEATURES).isNull()).alias("nulls"),
        min(length).alias("least"),
        max(length).alias("most"),
    ]


def _train(rows: DataFrame, window: TrainingWindow, training: Training) -> Any:
    """The booster; its loss is logged when the training is over, because only then it reaches this process."""
    from pyspark.sql.functions import col
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    for name in ("XGBoost-PySpark", "SparkXGBClassifier", "SparkXGBRegressor"):
        # xgboost.spark would print its parameters, on several lines.
        logging.getLogger(name).setLevel(logging.WARNING)
    key = [col(f"`{name}`") for name in window.key]
    shares = rows.select(col(FEATURES), col(LABEL).cast("float").alias(LABEL), *key)
    shares = shares.repartition(training.workers, *key).sortWithinPartitions(*key)
    regression = window.label.task == "regression"
    fixed = fixed_of(window.label, training)
    # A classifier of xgboost.spark chooses these itself, by the labels that there are: check_classes saw all of them.
    own = () if regression else ("objective", "num_class")
    estimator = (SparkXGBRegressor if regression else SparkXGBClassifier)(
        features_col=FEATURES,
        label_col=LABEL,
        num_workers=training.workers,
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


def _ranking(rows: DataFrame, booster: bytes, width: int) -> Ranking:
    """The training rows by probability: at most a million groups come to this process, however many rows there are."""
    import numpy as np
    from pyspark.sql.functions import col, count, floor, max, min, sum

    scored = rows.select(FEATURES, LABEL).mapInArrow(_scorer(booster, width), f"{LABEL} tinyint, {PROBABILITY} float")
    grouped = scored.groupBy(floor(col(PROBABILITY).cast("double") * STEPS).alias("step")).agg(
        max(PROBABILITY).alias("highest"),
        min(PROBABILITY).alias("lowest"),
        count("*").alias("rows"),
        sum(LABEL).alias("positives"),
    )
    table = grouped.toArrow().sort_by([("step", "descending")])
    columns = {name: table.column(name).to_numpy() for name in ("highest", "lowest", "rows", "positives")}
    return Ranking(**{name: np.ascontiguousarray(values) for name, values in columns.items()})


def _scorer(data: bytes, width: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What an executor's Python process does with its rows."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        booster = load_booster(data)
        for batch in batches:
            features = feature_matrix(pa.chunked_array([batch.column(FEATURES)]), width)
            probabilities = pa.array(predict(booster, features), pa.float32())
            yield pa.RecordBatch.from_arrays([batch.column(LABEL), probabilities], names=[LABEL, PROBABILITY])

    return score
