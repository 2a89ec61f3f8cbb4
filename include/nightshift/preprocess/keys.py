"""Whether prepare kept to its bounds: it may leave rows out, but neither multiply, invent nor move them.

Keys and times are compared by 64-bit hashes, which is quick and cannot miss a fault but by a chance of one
in millions of millions. Only where the hashes find one does a query over the keys themselves say which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from nightshift.errors import PrepareError
from nightshift.plan import Plan
from nightshift.preprocess.axis import HOLDOUT, TIME, TRAIN
from nightshift.preprocess.fanout import repeated_join_keys
from nightshift.preprocess.prepared import WINDOW, Prepared

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyspark.sql import DataFrame, Row, SparkSession

    Hashes = npt.NDArray[np.int64]


def check_keys(spark: SparkSession, plan: Plan, prepared: Prepared) -> None:
    """Compare the keys that went in with those that came out.

    Args:
        spark: The session with the views.
        plan: The run's plan.
        prepared: Prepare's output.

    Raises:
        PrepareError: Rows were multiplied, invented or moved in time, or a key is in both windows.
    """
    if not _suspicious(plan, prepared):
        return
    by_key = _by_key(plan, prepared)
    faults = {
        MULTIPLIED: _refuse_multiplied,
        INVENTED: _refuse_invented,
        MOVED: _refuse_moved,
        _overlap(plan): _refuse_overlap,
    }
    counts = by_key.selectExpr(*(f"count_if({condition})" for condition in faults)).first()
    for refuse, count in zip(faults.values(), counts, strict=True):
        if count:
            refuse(spark, plan, by_key, count)
    raise PrepareError(
        f"{plan.spec.prepare}: the output has {', '.join(prepared.key)} at times at which the source does not.",
        hint="leave the key and the time as they are in source",
    )


def _suspicious(plan: Plan, prepared: Prepared) -> bool:
    """Whether some key and time comes out more often than it goes in, or a key is in both windows."""
    import numpy as np

    time, key = plan.spec.source.time, prepared.key
    whole = key if time is None or time in key else (*key, time)
    before = _hashes(prepared.source, whole)
    if exceeds(_hashes(prepared.frame, whole), before):
        return True
    if time is None or time in key:
        return False  # then the key itself says on which side it is
    train, holdout = (_hashes(prepared.frame.where(f"{WINDOW} = '{name}'"), key) for name in (TRAIN, HOLDOUT))
    return len(np.intersect1d(train, holdout)) > 0


def _hashes(frame: DataFrame, columns: tuple[str, ...]) -> Hashes:
    named = ", ".join(f"`{name}`" for name in columns)
    hashes: Hashes = frame.selectExpr(f"xxhash64({named}) AS hash").toArrow()["hash"].to_numpy()
    return hashes


def exceeds(after: Hashes, before: Hashes) -> bool:
    """Whether a number is more often in ``after`` than in ``before``."""
    import numpy as np

    there, allowed = np.unique(before, return_counts=True)
    found, seen = np.unique(after, return_counts=True)
    if not np.isin(found, there, assume_unique=True).all():
        return True
    return bool((seen > allowed[np.searchsorted(there, found)]).any())


MULTIPLIED = "came_out > went_in AND went_in > 0"
INVENTED = "went_in = 0"
MOVED = "came_out > 0 AND went_in > 0 AND (min_time_out < min_time_in OR max_time_out > max_time_in)"


def _overlap(plan: Plan) -> str:
    split = f"TIMESTAMP '{plan.windows.holdout.start.isoformat()}'"
    return f"min_time_out < {split} AND max_time_out >= {split}"


def _by_key(plan: Plan, prepared: Prepared) -> DataFrame:
    """One row per key: how often it goes in and comes out, and when, if rows have a time."""
    from pyspark.sql.functions import expr

    keys = [f"`{name}`" for name in prepared.key]
    nothing = "CAST(NULL AS TIMESTAMP)"
    before_time, after_time = (nothing, nothing) if plan.spec.source.static else (f"`{plan.spec.source.time}`", TIME)
    before = prepared.source.selectExpr(
        *keys, "1 AS went_in", "0 AS came_out", f"{before_time} AS time_in", f"{nothing} AS time_out"
    )
    after = prepared.frame.selectExpr(
        *keys, "0 AS went_in", "1 AS came_out", f"{nothing} AS time_in", f"{after_time} AS time_out"
    )
    # Spark leaves out of the query what nobody asks about, such as times that the key already has.
    sums = [f"sum({name}) AS {name}" for name in ("went_in", "came_out")]
    bounds = [f"{how}({name}) AS {how}_{name}" for name in ("time_in", "time_out") for how in ("min", "max")]
    return before.unionAll(after).groupBy(*prepared.key).agg(*(expr(text) for text in (*sums, *bounds)))


def _refuse_multiplied(spark: SparkSession, plan: Plan, by_key: DataFrame, count: int) -> NoReturn:
    example = _example(plan, by_key, MULTIPLIED)
    message = (
        f"{plan.spec.prepare}: the SQL multiplies rows: {count} keys come out more often than they go in, "
        f"for example {_key_text(plan, example)}: {example['went_in']} in, {example['came_out']} out."
    )
    found = repeated_join_keys(spark, plan.spec)
    lines = "".join(f"\n  - {culprit}" for culprit in found)
    raise PrepareError(
        message + (f" Side tables that have a join key more than once:{lines}" if found else ""),
        hint="join on columns that name one row of the side table, or aggregate the side table before the join",
    )


def _refuse_invented(spark: SparkSession, plan: Plan, by_key: DataFrame, count: int) -> NoReturn:
    example = _example(plan, by_key, INVENTED)
    raise PrepareError(
        f"{plan.spec.prepare}: the SQL invents rows: {count} keys of the output are not in the source, "
        f"for example {_key_text(plan, example)}.",
        hint="select the key columns from source unchanged, and start FROM source, so that a LEFT JOIN keeps them",
    )


def _refuse_moved(spark: SparkSession, plan: Plan, by_key: DataFrame, count: int) -> NoReturn:
    example = _example(plan, by_key, MOVED)
    raise PrepareError(
        f"{plan.spec.prepare}: the SQL changes {plan.spec.source.time} of {count} rows, for example of "
        f"{_key_text(plan, example)}: {example['min_time_in']} becomes {example['min_time_out']}. "
        "The time decides what is training and what is holdout.",
        hint="select it from source unchanged, and put a changed copy under another name",
    )


def _refuse_overlap(spark: SparkSession, plan: Plan, by_key: DataFrame, count: int) -> NoReturn:
    example = _example(plan, by_key, _overlap(plan))
    raise PrepareError(
        f"{count} keys are both in the training window and in the holdout, for example "
        f"{_key_text(plan, example)}: from {example['min_time_out']} to {example['max_time_out']}.",
        hint=f"the key ({', '.join(plan.spec.key)}) must name one row over all days; add {plan.spec.source.time} to it",
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
