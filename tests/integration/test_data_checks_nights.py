"""The data checks over the year of flights: real nights pass, and a day in other units blocks the night. No JVM."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.fakes.flight_nights import flights_plan, raw_day, windows

from nightshift.errors import ValidationFailed
from nightshift.ingest import run as ingest
from nightshift.plan import Plan
from nightshift.preprocess.blessing import judge
from nightshift.preprocess.history import History, NightStats
from nightshift.shift.comparison import compare
from nightshift.shift.summary import Summary, summarize
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Store
from nightshift.validate import run as validate
from nightshift.validate.neighbours import dials_of

NIGHT = date(2013, 7, 15)
FIRST = date(2013, 6, 10)


def test_sixty_nights_of_the_year_are_blessed() -> None:
    """With the night before them as history; from the blizzard's spring to December's snow."""
    failed: list[str] = []
    before: dict[str, NightStats] = {}
    nights = [date(2013, 3, 18) + timedelta(days=round(place * 289 / 59)) for place in range(60)]
    assert len(set(nights)) == 60
    for night in nights:
        plan = flights_plan(night)
        found = judge(plan, *windows(plan), History(before))
        failed += [f"{night}: {check.text}" for check in found.checks if not check.passed]
        before = {plan.interval.key: found.stats}
    assert failed == []


def test_no_day_of_the_year_is_blocked() -> None:
    dials = dials_of(flights_plan(NIGHT).spec)
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(365)]
    summaries: list[dict[str, Summary]] = []
    failed: list[str] = []
    for day in days:
        rows = raw_day(day)
        now = {name: summarize(rows.column(name)) for name in rows.column_names}
        for name, summary in now.items():
            earlier = [there[name] for there in summaries]
            failed += [check.text for check in compare(str(day), name, summary, earlier, dials) if not check.passed]
        summaries = [*summaries[-13:], now]
    assert failed == []


class Folder:
    """Daily files of real flights, and the nights that read them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "flights"
        self.files.mkdir()
        for number in range((NIGHT - FIRST).days):
            day = FIRST + timedelta(days=number)
            self.write(day, raw_day(day))

    def write(self, day: date, rows: pa.Table) -> None:
        pq.write_table(rows, self.files / f"{day}.parquet")

    def night(self, **changes: Any) -> StageResult:
        source = {"kind": "files", "uri": f"{self.files}/%F.parquet", "time": "time_hour", "since": FIRST.isoformat()}
        window = {"train": "20d", "holdout": "5d"}
        gates = {"minimum": 0.8, "versus_champion": {"least": {"days": 5}}}
        plan = flights_plan(NIGHT, source=source, expectations=[], tables={}, window=window, gates=gates, **changes)
        plan = Plan(**{**plan.__dict__, "storage": (self.root / "store").as_uri()})
        store = Store.of(plan)
        read = ingest(plan, StageIO(store, {}, self.root))
        assert read.ref is not None
        return validate(plan, StageIO(store, {"ingest": read.ref}, self.root))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_day_in_other_units_blocks_the_night_until_a_person_says_it_is_right(folder: Folder) -> None:
    assert folder.night().summary["days"] == 26
    day = date(2013, 7, 14)
    rows = raw_day(day)
    seconds = pc.multiply(rows.column("dep_delay"), 60)
    folder.write(day, rows.set_column(rows.column_names.index("dep_delay"), "dep_delay", seconds))
    with pytest.raises(ValidationFailed) as caught:
        folder.night()
    first, *lines = caught.value.message.splitlines()
    assert first == "validation: 1 day is blocked, and nothing was published for it:"
    assert lines[0].startswith("  2013-07-14: dep_delay: on 2013-07-14 all its quantiles are ")
    assert "rejected/2013-07-14" in lines[-1]
    assert folder.night(data_checks={"relaxed": {"dep_delay": ["unit_shift"]}}).summary["days"] == 26
