"""What a feature says of days that an earlier night used too, and of categories: each bound, its two sides, its words."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from nightshift.ledger.blessings import Check
from nightshift.preprocess.shift import check_past, check_unseen
from nightshift.spec.data_checks import DataChecks

USUAL = [0.0, 1.0, 2.0, 3.0, 4.0]


def days(count: int, factor: float = 1.0, first: int = 0) -> dict[str, list[float]]:
    """Logarithms of quantiles that are all as many times the usual ones."""
    return {f"day {first + number}": [value + math.log(factor) for value in USUAL] for number in range(count)}


def past(now: dict[str, list[float]], earlier: dict[str, list[float]], dials: DataChecks | None = None) -> list[Check]:
    return list(check_past("distance", now, earlier, "2013-07-13", dials or DataChecks()))


@pytest.mark.parametrize(
    ("factor", "passed"), [(1.0, True), (1.099, True), (1.101, False), (1 / 1.099, True), (1 / 1.101, False)]
)
def test_the_past_may_move_by_a_tenth(factor: float, passed: bool) -> None:
    [check] = past(days(7, factor), days(7))
    assert (check.name, check.passed, check.bound) == ("past.distance", passed, 1.1)
    assert check.value == pytest.approx(max(factor, 1 / factor), abs=1e-4)


def test_the_past_is_told_with_the_night_that_saw_it_otherwise() -> None:
    [check] = past(days(8, 1000.0), days(8))
    assert check.text == (
        "distance: on 8 days that the night 2013-07-13 used too, all its quantiles are other ones now, by a factor of "
        "1e+03 (1.1 may be): has its unit changed on all days at once? If that is right, write data_checks.relaxed: "
        "{distance: [past]}, or begin after it with source.since"
    )


def test_a_few_days_in_common_and_a_few_that_moved_say_nothing() -> None:
    assert past(days(6, 60.0), days(20)) == []
    assert past(days(7, 60.0, first=14), days(20)) == [], "six of them are days that the earlier night had"
    [check] = past({**days(7), **days(6, 60.0, first=7)}, days(13))
    assert (check.passed, check.value) == (True, 1.0)
    bent = {day: [value + (60.0 if place else -60.0) for place, value in enumerate(USUAL)] for day in days(9)}
    [check] = past(bent, days(9))
    assert check.passed, "quantiles that move apart are no change of unit"


def test_the_past_may_move_where_the_spec_says_so() -> None:
    assert past(days(9, 60.0), days(9), DataChecks(relaxed={"distance": ("past",)})) == []
    [check] = past(days(9, 1.4), days(9), DataChecks(past=0.5))
    assert (check.passed, check.bound) == (True, 1.5)


def unseen(train: list[str | None], holdout: list[str | None], dials: DataChecks | None = None) -> list[Check]:
    columns = (pa.chunked_array([pa.array(values, pa.string())]) for values in (train, holdout))
    return list(check_unseen("kind", *columns, dials or DataChecks()))


def test_a_fifth_of_the_holdout_may_have_new_categories() -> None:
    for new, passed in ((20, True), (21, False)):
        [check] = unseen(["a", None], ["a"] * (100 - new) + ["new"] * new)
        assert (check.name, check.passed, check.value, check.bound) == ("unseen.kind", passed, new / 100, 0.2)
    [check] = unseen(["a", "b"], ["a"] * 15 + ["b"] * 15)
    assert check.text == (
        "kind: 0.0% of the holdout's rows have a category that the training window does not have (20% may)"
    )


def test_the_first_three_new_categories_are_named_and_long_ones_are_cut() -> None:
    [check] = unseen(["a"], ["a"] * 30 + ["z" * 50, "y", "x", "w"] * 5)
    assert "(20% may), such as 'w', 'x', 'y': are categories written in another way by now? If that is " in check.text
    [check] = unseen(["a"], ["z" * 50] * 30)
    assert f"such as {'z' * 39!r}"[:-1] in check.text
    assert "z" * 40 not in check.text


def test_new_categories_are_judged_from_thirty_rows_on_that_have_one() -> None:
    assert unseen(["a"], ["b"] * 29 + [None] * 50) == []
    [check] = unseen(["a"], ["b"] * 6 + ["a"] * 24 + [None] * 50)
    assert (check.passed, check.value) == (True, 0.2), "a null is no category"
    assert unseen(["a"], ["b"] * 30, DataChecks(relaxed={"kind": ("unseen",)})) == []
