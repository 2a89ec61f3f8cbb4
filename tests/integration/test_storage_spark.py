"""Spark and storage agree on names and content, whatever the storage root is called."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nightshift import spark as nightshift_spark
from nightshift.errors import IntegrityError, StorageError
from nightshift.storage import Store
from nightshift.storage.digest import table_digest
from nightshift.storage.objects import Objects

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

DAY = "2013-07-14"
TABLE = pa.table(
    {
        "when": pa.array([datetime(2013, 7, 14, hour, tzinfo=UTC) for hour in range(20)], pa.timestamp("us", tz="UTC")),
        "carrier": pa.array([None if number % 7 == 0 else "AA" for number in range(20)]),
        "__features": pa.array([[float(number), None] for number in range(20)], pa.list_(pa.float32())),
    }
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with nightshift_spark.session("storage", threads=2, scratch=tmp_path_factory.mktemp("spark")) as session:
        yield session


@pytest.fixture(params=["plain", "a b", "100%", "a%20b", "é日本", "a#b", "what?", "{x,y}[z]"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(Objects((tmp_path / request.param).as_uri()))


def test_tables_go_to_spark_and_back(spark: Any, store: Store) -> None:
    attempt = store.attempt("valid", DAY)
    attempt.put_table("rows", TABLE)
    source = attempt.publish(stage_key="k", code="c")
    frame = spark.read.parquet(*store.uris(source, "rows"))
    assert frame.count() == 20

    attempt = store.attempt("preprocess", DAY)
    frame.repartition(3).write.mode("overwrite").parquet(attempt.uri("train"))
    output = attempt.adopt_spark_output("train")
    result = attempt.publish(stage_key="k", code="c")
    assert output.rows == 20
    assert output.digest == source.outputs["rows"].digest == table_digest(TABLE)
    assert output.schema == source.outputs["rows"].schema
    assert len(result.files) == 3, "neither markers nor checksums"
    assert table_digest(store.read_table(result, "train")) == output.digest
    assert spark.read.parquet(*store.uris(result, "train")).count() == 20


def test_an_empty_result_of_spark_is_a_table(spark: Any, tmp_path: Path) -> None:
    store = Store(Objects(tmp_path.as_uri()))
    attempt = store.attempt("preprocess", DAY)
    spark.range(5).where("id > 9").write.mode("overwrite").parquet(attempt.uri("probe"))
    output = attempt.adopt_spark_output("probe")
    assert (output.rows, output.schema) == (0, {"id": "int64"})


def test_spark_output_that_is_not_there_or_broken_is_named(spark: Any, tmp_path: Path) -> None:
    store = Store(Objects(tmp_path.as_uri()))
    attempt = store.attempt("preprocess", DAY)
    with pytest.raises(StorageError, match=r"no parquet file in .*/train"):
        attempt.adopt_spark_output("train")
    spark.range(5).repartition(2).write.mode("overwrite").parquet(attempt.uri("train"))
    broken = sorted((tmp_path / attempt.folder / "train").glob("*.parquet"))[1]
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match=broken.name[:20]):
        attempt.adopt_spark_output("train")
