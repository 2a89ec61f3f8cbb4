"""``nightshift profile`` on real stored days: what it drafts can be pasted into the spec, and holds on later days."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from tests.fakes.flight_nights import flights_plan, raw_day
from tests.unit.cli.conftest import Call

from nightshift.cli.proposals import common_format, propose, strong_features
from nightshift.settings import Settings
from nightshift.spec.models import Expectation
from nightshift.storage import Store

FIRST = date(2013, 7, 1)
SPEC = flights_plan(date(2013, 7, 15)).spec


def stored_days(number: int, **columns: object) -> None:
    settings = Settings.from_environment()
    store = Store.open(settings.storage, env=settings.env, model="flight_delays")
    for day in (FIRST + timedelta(days=place) for place in range(number)):
        attempt = store.attempt("raw", day.isoformat())
        rows = raw_day(day)
        for name, values in columns.items():
            rows = rows.set_column(rows.column_names.index(name), name, pa.array([values] * rows.num_rows))
        attempt.put_table("rows", rows)
        attempt.publish(stage_key="k", code="c")


def drafted(text: str) -> list[Expectation]:
    return [Expectation.model_validate(row) for row in yaml.safe_load(text)["expectations"]]


def holds(row: Expectation, rows: pa.Table) -> float:
    """Share of the rows that have a value and pass."""
    column = rows.column(row.column)
    if row.not_null:
        return 1 - column.null_count / len(column)
    there = column.drop_null()
    if row.between is not None:
        low, high = row.between
        passes = pc.and_(pc.greater_equal(there, low), pc.less_equal(there, high))
    elif row.in_set is not None:
        passes = pc.is_in(there, pa.array(row.in_set))
    else:
        passes = pc.match_substring_regex(there, row.matches)
    return float(pc.mean(passes.cast(pa.float64())).as_py())


def test_the_draft_is_yaml_that_a_spec_takes_and_later_days_pass(call: Call) -> None:
    stored_days(10)
    called = call("profile", "flight_delays", "--days", "8")
    assert called.code == 0
    assert called.out.splitlines()[0].startswith("# Drafted from 7,")
    assert "of 8 days, 2013-07-03 to 2013-07-10" in called.out
    rows = drafted(called.out)
    lines = called.out.splitlines()
    assert (
        '  - {column: carrier, in_set: ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "UA", "US", "VX", "WN", "YV"]}'
        in lines
    )
    assert "  - {column: hour, between: [3, 25]}" in lines
    later = raw_day(date(2013, 7, 20))
    assert [row.column for row in rows if holds(row, later) < row.mostly] == []
    assert not {"year", "month", "day"} & {row.column for row in rows if row.between}
    have = {
        (row.column, kind)
        for row in SPEC.expectations
        for kind in ("between", "not_null", "in_set", "matches")
        if getattr(row, kind)
    }
    assert (
        not {
            (row.column, kind)
            for row in rows
            for kind in ("between", "not_null", "in_set", "matches")
            if getattr(row, kind)
        }
        & have
    )
    assert "more are in the spec already." in called.err


def test_without_stored_days_it_says_what_to_run(call: Call) -> None:
    called = call("profile", "flight_delays")
    assert called.code == 65
    assert "flight_delays has no stored days to look at" in called.err
    assert "--stage ingest" in called.err


def test_columns_that_changed_their_type_are_left_out(call: Call) -> None:
    stored_days(1, origin=7)
    settings = Settings.from_environment()
    store = Store.open(settings.storage, env=settings.env, model="flight_delays")
    attempt = store.attempt("raw", "2013-07-02")
    attempt.put_table("rows", raw_day(date(2013, 7, 2)))
    attempt.publish(stage_key="k", code="c")
    assert "origin" not in call("profile", "flight_delays").out


def test_sentinels_that_stand_apart_are_suspects() -> None:
    days = [raw_day(FIRST + timedelta(days=number)) for number in range(3)]

    def spoiled(table: pa.Table) -> pa.Table:
        distance = table.column("distance").to_pylist()
        distance[::50] = [-1] * len(distance[::50])
        return table.set_column(table.column_names.index("distance"), "distance", pa.array(distance))

    assert [remark for remark in propose(SPEC, days).suspects if not remark.startswith("minute")] == []
    assert (
        "distance: 2.0% of the values are exactly -1; does it stand for a missing value?"
        in propose(SPEC, [spoiled(day) for day in days]).suspects
    )


def test_strong_features_are_told_unless_a_person_named_them() -> None:
    rows = pa.concat_tables([raw_day(FIRST + timedelta(days=number)) for number in range(5)])
    assert strong_features(SPEC, rows, {}) == {}
    unnamed = SPEC.model_copy(update={"features": SPEC.features.model_copy(update={"known_strong": ()})})
    assert list(strong_features(unnamed, rows, {})) == ["dep_delay"]
    assert strong_features(SPEC, rows, {"temp": [0.9, None]}) == {"temp": 0.9}


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        (["EWR", "JFK"], "^[A-Z]{3}$"),
        (["A-1", "B-22"], r"^[A-Z]\-[0-9]{1,2}$"),
        (["2013-01-31", "2014-12-01"], r"^[0-9]{4}\-[0-9]{2}\-[0-9]{2}$"),
        (["New York", "Ulm"], None),
        (["a", "abcdef"], None),
        (["x1", "1x"], None),
        (["", "A"], None),
    ],
)
def test_formats(values: list[str], pattern: str | None) -> None:
    assert common_format(values) == pattern


def test_the_store_is_only_read(call: Call, tmp_path: Path) -> None:
    stored_days(1)
    root = Path(Settings.from_environment().storage.removeprefix("file://"))
    before = sorted(path for path in root.rglob("*") if path.is_file())
    assert call("profile", "flight_delays").code == 0
    assert sorted(path for path in root.rglob("*") if path.is_file()) == before
