"""What tells training from holdout: a row's time; of a static source, the bucket that the hash of its key falls into.

A row of a static source never changes sides when rows are added, taken away or put in another order, and the same key
falls into the same bucket on every machine: only SHA-256 and the text of the key decide. A larger ``split.holdout``
takes rows from training, and never gives one back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightshift.errors import PrepareError
from nightshift.plan import Plan
from nightshift.spec.models import BUCKETS

TIME, BUCKET = "__time", "__bucket"
TRAIN, HOLDOUT, OUTSIDE = "train", "holdout", "outside"
INEXACT = ("float", "double")
DIGITS = 15
"""Hexadecimal digits of the hash that are taken: 60 bits, which a bigint holds."""


@dataclass(frozen=True)
class Axis:
    """A column that every prepared row gets.

    Attributes:
        name: ``__time``, or ``__bucket``: a whole number from 0 to 9999.
        sql: The expression that gives it.
        window: The expression that gives ``train``, ``holdout`` or ``outside``.
    """

    name: str
    sql: str
    window: str


def axis_of(plan: Plan, types: Mapping[str, str]) -> Axis:
    """The axis of a model's rows.

    Args:
        plan: The night.
        types: Spark's type of each column of prepare's output, which has the key and the time.

    Raises:
        PrepareError: The key of a static source has no exact text.
    """
    split = plan.spec.split
    if split is None:
        return Axis(TIME, f"`{plan.spec.source.moment}`", _window_sql(plan))
    inexact = [name for name in plan.spec.key if types[name] in INEXACT]
    if inexact:
        raise PrepareError(
            f"{plan.spec.prepare}: {inexact[0]} is a {types[inexact[0]]}, and as part of the key its text decides "
            "what is held out: machines write such numbers in different ways.",
            hint="use whole numbers, text or dates as key; or name another key",
        )
    bucket = bucket_sql(plan.spec.key)
    side = f"CASE WHEN {bucket} < {split.first_trained} THEN '{HOLDOUT}' ELSE '{TRAIN}' END"
    return Axis(BUCKET, bucket, side)


def bucket_sql(key: Sequence[str]) -> str:
    """The bucket of a row: the first 15 hexadecimal digits of a SHA-256, modulo 10,000.

    It is taken of the key's cells, each as ``LENGTH:TEXT,`` in UTF-8, where LENGTH is the text's bytes: no two
    keys have the same text.
    """
    cells = [f"octet_length(CAST(`{name}` AS STRING)), ':', CAST(`{name}` AS STRING), ','" for name in key]
    digest = f"sha2(CAST(concat({', '.join(cells)}) AS BINARY), 256)"
    return f"CAST(CAST(conv(substring({digest}, 1, {DIGITS}), 16, 10) AS BIGINT) % {BUCKETS} AS INT)"


def _window_sql(plan: Plan) -> str:
    windows, time = plan.windows, plan.spec.source.moment
    cases = " ".join(
        f"WHEN `{time}` >= TIMESTAMP '{window.start.isoformat()}' "
        f"AND `{time}` < TIMESTAMP '{window.end.isoformat()}' THEN '{name}'"
        for name, window in ((TRAIN, windows.train), (HOLDOUT, windows.holdout))
    )
    return f"CASE {cases} ELSE '{OUTSIDE}' END"
