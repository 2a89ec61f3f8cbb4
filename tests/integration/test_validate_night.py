"""Nights of validation with Great Expectations itself: what passes, what is set aside, what blocks. No JVM."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from nightshift.errors import SpecError, ValidationFailed
from nightshift.ingest import run as ingest
from nightshift.ledger.blessings import UNBLESSED, Blessing, read
from nightshift.plan import Plan, resolve_interval
from nightshift.spec.models import Expectation, ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Manifest, Store
from nightshift.validate import run as validate
from nightshift.validate.expectations import Suite, expected_in_words

NIGHT = "2024-03-09"
DAYS = [(date(2024, 3, 1) + timedelta(days=number)).isoformat() for number in range(8)]
Change = Callable[[int], str]


@dataclass
class Rides:
    """Daily files of 40 rides, and the nights that read them."""

    folder: Path
    expectations: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"column": "city", "not_null": True},
            {"column": "km", "between": [0, 100], "mostly": 0.9},
            {"column": "city", "in_set": ["Bonn", "Mainz"], "mostly": 0.9},
        ]
    )
    options: dict[str, Any] = field(default_factory=lambda: {"quarantine": {"max_fraction": 0.1}})

    def write(
        self, day: str, *, rows: int = 40, header: str = "id,at,km,city,late", change: Change | None = None
    ) -> None:
        lines = [f"{number},{day}T10:00:00Z,{number}.5,Bonn,{number % 2}" for number in range(rows)]
        if change is not None:
            lines = [change(number) or line for number, line in enumerate(lines)]
        (self.folder / f"{day}.csv").write_text("\n".join([header, *lines]) + "\n")

    def plan(self, night: str) -> Plan:
        spec = {
            "version": 1,
            "model": "rides",
            "owner": "tests@example.com",
            "source": {"kind": "files", "uri": f"{self.folder}/%F.csv", "time": "at"},
            "key": ["id", "at"],
            "prepare": "rides.sql",
            "expectations": self.expectations,
            "label": {"column": "late", "positive": ">= 1", "delay": "1d"},
            "features": {"numeric": ["km"]},
            "window": {"train": "5d", "holdout": "2d"},
            "training": {"engine": "xgboost"},
            "gates": {"minimum": 0.5, "versus_champion": {"least": {"days": 2}}},
            **self.options,
        }
        now = datetime(2030, 1, 1, tzinfo=UTC)
        return Plan(
            spec=ModelSpec.model_validate(spec),
            interval=resolve_interval(now=now, night=night),
            storage=(self.folder / "store").as_uri(),
            env="test",
            mlflow_uri="",
            run_id="r",
            trigger="test",
            threads=1,
            code_version="x",
        )

    @property
    def store(self) -> Store:
        return Store.of(self.plan(NIGHT))

    def night(self, night: str = NIGHT) -> StageResult:
        plan = self.plan(night)
        read = ingest(plan, StageIO(self.store, {}, self.folder))
        assert read.ref is not None
        return validate(plan, StageIO(self.store, {"ingest": read.ref}, self.folder))

    def unblessed(self, night: str = NIGHT) -> Blessing:
        """The failed verdict on a night's data that was kept last."""
        kept = self.store.latest(UNBLESSED, self.plan(night).interval.key)
        assert kept is not None
        return read(self.store, kept)

    def blocked(self, night: str = NIGHT) -> str:
        before = self.store.versions("validate", self.plan(night).interval.key)
        with pytest.raises(ValidationFailed) as caught:
            self.night(night)
        assert self.store.versions("validate", self.plan(night).interval.key) == before
        return caught.value.message

    def valid(self, day: str) -> Manifest | None:
        return self.store.latest("valid", day)

    def quarantine(self, day: str) -> list[dict[str, Any]]:
        manifest = self.valid(day)
        assert manifest is not None
        rows: list[dict[str, Any]] = self.store.read_table(manifest, "quarantine").to_pylist()
        return rows


@pytest.fixture
def rides(tmp_path: Path) -> Rides:
    made = Rides(tmp_path)
    for day in DAYS:
        made.write(day)
    return made


def only(number: int, line: str) -> Change:
    return lambda at: line if at == number else ""


