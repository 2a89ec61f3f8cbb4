"""Where every row went, and whether prepare kept to its bounds.

Rows in = train + holdout + unlabelled + outside the windows + filtered, or the stage fails: prepare may
leave rows out, and may neither multiply, invent nor move them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.errors import DataError, PrepareError
from nightshift.plan import Interval, Plan
from nightshift.preprocess.fanout import repeated_join_keys
from nightshift.preprocess.prepared import HOLDOUT, LABEL, OUTSIDE, TIME, TRAIN, WINDOW, Prepared

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession


@dataclass(frozen=True)
class WindowRows:
    """Rows of one window: labelled ones, positives among them, unlabelled ones."""

    rows: int
    positives: int
    unlabelled: int


@dataclass(frozen=True)
class Accounts:
    """Every row of the source, once.

    Attributes:
        rows_in: Rows of the source in both windows.
        filtered: Rows that prepare left out.
        outside: Rows of prepare's output that lie in neither window.
        train, holdout: The rest.
    """

    rows_in: int
    filtered: int
    outside: int
    train: WindowRows
    holdout: WindowRows

    @property
    def unlabelled(self) -> int:
        return self.train.unlabelled + self.holdout.unlabelled


def count_rows(prepared: Prepared, *, rows_in: int) -> Accounts:
    """Count the rows of each window and label; the first action on prepare's output.

    Args:
        prepared: Prepare's output.
        rows_in: Rows of ``source``.
    """
    found = {(row[WINDOW], row[LABEL]): row["count"] for row in prepared.frame.groupBy(WINDOW, LABEL).count().collect()}

    def window(name: str) -> WindowRows:
        positives = found.get((name, 1), 0)
        return WindowRows(found.get((name, 0), 0) + positives, positives, found.get((name, None), 0))

    return Accounts(
        rows_in=rows_in,
        filtered=rows_in - sum(found.values()),
        outside=sum(count for (name, _), count in found.items() if name == OUTSIDE),
        train=window(TRAIN),
        holdout=window(HOLDOUT),
    )


def check_windows(plan: Plan, accounts: Accounts) -> None:
    """Refuse windows that nothing can be learned or judged from.

    Raises:
        DataError: A window has no labelled row, or only one class.
    """
    _check_window(plan, accounts, TRAIN, plan.windows.train, accounts.train)
    _check_window(plan, accounts, HOLDOUT, plan.windows.holdout, accounts.holdout)


def check_keys(spark: SparkSession, plan: Plan, prepared: Prepared) -> None:
    """Compare the keys that went in with those that came out.

    Args:
        spark: The session with the views.
        plan: The run's plan.
        prepared: Prepare's output.

    Raises:
        PrepareError: Rows were multiplied, invented or moved in time, or a key is in both windows.
    """
    by_key = _by_key(plan, prepared)
    # Where time is part of the key, a moved row is an invented one, and no key can be in two windows.
    checks = [_check_multiplied, _check_invented]
    faults = {"multiplied": MULTIPLIED, "invented": INVENTED}
    if plan.spec.source.time not in plan.spec.key:
        checks += [_check_moved, _check_overlap]
        faults |= {"moved": MOVED, "overlap": _overlap(plan)}
    row = by_key.selectExpr(*(f"count_if({condition}) AS {name}" for name, condition in faults.items())).first()
    for check in checks:
        check(spark, plan, by_key, row)


MULTIPLIED = "came_out > went_in AND went_in > 0"
INVENTED = "went_in = 0"
MOVED = "came_out > 0 AND went_in > 0 AND (min_time_out < min_time_in OR max_time_out > max_time_in)"


def _overlap(plan: Plan) -> str:
    split = f"TIMESTAMP '{plan.windows.holdout.start.isoformat()}'"
    return f"min_time_out < {split} AND max_time_out >= {split}"


def _by_key(plan: Plan, prepared: Prepared) -> DataFrame:
    """One row per key: how often it goes in and comes out, and when."""
    from pyspark.sql.functions import expr

    keys = [f"`{name}`" for name in prepared.key]
    time = f"`{plan.spec.source.time}`"
    nothing = "CAST(NULL AS TIMESTAMP)"
    before = prepared.source.selectExpr(
        *keys, "1 AS went_in", "0 AS came_out", f"{time} AS time_in", f"{nothing} AS time_out"
    )
    after = prepared.frame.selectExpr(
        *keys, "0 AS went_in", "1 AS came_out", f"{nothing} AS time_in", f"{TIME} AS time_out"
    )
    # Spark leaves out of the query what nobody asks about, such as times that the key already has.
    sums = [f"sum({name}) AS {name}" for name in ("went_in", "came_out")]
    bounds = [f"{how}({name}) AS {how}_{name}" for name in ("time_in", "time_out") for how in ("min", "max")]
    return before.unionAll(after).groupBy(*prepared.key).agg(*(expr(text) for text in (*sums, *bounds)))


def _check_multiplied(spark: SparkSession, plan: Plan, by_key: DataFrame, row: Row) -> None:
    if not row["multiplied"]:
        return
    example = _example(plan, by_key, MULTIPLIED)
    message = (
        f"{plan.spec.prepare}: the SQL multiplies rows: {row['multiplied']} keys come out more often than they go in, "
        f"for example {_key_text(plan, example)}: {example['went_in']} in, {example['came_out']} out."
    )
    found = repeated_join_keys(spark, plan.spec)
    lines = "".join(f"\n  - {culprit}" for culprit in found)
    raise PrepareError(
        message + (f" Side tables that have a join key more than once:{lines}" if found else ""),
        hint="join on columns that name one row of the side table, or aggregate the side table before the join",
    )


def _check_invented(spark: SparkSession, plan: Plan, by_key: DataFrame, row: Row) -> None:
    if row["invented"]:
        example = _example(plan, by_key, INVENTED)
        raise PrepareError(
            f"{plan.spec.prepare}: the SQL invents rows: {row['invented']} keys of the output are not in the source, "
            f"for example {_key_text(plan, example)}.",
            hint="select the key columns from source unchanged, and start FROM source, so that a LEFT JOIN keeps them",
        )


def _check_moved(spark: SparkSession, plan: Plan, by_key: DataFrame, row: Row) -> None:
    if row["moved"]:
        example = _example(plan, by_key, MOVED)
        raise PrepareError(
            f"{plan.spec.prepare}: the SQL changes {plan.spec.source.time} of {row['moved']} rows, for example of "
            f"{_key_text(plan, example)}: {example['min_time_in']} becomes {example['min_time_out']}. "
            "The time decides what is training and what is holdout.",
            hint="select it from source unchanged, and put a changed copy under another name",
        )


def _check_overlap(spark: SparkSession, plan: Plan, by_key: DataFrame, row: Row) -> None:
    if row["overlap"]:
        example = _example(plan, by_key, _overlap(plan))
        raise PrepareError(
            f"{row['overlap']} keys are both in the training window and in the holdout, for example "
            f"{_key_text(plan, example)}: from {example['min_time_out']} to {example['max_time_out']}.",
            hint=f"the key ({', '.join(plan.spec.key)}) must name one row over all days; "
            f"add {plan.spec.source.time} to it",
        )


def _example(plan: Plan, by_key: DataFrame, condition: str) -> Row:
    """The first such key, everything as text."""
    keys = [f"`{name}`" for name in plan.spec.key]
    return (
        by_key.where(condition)
        .orderBy(*plan.spec.key)
        .selectExpr(
            *(f"string({name}) AS {name}" for name in keys),
            "went_in",
            "came_out",
            *(f"string({name}) AS {name}" for name in ("min_time_in", "min_time_out", "max_time_out")),
        )
        .first()
    )


def _key_text(plan: Plan, row: Row) -> str:
    return ", ".join(f"{name}={row[name]}" for name in plan.spec.key)


def _check_window(plan: Plan, accounts: Accounts, name: str, window: Interval, rows: WindowRows) -> None:
    """Refuse a window that nothing can be learned or judged from."""
    days = len(list(window.days()))
    where = f"the {name} window {window} ({days} days)"
    told = (
        f"{rows.rows} labelled rows, {rows.positives} of them positive, {rows.unlabelled} unlabelled; "
        f"prepare was given {accounts.rows_in} rows of both windows and left out {accounts.filtered}"
    )
    if rows.rows == 0:
        reason = "no labelled row"
        hint = (
            f"see what {plan.spec.prepare} filters, whether the source covers the window, and whether label.delay "
            "is long enough for labels to arrive"
        )
    elif rows.positives in (0, rows.rows):
        reason = f"only {'negatives' if rows.positives == 0 else 'positives'}"
        hint = f"see label.positive ({plan.spec.label.positive}), or make window.{name} longer"
    else:
        return
    raise DataError(f"{where} has {reason}: {told}.", hint=hint)
