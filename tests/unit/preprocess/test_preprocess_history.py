"""What earlier nights left: which of them count, and that a result says what it depends on."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fakes.flight_nights import flights_plan

from nightshift.plan import Interval, Plan
from nightshift.preprocess.history import NIGHTS, STATS, History, NightStats, about, earlier_nights
from nightshift.storage import Store

NIGHT = date(2013, 7, 15)
PLAN = flights_plan(NIGHT)


def stats(auc: float = 0.6, plan: Plan = PLAN) -> NightStats:
    return NightStats(about(plan), {"temp": (auc, 0.5)}, {"train": (100, 20), "holdout": (50, 10)}, {"temp": {}})


def publish(store: Store, back: int, found: bytes | None) -> None:
    key = Interval.of_day(NIGHT - timedelta(days=1 + back)).key
    attempt = store.attempt("preprocess", key)
    if found is not None:
        attempt.put(STATS, found)
    attempt.publish(stage_key=f"{attempt.id}", code="c")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path.as_uri(), env="dev", model="flight_delays")


def test_the_first_night_has_no_history(store: Store) -> None:
    assert earlier_nights(store, PLAN, "preprocess") == History()


def test_the_newest_nights_before_this_one_count_newest_first(store: Store) -> None:
    for back in range(-2, 10):
        publish(store, back, stats(0.5 + back / 100).to_json())
    found = earlier_nights(store, PLAN, "preprocess")
    assert list(found.nights) == [f"2013-07-{13 - place:02d}" for place in range(NIGHTS)]
    assert found.strengths("temp") == [pytest.approx(0.51 + place / 100) for place in range(NIGHTS)]
    assert found.measures("binary") == [[0.2]] * NIGHTS
    assert found.strengths("unheard") == []


def test_nights_of_another_sql_or_label_and_without_numbers_do_not_count(store: Store) -> None:
    label = {"column": "arr_delay", "positive": ">= 30", "delay": "1d"}
    publish(store, 1, stats(plan=flights_plan(NIGHT, label=label)).to_json())
    publish(store, 2, stats(plan=flights_plan(NIGHT, prepare_sql="SELECT 1")).to_json())
    publish(store, 3, None)
    publish(store, 4, stats().to_json())
    assert list(earlier_nights(store, PLAN, "preprocess").nights) == ["2013-07-10"]


def test_a_damaged_night_is_left_out_with_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(store, 1, stats().to_json())
    publish(store, 2, stats().to_json())
    manifest = store.latest("preprocess", "2013-07-13")
    assert manifest is not None
    store.objects.write(f"{manifest.folder}/{STATS}", b"{}")
    assert list(earlier_nights(store, PLAN, "preprocess").nights) == ["2013-07-12"]
    assert "night 2013-07-13 is left out of the history" in caplog.text


def test_the_digest_follows_what_was_read(store: Store) -> None:
    publish(store, 1, stats(0.6).to_json())
    before = earlier_nights(store, PLAN, "preprocess").digest
    assert earlier_nights(store, PLAN, "preprocess").digest == before
    publish(store, 1, stats(0.7).to_json())
    assert earlier_nights(store, PLAN, "preprocess").digest != before
    publish(store, -1, stats(0.7).to_json())
    assert earlier_nights(store, PLAN, "preprocess").digest == earlier_nights(store, PLAN, "preprocess").digest
