"""From which rows a model has learned: up to a moment, or from a bucket on."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.model.reach import HeldOut, Reach, in_card, incomparable, read_card, unseen

MOMENT = datetime(2024, 3, 1, tzinfo=UTC)
QUARTER = HeldOut(("row",), "c" * 64, 2500)


@pytest.mark.parametrize("reach", [MOMENT, QUARTER, HeldOut(("id", "name"), None, 100)])
def test_the_card_keeps_it(reach: Reach) -> None:
    assert read_card(json.loads(json.dumps(in_card(reach)))) == reach


def test_rows_at_the_moment_are_new_and_rows_before_it_are_not() -> None:
    table = pa.table({"__time": pa.array([datetime(2024, 2, 29, 23, 59, tzinfo=UTC), MOMENT])})
    assert unseen(table, MOMENT).tolist() == [False, True]


@given(st.lists(st.integers(0, 9_999)), st.integers(1, 9_999), st.integers(1, 9_999))
def test_rows_that_two_models_have_not_seen_are_below_both(buckets: list[int], one: int, other: int) -> None:
    table = pa.table({"__bucket": pa.array(buckets, pa.int32())})
    both = unseen(table, HeldOut(("k",), None, one)) & unseen(table, HeldOut(("k",), None, other))
    assert both.tolist() == [bucket < min(one, other) for bucket in buckets]


@pytest.mark.parametrize(
    ("older", "words"),
    [
        (QUARTER, None),
        (HeldOut(("row",), "c" * 64, 1000), None),
        (HeldOut(("row",), "d" * 64, 2500), "the rows' digests are made of other columns by now"),
        (HeldOut(("id",), None, 2500), "was chosen by id, and the key is row"),
        (MOMENT, "from a static source, and the other from days"),
    ],
)
def test_without_a_common_measure_nobody_knows_what_is_new_to_both(older: Reach, words: str | None) -> None:
    found = incomparable(older, QUARTER)
    assert found is None if words is None else words in str(found)


def test_two_models_of_days_can_always_be_compared() -> None:
    assert incomparable(MOMENT, datetime(2024, 4, 1, tzinfo=UTC)) is None
