"""Linear models and trees of Spark ML, learned by the tasks of one Spark application.

The rows never come to this process. They are shared out by the hash of their key and sorted by it, so what is learned
depends on the table and the number of portions, not on files or executors.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nightshift.model.heads import Head
from nightshift.model.heads.linear import LinearHead
from nightshift.model.heads.trees import TreesHead
from nightshift.plan import canonical_json
from nightshift.spark import session
from nightshift.spec.models import Label, Training
from nightshift.spec.parameters import Value
from nightshift.spec.spark_ml_params import ALLOWED, BOOSTED, BY_TASK, FOREST, LINEAR, LOGISTIC
from nightshift.spec.values import Task
from nightshift.train.engines import Fitted
from nightshift.train.engines.spark_trees import as_trees, nodes_of
from nightshift.train.engines.xgboost import described, is_told
from nightshift.train.feature_moments import Moments, moments_of
from nightshift.train.spark_rows import PROBABILITY, check_rows, ranking_of, read
from nightshift.train.spark_work import spark_work
from nightshift.train.threshold import threshold_of
from nightshift.train.window import FEATURES, LABEL, TrainingWindow
from nightshift.transforms.float32 import float_sql

if TYPE_CHECKING:
    import numpy as np
    from pyspark.sql import DataFrame, SparkSession

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

VECTOR = "vector"
PLACE = "place"


@dataclass(frozen=True)
class Learned:
    """What Spark gave back, as this package uses it."""

    head: Head
    artifact: tuple[str, bytes]
    size: str
    importances: Array


class SparkML:
    """``pyspark.ml`` on a classic session; for what is the same again and what is not see ``docs/training.md``."""

    name = "spark_ml"

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``."""
        import pyspark

        task, algorithm = window.label.task, str(training.params["algorithm"])
        with (
            session(
                window.title, threads=threads, scratch=window.scratch, rows=window.rows, storage=window.root
            ) as spark,
            spark_work(spark, algorithm),
        ):
            # Spark would choose the number of portions by their sizes.
            spark.conf.set("spark.sql.adaptive.enabled", "false")
            rows = read(spark, window)
            positives = check_rows(rows, window)
            window.announce(self.name, described(window.label, positives), f"{algorithm}, {threads} portions")
            began = time.monotonic()
            portions = _portions(rows, window, threads).persist()
            moments = moments_of(portions, window.width)
            instead = moments.mean.astype("float32")
            vectors = _vectors(portions, instead)
            estimator = _estimator(algorithm, task, training)
            model = estimator.fit(vectors)
            learned = _learned(spark, model, window, algorithm, moments)
            fitted = Fitted(
                head=learned.head,
                scores=_scores(spark, model, asked, instead, task),
                artifacts=dict([learned.artifact]),
                engine_version=pyspark.__version__,
                params=_params(estimator, algorithm, task),
                size=learned.size,
                importances=learned.importances,
                threshold=threshold_of(training, lambda: ranking_of(_scored(model, vectors)))
                if task == "binary"
                else None,
                seconds=time.monotonic() - began,
            )
            portions.unpersist()
        return fitted


def _estimator(algorithm: str, task: Task, training: Training) -> Any:
    """Spark's own object, with the spec's parameters."""
    from pyspark.ml.classification import GBTClassifier, LogisticRegression, RandomForestClassifier
    from pyspark.ml.regression import GBTRegressor, LinearRegression, RandomForestRegressor

    numbers = task == "regression"
    kinds: dict[str, Any] = {
        LOGISTIC: LogisticRegression,
        LINEAR: LinearRegression,
        FOREST: RandomForestRegressor if numbers else RandomForestClassifier,
        BOOSTED: GBTRegressor if numbers else GBTClassifier,
    }
    given = {_camel(name): value for name, value in training.params.items() if name != "algorithm"}
    if "featureSubsetStrategy" in given:
        given["featureSubsetStrategy"] = str(given["featureSubsetStrategy"])
    if algorithm == LOGISTIC:
        given["family"] = "binomial" if task == "binary" else "multinomial"
    if algorithm in (FOREST, BOOSTED):
        given["seed"] = training.seed
    return kinds[algorithm](featuresCol=VECTOR, labelCol=LABEL, **given)


def _params(estimator: Any, algorithm: str, task: Task) -> dict[str, Value]:
    """What it trained with, Spark's defaults included."""
    idle = {name for name, rule in BY_TASK.get(algorithm, {}).get(task, {}).items() if rule is None}
    used = {name: estimator.getOrDefault(_camel(name)) for name in ALLOWED[algorithm] if name not in idle}
    return {"algorithm": algorithm, **used}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


# -- rows -------------------------------------------------------------------------------------------------


def _portions(rows: DataFrame, window: TrainingWindow, portions: int) -> DataFrame:
    """The rows as Spark learns from them, in portions and an order that follow from their keys."""
    from pyspark.sql.functions import col

    key = [col(f"`{name}`") for name in window.key]
    kept = rows.select(col(FEATURES), col(LABEL).cast("double").alias(LABEL), *key)
    return kept.repartition(portions, *key).sortWithinPartitions(*key).select(FEATURES, LABEL)


