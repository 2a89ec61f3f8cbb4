"""The law of the split: a key's bucket depends on the key alone, and is the same wherever it is computed."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from nightshift.preprocess.axis import bucket_sql
from nightshift.spec.models import BUCKETS, Split

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
KEYS = st.lists(st.tuples(TEXT, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=40, unique=True)


def buckets(spark: SparkSession, keys: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
    table = pa.table({"name": [name for name, _ in keys], "number": pa.array([one for _, one in keys], pa.int64())})
    found = spark.createDataFrame(table).selectExpr("name", "number", f"{bucket_sql(['name', 'number'])} AS bucket")
    return {(row["name"], row["number"]): row["bucket"] for row in found.toArrow().to_pylist()}


def expected(name: str, number: int) -> int:
    """By the book (docs/data.md), without Spark."""
    cells = (name.encode(), str(number).encode())
    text = b"".join(b"%d:%s," % (len(cell), cell) for cell in cells)
    return int(hashlib.sha256(text).hexdigest()[:15], 16) % 10_000


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=KEYS, others=KEYS, order=st.randoms())
def test_a_row_stays_on_its_side_whatever_other_rows_there_are(
    spark: SparkSession, keys: list[tuple[str, int]], others: list[tuple[str, int]], order: Any
) -> None:
    alone = buckets(spark, keys)
    among = [*{*keys, *others}]
    order.shuffle(among)
    together = buckets(spark, among)
    assert {key: together[key] for key in keys} == alone
    assert together == {key: expected(*key) for key in among}


def test_the_share_is_met_as_closely_as_by_coins(spark: SparkSession) -> None:
    rows = 40_000
    found = spark.range(rows).selectExpr(f"{bucket_sql(['id'])} AS bucket").toArrow()["bucket"].to_numpy()
    for share in (0.01, 0.2, 0.5):
        held_out = (found < Split(holdout=share).first_trained).sum()
        sd = (rows * share * (1 - share)) ** 0.5
        assert abs(held_out - rows * share) < 4 * sd
    assert (found.min(), found.max()) == (0, BUCKETS - 1)


def test_a_larger_share_keeps_what_was_held_out() -> None:
    assert Split(holdout=0.2).first_trained < Split(holdout=0.3).first_trained


@pytest.mark.parametrize(
    ("value", "text"),
    [("true", "true"), ("DATE'2024-02-29'", "2024-02-29"), ("CAST(1.50 AS DECIMAL(5,2))", "1.50"), ("7", "7")],
)
def test_other_keys_have_the_text_that_people_write(spark: SparkSession, value: str, text: str) -> None:
    [row] = spark.sql(f"SELECT {value} AS k").selectExpr(f"{bucket_sql(['k'])} AS bucket").toArrow().to_pylist()
    hashed = hashlib.sha256(f"{len(text)}:{text},".encode()).hexdigest()
    assert row["bucket"] == int(hashed[:15], 16) % BUCKETS