def test_a_good_night_publishes_every_day_with_its_statistics(rides: Rides):
    result = rides.night()
    assert result.summary == {
        "rows_in": 320, "rows_out": 320, "quarantined": 0, "labelled": 320, "unlabelled": 0, "positives": 160,
        "expectations": 3, "days": 8, "days_validated": 8, "warnings": [],
    }  # fmt: skip
    manifest = rides.store.resolve(result.ref)
    assert sorted(manifest.inputs) == [f"valid/{day}" for day in DAYS]
    day = rides.valid(DAYS[0])
    assert day is not None
    assert day.inputs["raw"].interval == DAYS[0]
    assert day.result["columns"]["km"] == {"type": "double", "nulls": 0, "min": 0.5, "max": 39.5, "mean": 20.0}
    page = rides.store.read(manifest, "docs/index.html").decode()
    assert "Great Expectations" in page
    assert "must be greater than or equal to" in page
    assert json.loads(rides.store.read(manifest, "verdict.json"))["verdict"] == "passed"


def test_a_day_is_judged_once(rides: Rides, monkeypatch: pytest.MonkeyPatch):
    rides.night()
    rides.write("2024-03-09")
    second = rides.night("2024-03-10")
    assert second.summary["days_validated"] == 1
    monkeypatch.setattr("nightshift.validate.night.Suite", lambda *_: pytest.fail("judged again"))
    again = rides.night("2024-03-10")
    assert again.reused
    assert again.summary == second.summary


def test_failing_rows_are_set_aside_with_reason_and_value(rides: Rides):
    rides.write(DAYS[3], change=lambda at: {5: f"5,{DAYS[3]}T10:00:00Z,999,Köln,1"}.get(at, ""))
    result = rides.night()
    assert result.summary["quarantined"] == 1
    (row,) = rides.quarantine(DAYS[3])
    assert row["reason"] == ("km: between 0 and 100; value is '999.0'; city: one of Bonn, Mainz; value is 'Köln'")
    assert row["id"] == 5
    day = rides.valid(DAYS[3])
    assert day is not None
    assert (day.result["rows_in"], day.result["rows_out"]) == (40, 39)
    assert day.outputs["rows"].rows == 39


def test_a_share_above_mostly_blocks_the_day_and_keeps_the_good_ones(rides: Rides):
    rides.options = {"quarantine": {"max_fraction": 1}}
    rides.write(DAYS[3], change=lambda at: f"{at},{DAYS[3]}T10:00:00Z,{500 + at},Bonn,{at % 2}" if at < 10 else "")

    message = rides.blocked()

    assert (
        f"{DAYS[3]}: km: between 0 and 100: 10 of 40 rows fail (25.00%, 10.00% may), such as 500.0, 501.0, " in message
    )
    assert "505.0" not in message
    assert rides.valid(DAYS[3]) is None
    assert all(rides.valid(day) for day in DAYS if day != DAYS[3])
    uri = message.split("evidence: ")[1].split()[0]
    assert "10 unexpected values found" in Path(urlsplit(uri).path).read_text()
    rejected = rides.store.latest("rejected", DAYS[3])
    assert rejected is not None
    assert rejected.outputs["quarantine"].rows == 10
    verdict = json.loads(rides.store.read(rejected, "verdict.json"))
    assert verdict["verdict"] == "blocked"
    (check,) = rides.unblessed().checks
    assert (check.name, check.passed) == (f"validation.{DAYS[3]}", False)
    assert "10 of 40 rows fail" in check.text
    assert rides.unblessed().evidence == f"rejected/{DAYS[3]}"

    rides.blocked()  # a second try keeps the evidence once
    assert rides.store.versions("rejected", DAYS[3]) == [1]

    rides.write(DAYS[3])
    assert rides.night().summary["days_validated"] == 1


def test_more_than_the_budget_blocks(rides: Rides):
    rides.options = {"quarantine": {"max_fraction": 0.01}}
    rides.write(DAYS[7], change=only(0, f"0,{DAYS[7]}T10:00:00Z,-3,Bonn,1"))
    message = rides.blocked()
    assert (
        f"{DAYS[7]}: 1 of 40 rows would be quarantined (2.50%; quarantine.max_fraction allows 1.00%): "
        "1 × km: between 0 and 100" in message
    )


def test_a_day_that_is_blocked_by_its_budget_has_a_page_too(rides: Rides):
    rides.options = {"quarantine": {"max_fraction": 0}}
    rides.write(DAYS[1], change=only(1, f"1,{DAYS[1]}T10:00:00Z,inf,Bonn,1"))
    message = rides.blocked()
    assert "1 × km is infinite" in message
    assert "/docs/index.html" in message


def test_duplicates_are_set_aside(rides: Rides):
    rides.write(DAYS[2], change=only(7, f"6,{DAYS[2]}T10:00:00Z,6.5,Bonn,0"))
    rides.night()
    assert [row["reason"] for row in rides.quarantine(DAYS[2])] == ["exact duplicate of another row"]


def test_a_day_with_far_fewer_rows_blocks(rides: Rides):
    rides.write(DAYS[7], rows=4)
    assert f"{DAYS[7]}: 4 rows are 0.10 times the median of the 7 days before (40)" in rides.blocked()