def _vectors(rows: DataFrame, instead: Array) -> DataFrame:
    """The rows with a vector of Spark ML in place of the array: without NaN, and without attributes.

    A vector whose places have names of categories would make Spark grow trees that divide by sets of them.
    """
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col, expr

    means = ", ".join(float_sql(float(mean)) for mean in instead)
    filled = expr(f"zip_with({FEATURES}, array({means}), (x, mean) -> CASE WHEN isnan(x) THEN mean ELSE x END)")
    vector = array_to_vector(filled.cast("array<double>")).alias(VECTOR)
    return rows.select(vector, *(col(name) for name in rows.columns if name != FEATURES))


def _scored(model: Any, vectors: DataFrame) -> DataFrame:
    """The rows of two classes with their label and the probability of the positive one."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql.functions import col

    probability = vector_to_array(col("probability"))[1].cast("float").alias(PROBABILITY)
    return model.transform(vectors).select(col(LABEL).cast("int").alias(LABEL), probability)


def _scores(spark: SparkSession, model: Any, asked: Array, instead: Array, task: Task) -> Array:
    """What Spark's model says of vectors, as float32; what is beyond the largest float32 becomes that."""
    import numpy as np
    import pyarrow as pa
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql.functions import col

    width = len(instead)
    ends = np.arange(0, asked.size + 1, width, dtype=np.int32)
    lists = pa.ListArray.from_arrays(ends, np.ascontiguousarray(asked).reshape(-1))
    table = pa.table({PLACE: np.arange(len(asked)), FEATURES: lists})
    predicted = model.transform(_vectors(spark.createDataFrame(table), instead))
    told = {
        "binary": lambda: vector_to_array(col("probability"))[1],
        "multiclass": lambda: vector_to_array(col("probability")),
        "regression": lambda: col("prediction"),
    }[task]()
    scores = predicted.select(PLACE, told.alias("score")).toArrow().sort_by(PLACE).column("score").combine_chunks()
    if task == "multiclass":
        scores = scores.flatten()
    largest = np.finfo(np.float32).max
    values: Array = np.clip(scores.to_numpy(zero_copy_only=False), -largest, largest).astype(np.float32)
    return values.reshape(len(asked), -1) if task == "multiclass" else values


# -- what was learned -------------------------------------------------------------------------------------


def _learned(spark: SparkSession, model: Any, window: TrainingWindow, algorithm: str, moments: Moments) -> Learned:
    if algorithm in (FOREST, BOOSTED):
        return _of_trees(spark, model, window.label, algorithm, moments)
    return _of_sums(model, window, algorithm, moments)


def _of_trees(spark: SparkSession, model: Any, label: Label, algorithm: str, moments: Moments) -> Learned:
    classes = {"binary": 2, "multiclass": len(label.classes), "regression": 0}[label.task]
    nodes, weights = nodes_of(spark, model, sums=max(1, len(label.classes))), [float(it) for it in model.treeWeights]
    instead = moments.mean.astype("float32")
    trees = as_trees(nodes, weights, algorithm=algorithm, classes=classes)
    link: Literal["none", "logistic"] = "logistic" if algorithm == BOOSTED and label.task == "binary" else "none"
    told = {"algorithm": algorithm, "filled_with": instead.tolist(), "weights": weights, "trees": nodes}
    return Learned(
        TreesHead(trees, link, label.task == "multiclass", instead),
        ("trees.json", canonical_json(told)),
        f"{len(nodes)} trees, {len(trees.features)} nodes",
        model.featureImportances.toArray(),
    )


def _of_sums(model: Any, window: TrainingWindow, algorithm: str, moments: Moments) -> Learned:
    """Importances are what a step of one standard deviation changes, of several classes the mean over them."""
    import numpy as np

    if algorithm == LOGISTIC:
        coefficients, intercepts = model.coefficientMatrix.toArray(), model.interceptVector.toArray()
    else:
        coefficients, intercepts = model.coefficients.toArray().reshape(1, -1), np.array([model.intercept])
    instead = moments.mean.astype("float32")
    losses = [float(loss) for loss in model.summary.objectiveHistory]
    for number, loss in enumerate(losses):
        if number and is_told(number, len(losses) - 1):
            log.info("train: iteration %d/%d loss %.5f", number, len(losses) - 1, loss)
    told = {
        "algorithm": algorithm,
        "filled_with": instead.tolist(),
        "coefficients": coefficients.tolist(),
        "intercepts": intercepts.tolist(),
    }
    return Learned(
        LinearHead(window.label.task, coefficients, intercepts, instead),
        ("coefficients.json", canonical_json(told)),
        f"{coefficients.size} coefficients",
        np.abs(coefficients).mean(axis=0) * moments.deviation(window.rows),
    )
