"""The stage: views, prepare, accounts, fit, write, bless."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, IntegrityError
from nightshift.ledger import Ledger
from nightshift.plan import Plan, digest_of
from nightshift.preprocess.accounting import Accounts, check_windows, count_rows
from nightshift.preprocess.axis import HOLDOUT, TRAIN
from nightshift.preprocess.blessing import bless
from nightshift.preprocess.history import earlier_nights
from nightshift.preprocess.keys import check_keys
from nightshift.preprocess.prepared import FEATURES, LABEL, WINDOW, Prepared, computed, prepare
from nightshift.preprocess.probe import probe_rows
from nightshift.preprocess.tables import read
from nightshift.preprocess.views import ROWS, days_of, register
from nightshift.spark import session
from nightshift.spec.models import Label
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt
from nightshift.transforms import Transforms

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

STAGE = "preprocess"
PROBE = "probe"
ROWS_PER_FILE = 100_000
MOST_FILES = 200


def run(plan: Plan, io: StageIO) -> StageResult:
    """Turn validated days into training, holdout and probe tables.

    Publishes the tables ``train`` and ``holdout`` (labelled rows of their windows, sorted by key) and
    ``probe`` (at most 200 rows), each with the request columns, ``__time`` (of a static source ``__bucket``),
    ``__label`` (0, 1; the place of a class; a number; null in probe) and the vector ``__features`` (float32),
    ``transforms.json``, the data blessing and the numbers that later nights are compared with.

    Raises:
        PrepareError: The prepare SQL fails, or does what it must not do.
        DataError: A window has no labelled row, lacks a class, or has the same number as every label.
        DataNotBlessed: A check of the windows fails, and no waiver in the ledger covers it.
        IntegrityError: An input is not what was published.
    """
    validated = io.given("validate")
    inputs = validated.inputs
    history = earlier_nights(io.store, plan, STAGE)
    waiver = Ledger(io.store).waiver("data", plan.interval)

    def build(attempt: Attempt) -> Mapping[str, Any]:
        days = days_of(plan, io.store, inputs)
        rows = sum(day.outputs[ROWS].rows for day in days)
        app = f"{plan.model} preprocess {plan.interval.key}"
        with session(app, threads=plan.threads, scratch=io.scratch, rows=rows, storage=plan.storage) as spark:
            rows_in = register(spark, io.store, plan, days, inputs)
            result = _build(spark, plan, attempt, rows_in)
        blessing = bless(plan, attempt, validated, history, waiver)
        waived = {"checks_waived": list(blessing.names_of_failed)} if blessing.waived_by else {}
        return {**result, "blessing": blessing.verdict, "checks_failed": len(blessing.failed), **waived}

    also = {"history": history.digest} | ({"waiver": waiver.key} if waiver else {})
    return once(plan, io, STAGE, inputs, build, also=also)


def _build(spark: SparkSession, plan: Plan, attempt: Attempt, rows_in: int) -> Mapping[str, Any]:
    prepared = prepare(spark, plan)
    prepared.frame.persist()
    try:
        with computed(plan.spec):
            accounts = _account(spark, plan, prepared, rows_in)
            transforms = Transforms.declare(plan.spec.features).fit(_labelled(prepared, TRAIN))
            attempt.put("transforms.json", transforms.to_json())
            _write_windows(spark, plan, prepared, transforms, attempt, accounts=accounts)
    finally:
        prepared.frame.unpersist()
    _write_probe(spark, prepared, transforms, attempt)
    counts = {**_result(accounts, transforms, attempt), **_of_task(accounts, plan.spec.label)}
    return {**counts, **_digested(plan, prepared), **_versions(spark)}


def _digested(plan: Plan, prepared: Prepared) -> dict[str, str]:
    """Where rows have digests: of which columns. With other columns every row is another, and so may its side be."""
    name = plan.spec.source.row_digest
    return {} if name is None else {"digested_columns": digest_of(sorted(set(prepared.source.columns) - {name}))}


def _account(spark: SparkSession, plan: Plan, prepared: Prepared, rows_in: int) -> Accounts:
    """Count the rows; of two faults, what the SQL does to rows explains what a window lacks.

    Raises:
        PrepareError: The SQL does what it must not do, and a window lacks something or has too much.
        DataError: A window lacks something.
    """
    accounts = count_rows(prepared, plan.spec.label, rows_in=rows_in)
    log.info(
        "rows: %d in, %d left out by prepare, %d unlabelled, %d to train on, %d in the holdout",
        rows_in,
        accounts.filtered,
        accounts.unlabelled,
        accounts.train.rows,
        accounts.holdout.rows,
    )
    try:
        check_windows(plan, accounts)
    except DataError:
        check_keys(spark, plan, prepared)
        raise
    return accounts


def _write_windows(
    spark: SparkSession, plan: Plan, prepared: Prepared, transforms: Transforms, attempt: Attempt, *, accounts: Accounts
) -> None:
    """Write both windows and check the keys, side by side: sorting into one file keeps one thread busy.

    Raises:
        PrepareError: See ``check_keys``; what was written is never published then.
        IntegrityError: Spark wrote another number of rows than it had counted.
    """

    def write(window: str, rows: int) -> None:
        _write(_labelled(prepared, window), prepared, transforms, attempt, window, rows=rows)
        if attempt.outputs[window].rows != rows:
            raise IntegrityError(f"{rows} rows of {window} were counted, but {attempt.outputs[window].rows} written.")

    with ThreadPoolExecutor(max_workers=2) as pool:
        train = pool.submit(write, TRAIN, accounts.train.rows)
        check_keys(spark, plan, prepared)
        write(HOLDOUT, accounts.holdout.rows)
        train.result()


def _labelled(prepared: Prepared, window: str) -> DataFrame:
    return prepared.frame.where(f"{WINDOW} = '{window}' AND {LABEL} IS NOT NULL")


def _columns(prepared: Prepared, transforms: Transforms) -> list[str]:
    others = [name for name in prepared.columns if name not in prepared.key]
    return [
        *(f"`{name}`" for name in prepared.key),
        prepared.axis,
        LABEL,
        *(f"`{name}`" for name in others),
        f"{transforms.spark_columns()} AS {FEATURES}",
    ]


def _write(
    frame: DataFrame, prepared: Prepared, transforms: Transforms, attempt: Attempt, name: str, *, rows: int
) -> None:
    """Write a table sorted by key and time over all its files; how many those are depends on the rows alone."""
    files = min(math.ceil(rows / ROWS_PER_FILE), MOST_FILES)
    spread = frame.coalesce(1) if files == 1 else frame.repartitionByRange(files, *prepared.key)
    # The time tells apart what shares a key: rows of other days, which come from anywhere in any order.
    ordered = spread.sortWithinPartitions(*prepared.key, prepared.axis)
    ordered.selectExpr(*_columns(prepared, transforms)).write.parquet(attempt.uri(name))
    attempt.adopt_spark_output(name)


def _write_probe(spark: SparkSession, prepared: Prepared, transforms: Transforms, attempt: Attempt) -> None:
    train = read(attempt, TRAIN, columns=[*prepared.columns, prepared.axis])
    rows = probe_rows(train, transforms.request_columns, transforms.to_json())
    # Handed over in memory: executors on other machines do not see this one's disk.
    frame = spark.createDataFrame(rows).selectExpr("*", f"CAST(NULL AS {prepared.label_type}) AS {LABEL}")
    _write(frame, prepared, transforms, attempt, PROBE, rows=rows.num_rows)


def _result(accounts: Accounts, transforms: Transforms, attempt: Attempt) -> dict[str, Any]:
    return {
        "rows_in": accounts.rows_in,
        "filtered": accounts.filtered,
        "unlabelled": accounts.unlabelled,
        "outside": accounts.outside,
        "train_rows": accounts.train.rows,
        "holdout_rows": accounts.holdout.rows,
        "probe_rows": attempt.outputs[PROBE].rows,
        "feature_columns": len(transforms.feature_names),
    }


def _of_task(accounts: Accounts, label: Label) -> dict[str, Any]:
    """How many labels of each class there are."""
    train, holdout = accounts.train, accounts.holdout
    if label.task == "binary":
        both = train.positives + holdout.positives
        return {"positives": both, "train_positives": train.positives, "holdout_positives": holdout.positives}
    if label.task == "multiclass":
        return {
            f"{name}_classes": dict(zip(label.classes, window.counts, strict=True))
            for name, window in ((TRAIN, train), (HOLDOUT, holdout))
        }
    return {}


def _versions(spark: SparkSession) -> dict[str, str]:
    java = spark.sparkContext._jvm.java.lang.System.getProperty("java.version")
    return {"spark": spark.version, "java": java}
