"""The label rule: one reading of ``label.positive`` for Arrow and for Spark SQL."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import SpecError
from nightshift.spec.label_rule import LabelRule


def column(*values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


@pytest.mark.parametrize(
    ("text", "values", "mask"),
    [
        (">= 15", (14, 15, None), [False, True, None]),
        ("<2.5", (2.0, 2.5, math.nan, None), [True, False, None, None]),
        ("!= 0", (0, -1, None), [False, True, None]),
        ("== yes", ("yes", "no", None), [True, False, None]),
        ('== "1"', ("1", "2", None), [True, False, None]),
        ("== true", (True, False, None), [True, False, None]),
        ("!= TRUE", (True, False, None), [False, True, None]),
        (">= 15", (None, None), [None, None]),
    ],
)
def test_null_stays_unlabelled(text: str, values: tuple[object, ...], mask: list[bool | None]):
    assert LabelRule.parse(text).arrow_mask(column(*values)).to_pylist() == mask


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        (">= 15", "(nullif(CAST(`a b` AS DOUBLE), DOUBLE('NaN')) >= 15D)"),
        ("== -2.5", "(nullif(CAST(`a b` AS DOUBLE), DOUBLE('NaN')) = -2.5D)"),
        ("== it's", "(`a b` = 'it\\'s')"),
        ("!= 'a\\b'", "(`a b` <> 'a\\\\b')"),
        ("== true", "(`a b` = TRUE)"),
    ],
)
def test_the_same_in_spark_sql(text: str, sql: str):
    assert LabelRule.parse(text).sql("a b") == sql


def test_a_backtick_in_a_name_is_quoted():
    assert LabelRule.parse("== x").sql("a`b") == "(`a``b` = 'x')"


@pytest.mark.parametrize("text", ["15", ">=", "=> 15", "~ 3", ">= soon", "< true"])
def test_what_is_no_rule(text: str):
    with pytest.raises(SpecError, match=r"label\.positive is"):
        LabelRule.parse(text)


@pytest.mark.parametrize(("text", "values"), [(">= 15", ("a",)), ("== yes", (1,)), ("== true", (1,)), ("== 1", ("1",))])
def test_a_column_of_another_type_is_refused(text: str, values: tuple[object, ...]):
    with pytest.raises(SpecError, match="the label column has type"):
        LabelRule.parse(text).arrow_mask(column(*values))


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([">=", "<=", ">", "<", "==", "!="]))
def test_numbers_are_read_exactly(value: float, operator: str):
    rule = LabelRule.parse(f"{operator} {value!r}")
    assert rule.operator == operator
    assert rule.value == value
