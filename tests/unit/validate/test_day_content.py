"""What validate does with a day whose content moved: it blocks, in words, unless the spec lets the column off."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.fakes.flight_nights import flights_plan, raw_day

from nightshift.errors import SpecError
from nightshift.shift.summary import Summary, summarize
from nightshift.spec.data_checks import DataChecks
from nightshift.validate.neighbours import check_content, dials_of, require_known
from nightshift.validate.verdict import DayVerdict

DAY = date(2013, 7, 14)


def earlier(number: int) -> list[dict[str, Summary]]:
    days = [raw_day(DAY - timedelta(days=back)) for back in range(number, 0, -1)]
    return [{name: summarize(day.column(name)) for name in day.column_names} for day in days]


def problems(rows: pa.Table, dials: DataChecks, days: int = 14) -> list[str]:
    verdict = DayVerdict(DAY.isoformat(), rows)
    check_content(verdict, dials, earlier(days))
    return verdict.problems


def changed(name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    rows = raw_day(DAY)
    return rows.set_column(rows.column_names.index(name), name, values)


def test_a_day_like_the_others_passes_and_one_in_other_units_does_not() -> None:
    dials = dials_of(flights_plan(DAY).spec)
    assert problems(raw_day(DAY), dials) == []
    hundredfold = changed("distance", pc.multiply(raw_day(DAY).column("distance"), 100))
    [problem] = problems(hundredfold, dials)
    assert problem.startswith("distance: on 2013-07-14 all its quantiles are 100 times those of the 14 days before")
    assert problem.endswith("write data_checks.relaxed: {distance: [unit_shift]}, or begin after it with source.since")


def test_a_column_that_is_let_off_passes() -> None:
    spec = flights_plan(DAY, data_checks={"relaxed": {"distance": ["unit_shift"]}}).spec
    assert problems(changed("distance", pc.multiply(raw_day(DAY).column("distance"), 100)), dials_of(spec)) == []


def test_what_is_known_only_later_may_be_empty_and_not_in_other_units() -> None:
    dials = dials_of(flights_plan(DAY).spec)
    rows = raw_day(DAY)
    for name in ("arr_delay", "arr_time", "air_time"):
        assert problems(changed(name, pa.nulls(rows.num_rows, rows.column(name).type)), dials) == []
    assert len(problems(changed("arr_delay", pc.multiply(rows.column("arr_delay"), 60)), dials)) == 1
    assert len(problems(changed("dep_delay", pa.nulls(rows.num_rows, pa.int64())), dials)) == 1


def test_a_new_column_and_few_days_are_not_compared() -> None:
    dials = dials_of(flights_plan(DAY).spec)
    rows = changed("distance", pc.multiply(raw_day(DAY).column("distance"), 100))
    assert problems(rows, dials, days=2) == []
    assert problems(raw_day(DAY).append_column("extra", pa.array(range(raw_day(DAY).num_rows))), dials) == []


def test_a_column_that_is_nowhere_cannot_be_let_off() -> None:
    raw = raw_day(DAY).column_names
    require_known(flights_plan(DAY, data_checks={"relaxed": {"distance": ["nulls"], "temp": ["past"]}}).spec, raw)
    with pytest.raises(
        SpecError, match=r"data_checks\.relaxed\.distanse: neither the source nor the features"
    ) as caught:
        require_known(flights_plan(DAY, data_checks={"relaxed": {"distanse": ["nulls"]}}).spec, raw)
    assert "distance" in str(caught.value.hint)
