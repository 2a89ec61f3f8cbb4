"""Checks that need no declaration: keys, duplicates, infinite numbers; what they set aside, and the budget."""

from __future__ import annotations

import math
import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nightshift.validate.rows import check_rows
from nightshift.validate.verdict import DayVerdict


def judged(rows: list[dict[str, object]], key: tuple[str, ...] = ("id",)) -> DayVerdict:
    schema = pa.schema([("id", pa.int64()), ("km", pa.float64()), ("city", pa.string()), ("open", pa.bool_())])
    verdict = DayVerdict("2024-03-01", pa.Table.from_pylist(rows, schema))
    check_rows(verdict, key)
    return verdict


def test_rows_without_a_key_and_infinite_numbers_are_set_aside():
    verdict = judged(
        [{"id": None, "km": 1.0}, {"id": 1, "km": math.inf}, {"id": 2, "km": None}, {"id": 3, "km": -math.inf}]
    )
    assert verdict.clean().column("id").to_pylist() == [2]
    assert verdict.quarantine().column("reason").to_pylist() == [
        "id is null, and it is part of the key",
        "km is infinite",
        "km is infinite",
    ]


def test_duplicates_keep_the_first_in_the_order_of_all_columns():
    rows: list[dict[str, object]] = [
        {"id": 1, "km": 2.0, "city": "b"},
        {"id": 1, "km": 1.0, "city": None},
        {"id": 1, "km": 1.0, "city": "a", "open": True},
        {"id": 1, "km": 1.0, "city": "a", "open": True},
        {"id": 2, "km": 2.0},
    ]
    for _ in range(5):
        random.shuffle(rows)
        verdict = judged(rows)
        kept = [row for row in verdict.clean().to_pylist() if row["id"] == 1]
        assert kept == [{"id": 1, "km": 1.0, "city": "a", "open": True}]
        assert sorted(verdict.quarantine().column("reason").to_pylist()) == [
            "another row has the same key (id)",
            "another row has the same key (id)",
            "exact duplicate of another row",
        ]


def test_a_row_that_is_set_aside_already_does_not_displace_a_good_one():
    rows = [{"id": 1, "km": math.inf, "city": "a"}, {"id": 1, "km": 5.0, "city": "b"}]
    assert judged(rows).clean().column("city").to_pylist() == ["b"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "id": st.one_of(st.none(), st.integers(0, 4)),
                "km": st.one_of(st.none(), st.sampled_from([0.0, 1.5, math.inf])),
                "city": st.one_of(st.none(), st.sampled_from("ab")),
                "open": st.one_of(st.none(), st.booleans()),
            }
        ),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_every_row_is_clean_or_quarantined_and_order_does_not_matter(
    rows: list[dict[str, object]], order: random.Random
):
    verdict = judged(rows)
    shuffled = list(rows)
    order.shuffle(shuffled)
    again = judged(shuffled)

    def as_bag(table: pa.Table) -> list[str]:
        return sorted(map(repr, table.to_pylist()))

    assert as_bag(verdict.clean()) == as_bag(again.clean())
    assert as_bag(verdict.quarantine()) == as_bag(again.quarantine())
    own = verdict.quarantine().drop_columns(["reason"])
    assert as_bag(pa.concat_tables([verdict.clean(), own])) == as_bag(verdict.rows)
    ids = verdict.clean().column("id").to_pylist()
    assert len(ids) == len(set(ids))
    assert None not in ids


def test_above_the_budget_a_day_is_blocked_with_the_reasons():
    verdict = judged([{"id": number} for number in range(97)] + [{"id": None}] * 3)
    verdict.check_budget(0.03)
    assert verdict.problems == []
    verdict.check_budget(0.02)
    assert verdict.problems == [
        "3 of 100 rows would be quarantined (3.00%; quarantine.max_fraction allows 2.00%): "
        "3 × id is null, and it is part of the key"
    ]


def test_a_source_column_named_reason_keeps_its_name():
    verdict = DayVerdict("d", pa.table({"reason": ["rain", "rain"]}))
    verdict.set_aside([1], "because")
    assert verdict.quarantine().to_pylist() == [{"__reason": "because", "reason": "rain"}]
