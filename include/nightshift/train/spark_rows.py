"""The training window as rows of Spark: read as published, and checked as the arrays of one machine are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, IntegrityError
from nightshift.model.booster import feature_matrix
from nightshift.train.threshold import Ranking
from nightshift.train.window import FEATURES, LABEL, TABLE, TIME, TrainingWindow

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame, Row, SparkSession

    Array = np.ndarray[Any, Any]

PROBABILITY = "probability"
# Rows whose probabilities begin with the same six decimals are not told apart when a threshold is looked for.
STEPS = 1_000_000


def read(spark: SparkSession, window: TrainingWindow) -> DataFrame:
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
    rows = spark.read.parquet(*uris)
    if window.part is None:
        return rows
    begin, end = window.part.start.isoformat(), window.part.end.isoformat()
    return rows.where(f"`{TIME}` >= TIMESTAMP '{begin}' AND `{TIME}` < TIMESTAMP '{end}'")


def check_rows(rows: DataFrame, window: TrainingWindow) -> int:
    """Demand what native training demands, and that the workers read what was published.

    Returns:
        For binary, how many rows are positive; else 0.

    Raises:
        DataError: The window cannot be learned from.
    """
    if window.label.task == "regression":
        _check_numbers(rows, window)
        return 0
    told = rows.groupBy(LABEL).agg(*_facts()).collect()
    counts = {int(row[LABEL]): int(row["rows"]) for row in told if row[LABEL] is not None}
    window.check_classes(counts, unlabelled=sum(row["rows"] for row in told if row[LABEL] is None))
    _check_vectors(told, window)
    return counts[1] if window.label.task == "binary" else 0


def _check_numbers(rows: DataFrame, window: TrainingWindow) -> None:
    """Raises DataError: Not numbers that a model can learn."""
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


def ranking_by(rows: DataFrame, width: int, load: Callable[[], Callable[[Array], Array]]) -> Ranking:
    """The training rows by the probability that a model gives them; each executor loads it for itself.

    Args:
        rows: As ``read`` gives them.
        width: Length of the vectors.
        load: Gives what scores vectors, ``[n, F]`` to ``[n]``.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        scores = load()
        for batch in batches:
            features = feature_matrix(pa.chunked_array([batch.column(FEATURES)]), width)
            probabilities = pa.array(scores(features), pa.float32())
            yield pa.RecordBatch.from_arrays([batch.column(LABEL), probabilities], names=[LABEL, PROBABILITY])

    return ranking_of(rows.select(FEATURES, LABEL).mapInArrow(score, f"{LABEL} tinyint, {PROBABILITY} float"))


def ranking_of(scored: DataFrame) -> Ranking:
    """Rows by probability: at most a million groups come to this process, however many rows there are.

    Args:
        scored: Rows with a label of 0 or 1 and ``PROBABILITY``, a float.
    """
    import numpy as np
    from pyspark.sql.functions import col, count, floor, max, min, sum

    grouped = scored.groupBy(floor(col(PROBABILITY).cast("double") * STEPS).alias("step")).agg(
        max(PROBABILITY).alias("highest"),
        min(PROBABILITY).alias("lowest"),
        count("*").alias("rows"),
        sum(LABEL).alias("positives"),
    )
    table = grouped.toArrow().sort_by([("step", "descending")])
    columns = {name: table.column(name).to_numpy() for name in ("highest", "lowest", "rows", "positives")}
    return Ranking(**{name: np.ascontiguousarray(values) for name, values in columns.items()})
