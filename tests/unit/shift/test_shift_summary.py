"""A column in few numbers: the same for the same rows in any order, and small."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.shift.summary import FEWEST, SENTINELS, summarize

NUMBERS = st.lists(st.none() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6), max_size=80)
TEXTS = st.lists(st.none() | st.sampled_from(["a", "b", "c", "é", ""]), max_size=80)


@given(NUMBERS, st.randoms())
def test_the_order_of_numbers_does_not_matter(values: list[float | None], chance) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)
    assert summarize(pa.array(values, pa.float64())) == summarize(pa.array(shuffled, pa.float64()))


@given(TEXTS, st.randoms())
def test_the_order_of_texts_does_not_matter(values: list[str | None], chance) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)
    assert summarize(pa.array(values, pa.string())) == summarize(pa.array(shuffled, pa.string()))


@given(NUMBERS)
def test_a_summary_is_json_and_counts_every_row(values: list[float | None]) -> None:
    found = summarize(pa.array(values, pa.float64()))
    json.dumps(found, allow_nan=False)
    assert found["rows"] == len(values)
    assert found["nulls"] == sum(value is None for value in values)
    assert sum(share for _, share in found["values"]) <= 1.001
    assert all(share > 0 or len(values) > 1000 for _, share in found["values"])


@given(st.floats(1e-3, 1e3), st.lists(st.integers(1, 1000), min_size=FEWEST, max_size=60))
def test_a_change_of_unit_moves_every_quantile_by_the_same(factor: float, values: list[int]) -> None:
    before = summarize(pa.array([float(value) for value in values]))["magnitudes"]
    after = summarize(pa.array([value * factor for value in values]))["magnitudes"]
    assert np.allclose(np.subtract(after, before), math.log(factor), atol=1e-5)


def test_sentinels_are_counted_however_rare_they_are() -> None:
    column = pa.array([1.5] * 900 + [2.5] * 500 + [3.5] * 500 + [4.5] * 500 + [5.5] * 500 + [999.0])
    values = dict(map(tuple, summarize(column)["values"]))
    assert 999.0 in values
    assert {0, -1, 99, -99, 999, 9999, 2147483647} <= set(SENTINELS)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([None, None], pa.float64()), {"rows": 2, "nulls": 2, "magnitudes": None, "filled": 0.0, "values": []}),
        (pa.array([], pa.string()), {"rows": 0, "nulls": 0, "levels": 0, "top": []}),
        (pa.array([True, None]), {"rows": 2, "nulls": 1}),
        (pa.array(["a", "a", None]).dictionary_encode(), {"rows": 3, "nulls": 1, "levels": 1, "top": [["a", 1.0]]}),
        (pa.array([math.inf, 2.0]), {"rows": 2, "nulls": 0, "magnitudes": None, "filled": 1.0, "values": [[2.0, 1.0]], "low": 2.0, "high": 2.0}),
    ],
)  # fmt: skip
def test_every_kind_of_column(column: pa.Array, expected: dict[str, object]) -> None:
    assert summarize(column) == expected
    assert summarize(pa.chunked_array([column])) == expected


def test_a_text_is_cut_and_a_rare_one_left_out() -> None:
    column = pa.array(["x" * 500] * 99 + ["rare"])
    assert summarize(column) == {"rows": 100, "nulls": 0, "levels": 2, "top": [["x" * 60, 0.99]]}