def test_a_lost_column_and_a_changed_type_block_with_a_diff(rides: Rides):
    rides.write(
        DAYS[7],
        header="id,at,distance,city,late",
        change=lambda at: f"{at},{DAYS[7]}T10:00:00Z,{at}.5,7,{at % 2}",
    )
    message = rides.blocked()
    assert f"{DAYS[7]}: column km (double) is missing; {DAYS[6]} has it" in message
    assert f"{DAYS[7]}: km: between 0 and 100: cannot be judged: the day has no column km" in message


def test_a_number_column_with_words_in_it_blocks(rides: Rides):
    rides.night()
    rides.write("2024-03-09", change=only(3, "3,2024-03-09T10:00:00Z,far,Bonn,1"))
    message = rides.blocked("2024-03-10")
    assert f"2024-03-09: column km is string; on {DAYS[7]} it was double" in message


def test_an_added_column_is_a_warning(rides: Rides):
    rides.write(
        DAYS[7],
        header="id,at,km,city,late,note",
        change=lambda at: f"{at},{DAYS[7]}T10:00:00Z,{at}.5,Bonn,{at % 2},x",
    )
    assert rides.night().summary["warnings"] == [f"{DAYS[7]}: column note (string) is new; {DAYS[6]} does not have it"]


def test_labels_that_stay_null_block_once_they_should_be_known(rides: Rides):
    rides.write(DAYS[7], change=lambda at: f"{at},{DAYS[7]}T10:00:00Z,{at}.5,Bonn,")
    first = rides.night()
    assert first.summary["unlabelled"] == 40
    rides.write("2024-03-09")
    message = rides.blocked("2024-03-10")
    assert f"{DAYS[7]}: label column late is null in all 40 rows" in message
    rides.write(DAYS[7])
    assert rides.night("2024-03-10").summary["unlabelled"] == 0


def test_a_single_class_in_the_holdout_blocks(rides: Rides):
    for day in DAYS[5:7]:
        rides.write(day, change=lambda at, day=day: f"{at},{day}T10:00:00Z,{at}.5,Bonn,0")
    assert "the holdout window [2024-03-06T00:00Z, 2024-03-08T00:00Z) has only negative labels" in rides.blocked()
    assert [check.name for check in rides.unblessed().failed] == ["labels"]


def test_expectations_about_the_whole_day(rides: Rides):
    rides.expectations = [
        {"expect": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 30}},
        {"column": "km", "expect": "expect_column_mean_to_be_between", "kwargs": {"min_value": 0, "max_value": 25}},
        {"column": "id", "expect": "expect_column_values_to_be_unique"},
        {"expect": "expect_column_pair_values_a_to_be_greater_than_b", "kwargs": {"column_A": "km", "column_B": "id"}},
    ]
    assert rides.night().summary["expectations"] == 4
    rides.write(DAYS[7], change=lambda at: f"{at},{DAYS[7]}T10:00:00Z,{at + 10}.5,Bonn,{at % 2}")
    message = rides.blocked()
    assert "km: expect_column_mean_to_be_between(min_value=0, max_value=25): observed 30.0" in message


def test_an_expectation_that_cannot_be_judged_blocks(rides: Rides):
    rides.expectations = [{"column": "city", "between": [0, 5]}]
    assert "city: between 0 and 5: cannot be judged:" in rides.blocked()


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        (
            {"column": "km", "expect": "expect_column_values_to_be_unque"},
            "did you mean expect_column_values_to_be_unique?",
        ),
        (
            {"expect": "expect_table_row_count_to_be_between", "kwargs": {"min": 3}},
            "does not take these arguments: .*min",
        ),
        ({"expect": "expect_table_row_count_to_equal", "kwargs": {"value": 3}, "mostly": 0.5}, "about the whole day"),
    ],
)
def test_expectations_that_cannot_be_used_are_errors_of_the_spec(expectation: dict[str, Any], says: str):
    with pytest.raises(SpecError, match=f"(?s)expectations\\[0\\].*{says}"):
        Suite([Expectation.model_validate(expectation)])


def test_no_values_of_rows_are_logged(rides: Rides, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="nightshift")
    rides.write(DAYS[3], change=only(5, f"5,{DAYS[3]}T10:00:00Z,5.5,Geheimstadt,1"))
    rides.night()
    assert "Geheimstadt" not in caplog.text


def test_bounds_in_words():
    for given, words in (([1, None], "at least 1"), ([None, 2.5], "at most 2.5"), ([-1, 1], "between -1 and 1")):
        assert expected_in_words(Expectation(column="x", between=given)) == words
