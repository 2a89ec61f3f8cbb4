"""A day against the days before it: real days pass, each fault of one day is told by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.flight_nights import between, joined_flights, raw_day

from nightshift.ledger.blessings import Check
from nightshift.plan import Interval
from nightshift.shift.comparison import NEEDED, compare, shift
from nightshift.shift.summary import Summary, summarize
from nightshift.spec.data_checks import DataChecks

DIALS = DataChecks()
JOINED = ("temp", "wind_speed", "precip", "visib", "pressure", "plane_age", "seats")
# The blizzard of February, a summer week with its storms, Thanksgiving with December's first snow.
FIRSTS = (date(2013, 2, 4), date(2013, 7, 1), date(2013, 11, 25))
DAYS = [first + timedelta(days=number) for first in FIRSTS for number in range(8)]


@cache
def day_of(day: date) -> pa.Table:
    raw = raw_day(day)
    joined = between(joined_flights(), Interval.of_day(day)).select(list(JOINED))
    # Two tables side by side as dictionaries of columns: they have other numbers of rows.
    return {**{name: raw.column(name) for name in raw.column_names}, **{name: joined.column(name) for name in JOINED}}


@cache
def summary_of(day: date, column: str) -> Summary:
    return summarize(day_of(day)[column])


def before(day: date, column: str) -> list[Summary]:
    days = [day - timedelta(days=back) for back in range(14, 0, -1)]
    return [summary_of(there, column) for there in days if there >= date(2013, 1, 1)]


def judged(
    day: date, column: str, changed: pa.Array | pa.ChunkedArray | None = None, dials: DataChecks = DIALS
) -> list[Check]:
    now = summary_of(day, column) if changed is None else summarize(changed)
    return compare(str(day), column, now, before(day, column), dials)


def failed(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_real_days_pass(day: date) -> None:
    assert [name for column in day_of(day) for name in failed(judged(day, column))] == []


UNITS: dict[str, tuple[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]] = {
    "minutes to seconds": ("dep_delay", lambda column: pc.multiply(column, 60)),
    "minutes to hours": ("dep_delay", lambda column: pc.divide(column.cast(pa.float64()), 60.0)),
    "dollars to cents": ("distance", lambda column: pc.multiply(column, 100)),
    "fahrenheit to kelvin": ("temp", lambda column: pc.add(pc.divide(pc.subtract(column, 32.0), 1.8), 273.15)),
    "wind times 100": ("wind_speed", lambda column: pc.multiply(column, 100)),
    "millibar to inches": ("pressure", lambda column: pc.multiply(column, 0.02953)),
    "minutes of flight to hours": ("air_time", lambda column: pc.divide(column.cast(pa.float64()), 60.0)),
}


@pytest.mark.parametrize("fault", UNITS)
def test_a_change_of_unit_is_caught_on_every_day(fault: str) -> None:
    column, change = UNITS[fault]
    missed = [
        day for day in DAYS if f"unit_shift.{column}" not in failed(judged(day, column, change(day_of(day)[column])))
    ]
    assert missed == []


def test_fahrenheit_to_celsius_is_caught_on_nearly_every_day() -> None:
    def celsius(day: date) -> pa.ChunkedArray:
        return pc.divide(pc.subtract(day_of(day)["temp"], 32.0), 1.8)

    caught = [day for day in DAYS if "unit_shift.temp" in failed(judged(day, "temp", celsius(day)))]
    assert len(caught) >= 0.95 * len(DAYS)


def test_miles_to_kilometres_is_caught_on_nearly_every_day() -> None:
    caught = [day for day in DAYS if failed(judged(day, "distance", pc.multiply(day_of(day)["distance"], 1.609344)))]
    assert len(caught) >= 0.9 * len(DAYS)


def replaced(column: pa.ChunkedArray, share: float, value: object) -> pa.Array:
    """Every so-manieth value is another one."""
    values = column.to_pylist()
    for place in range(0, len(values), round(1 / share)):
        values[place] = value
    return pa.array(values, column.type)


@pytest.mark.parametrize(
    ("column", "share", "value"),
    [("dep_delay", 0.4, 0), ("dep_delay", 0.05, 9999), ("distance", 0.05, -1), ("temp", 0.05, -999.0), ("seats", 0.05, 0), ("air_time", 0.7, 100.0)],
)  # fmt: skip
def test_a_sentinel_is_caught_on_every_day(column: str, share: float, value: float) -> None:
    if column == "seats":
        share = 0.5
    missed = [
        day
        for day in DAYS
        if f"sentinel.{column}" not in failed(judged(day, column, replaced(day_of(day)[column], share, value)))
    ]
    assert missed == []


def test_a_sentence_names_column_day_value_and_what_to_write() -> None:
    day = date(2013, 7, 14)
    [check] = [
        check for check in judged(day, "distance", pc.multiply(day_of(day)["distance"], 100)) if not check.passed
    ]
    assert check.name == "unit_shift.distance"
    assert check.text == (
        "distance: on 2013-07-14 all its quantiles are 100 times those of the 14 days before (0.692 to 1.44 may be): "
        "has its unit changed? If that is right, write data_checks.relaxed: {distance: [unit_shift]}, or begin after it "
        "with source.since"
    )  # fmt: skip
    assert isinstance(check.value, float)
    assert isinstance(check.bound, float)
    assert check.value > check.bound


def test_lost_values_and_silent_sources_and_exploding_categories() -> None:
    day = date(2013, 7, 14)
    flights = day_of(day)
    assert "nulls.origin" in failed(judged(day, "origin", replaced(flights["origin"], 0.9, None)))
    assert "dominance.carrier" in failed(judged(day, "carrier", replaced(flights["carrier"], 0.5, "UA")))
    names = pa.array([f"{carrier}-{number}" for number, carrier in enumerate(flights["carrier"].to_pylist())])
    assert "explosion.carrier" in failed(judged(day, "carrier", names))
    assert failed(judged(day, "tailnum", flights["tailnum"])) == []


@pytest.mark.parametrize("kind", ["unit_shift", "sentinel", "nulls"])
def test_a_column_can_be_let_off_one_check_and_keeps_the_others(kind: str) -> None:
    day = date(2013, 7, 14)
    dials = DataChecks.model_validate({"relaxed": {"distance": [kind]}})
    kinds = {check.name.partition(".")[0] for check in judged(day, "distance", dials=dials)}
    assert kinds == {"unit_shift", "sentinel", "nulls"} - {kind}
    others = {check.name.partition(".")[0] for check in judged(day, "dep_delay", dials=dials)}
    assert others == {"unit_shift", "sentinel", "nulls"}


def test_too_few_days_or_rows_make_no_comparison() -> None:
    day = date(2013, 7, 14)
    now = summary_of(day, "distance")
    assert compare("d", "distance", now, before(day, "distance")[: NEEDED - 1], DIALS) == []
    assert compare("d", "distance", summarize(pa.array([1] * 29)), before(day, "distance"), DIALS) == []
    assert compare("d", "distance", now, [summarize(pa.array([], pa.int64()))] * 14, DIALS) == []


def test_the_part_of_a_date_moves_without_being_suspect() -> None:
    for day in (date(2013, 2, 1), date(2013, 3, 1), date(2013, 6, 9), date(2013, 9, 1)):
        for column in ("month", "day", "year"):
            assert failed(judged(day, column)) == []


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5), st.floats(-3, 3))
def test_a_common_step_is_found_whole_and_a_mixed_one_is_none(usual: list[float], step: float) -> None:
    assert shift([value + step for value in usual], usual) == pytest.approx(step, abs=1e-9)
    mixed = [value + (abs(step) if place % 2 else -abs(step)) for place, value in enumerate(usual)]
    assert shift(mixed, usual) == pytest.approx(0.0, abs=1e-9)


@given(st.permutations(range(14)))
def test_the_order_of_the_days_before_does_not_matter(order: list[int]) -> None:
    day = date(2013, 7, 14)
    earlier = before(day, "temp")
    one = compare(str(day), "temp", summary_of(day, "temp"), earlier, DIALS)
    other = compare(str(day), "temp", summary_of(day, "temp"), [earlier[place] for place in order], DIALS)
    assert [(check.name, check.value, check.bound) for check in one] == [
        (check.name, check.value, check.bound) for check in other
    ]
    assert np.isfinite([float(check.value) for check in one]).all()  # type: ignore[arg-type]
