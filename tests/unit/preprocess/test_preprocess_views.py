"""One type for a column over days that were stored apart, and which side table a join repeats."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from nightshift.errors import DataError
from nightshift.preprocess.fanout import join_columns
from nightshift.preprocess.views import Snapshot, common_types
from nightshift.storage import Ref


def snapshot(day: int, empty: tuple[str, ...] = (), **types: Any) -> Snapshot:
    return Snapshot(f"file:///{day}", Ref("valid", f"2024-03-0{day}", 1, "x"), 9, types, frozenset(empty))


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        (pa.int64(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int8(), pa.int32(), pa.int64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.null(), pa.string(), pa.string()),
        (pa.string(), pa.null(), pa.string()),
    ],
)
def test_the_wider_type_wins(left: pa.DataType, right: pa.DataType, common: pa.DataType) -> None:
    files = [snapshot(1, x=left), snapshot(2, x=right)]
    assert common_types(files, name="source") == {"x": common}
    assert common_types(files[::-1], name="source") == {"x": common}


def test_a_file_without_a_value_has_no_say() -> None:
    files = [snapshot(1, ("x",), x=pa.float64()), snapshot(2, x=pa.string()), snapshot(3, ("x",), x=pa.int64())]
    assert common_types(files, name="source") == {"x": pa.string()}


def test_types_that_do_not_meet_name_column_and_versions() -> None:
    files = [snapshot(1, x=pa.int64()), snapshot(2, x=pa.int64()), snapshot(3, x=pa.string())]
    with pytest.raises(
        DataError, match=r"source: column x is int64 in valid/2024-03-01@1 and string in valid/2024-03-03@1"
    ):
        common_types(files, name="source")


def test_a_column_that_some_days_lack_is_still_there() -> None:
    files = [snapshot(1, x=pa.int64()), snapshot(2, x=pa.int64(), y=pa.string())]
    assert common_types(files, name="source") == {"x": pa.int64(), "y": pa.string()}


@pytest.mark.parametrize(
    ("join", "found"),
    [
        ("LEFT JOIN places AS p ON p.kind = s.kind AND p.day = s.day", [("places", ["day", "kind"])]),
        ("JOIN places USING (kind)", [("places", ["kind"])]),
        ("JOIN places ON places.kind = s.kind", [("places", ["kind"])]),
        ("JOIN places p ON p.at = s.at - INTERVAL 1 HOUR", [("places", ["at"])]),
        ("CROSS JOIN places", []),
        ("JOIN other ON other.kind = s.kind", []),
        ("JOIN places p ON p.a = s.a JOIN weather w ON w.b = p.b", [("places", ["a"]), ("weather", ["b"])]),
    ],
)
def test_join_columns_of_declared_tables(join: str, found: list[tuple[str, list[str]]]) -> None:
    sql = f"SELECT s.x FROM source AS s {join}"
    assert sorted(join_columns(sql, {"places", "weather"})) == found
