"""Types of columns: decided by all values, exact, and the same from day to day."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import SourceError
from nightshift.ingest.columns import MOMENT, convert, kind_of, read_moments, settle, unify

KINDS = st.sampled_from(["null", "int64", "double", "bool", "string", MOMENT])


def text(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", None], "int64"),
        (["1", "2.5", "1e3"], "double"),
        (["1", "NA", "2"], "int64"),
        (["NA", None], "null"),
        ([None], "null"),
        (["NA", "US"], "string"),
        (["01234", "2"], "string"),
        (["1.5", "007"], "string"),
        (["9223372036854775807"], "int64"),
        (["9223372036854775808"], "string"),
        (["+5"], "double"),
        (["true", "False", None], "bool"),
        (["2024-03-01T00:00:00Z"], MOMENT),
        (["2024-03-01 00:00:00.5+02:00", None], MOMENT),
        (["2024-03-01T00:00"], MOMENT),
        (["2024-02-30T00:00:00Z"], "string"),
        (["2024-03-01"], "string"),
        (["1,5"], "string"),
    ],
)
def test_kind_of_text(values: list[str | None], kind: str):
    assert kind_of(text(*values)) == kind


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_whole_numbers_survive_exactly(values: list[int | None]):
    column = text(*(None if value is None else str(value) for value in values))
    kind = kind_of(column)
    assert convert(column, kind, name="x").to_pylist() == values


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_no_text_is_ever_changed(values: list[str]):
    column = text(*(value or None for value in values))
    if kind_of(column) == "string":
        assert convert(column, "string", name="x").to_pylist() == [value or None for value in values]


@given(KINDS, KINDS, KINDS)
def test_the_wider_type_does_not_depend_on_the_order_of_files(a: str, b: str, c: str):
    assert unify(a, b) == unify(b, a)
    assert unify(unify(a, b), c) == unify(a, unify(b, c))
    assert unify(a, a) == a


@pytest.mark.parametrize(
    ("before", "found", "settled"),
    [
        ("double", "int64", "double"),
        ("double", "null", "double"),
        ("int64", "double", "double"),
        ("null", "string", "string"),
        ("string", "int64", "string"),
        ("double", "string", "string"),
        (MOMENT, "string", "string"),
    ],
)
def test_types_settle_against_the_days_before(before: str, found: str, settled: str):
    assert settle([{"x": found}], [{"x": before}], as_text=True) == {"x": settled}


def test_typed_files_cannot_go_on_as_text():
    assert settle([{"x": "int64"}], [{"x": "string"}], as_text=False) == {"x": "int64"}


def test_numbers_that_do_not_fit_a_wider_type_are_refused():
    with pytest.raises(SourceError, match="column x of type int64 cannot be stored as double"):
        convert(pa.chunked_array([[2**53 + 1]]), "double", name="x")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-03-31T02:30:00+01:00", datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),
        ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2024-03-01", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-03-01T00:00:00.123456Z", datetime(2024, 3, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2023-02-29T00:00:00Z", None),
        ("1709251200", None),
        ("01/03/2024", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_column_may_mix_zones_and_holds_null_where_there_is_no_moment(
    value: str | None, moment: datetime | None
):
    mixed = text("2024-01-01T00:00:00Z", value, "2024-01-01 00:00")
    assert read_moments(mixed, name="at").to_pylist()[1] == moment


def test_numbers_are_no_time():
    with pytest.raises(SourceError, match="the time column at has type int64, which is no time"):
        read_moments(pa.chunked_array([[1709251200]]), name="at")
