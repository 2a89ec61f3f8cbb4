"""From a run to its interval, and from an interval to its windows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import NightSkipped, SpecError
from nightshift.plan import DAY, EVER, Interval, Windows, resolve_interval
from nightshift.spec.models import ModelSpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW_YORK, BERLIN, KIRITIMATI = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Kiritimati")


def day(text: str) -> Interval:
    return Interval.of_day(date.fromisoformat(text))


# -- every kind of run ---------------------------------------------------------------------------------


def test_the_three_ways_to_name_a_night_agree() -> None:
    expected = day("2013-07-14")
    scheduled = resolve_interval(now=NOW, data_interval_end=datetime(2013, 7, 15, 2, tzinfo=UTC))
    dags_test = resolve_interval(now=NOW, data_interval_end=datetime(2013, 7, 15, tzinfo=UTC))
    by_form = resolve_interval(now=NOW, night="2013-07-15")
    assert scheduled == dags_test == by_form == expected
    assert expected.night == date(2013, 7, 15)


def test_a_scheduled_run_means_the_last_complete_day() -> None:
    now = datetime(2026, 3, 1, 2, 0, 7, tzinfo=UTC)
    assert resolve_interval(now=now, data_interval_end=datetime(2026, 3, 1, 2, tzinfo=UTC)) == day("2026-02-28")


def test_a_run_without_a_logical_date_means_the_last_complete_day_before_now() -> None:
    assert resolve_interval(now=NOW) == day("2026-02-28")
    assert resolve_interval(now=NOW, data_interval_end=None, night=None) == day("2026-02-28")


def test_a_manual_run_by_the_ui_has_its_logical_date_as_data_interval_end() -> None:
    assert resolve_interval(now=NOW, data_interval_end=NOW) == day("2026-02-28")


def test_a_backfill_gives_every_day_once() -> None:
    ends = [datetime(2024, 2, 27, 2, tzinfo=UTC) + DAY * number for number in range(5)]
    found = [resolve_interval(now=NOW, data_interval_end=end).key for end in ends]
    assert found == ["2024-02-26", "2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]


def test_an_asked_night_wins_over_the_clock() -> None:
    assert resolve_interval(now=NOW, data_interval_end=NOW, night="2013-07-15") == day("2013-07-14")


@pytest.mark.parametrize(
    "night",
    [
        "2013-07-15",
        " 2013-07-15 ",
        "20130715",
        date(2013, 7, 15),
        datetime(2013, 7, 15, 23, 59, tzinfo=UTC),
        datetime(2013, 7, 14, 20, tzinfo=NEW_YORK),
    ],
)
def test_ways_to_write_a_night(night: str | date) -> None:
    assert resolve_interval(now=NOW, night=night) == day("2013-07-14")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # Midnight of the day that clocks go forward and back, as an Airflow in that zone would give it.
        (datetime(2024, 3, 10, 0, tzinfo=NEW_YORK), "2024-03-09"),
        (datetime(2024, 3, 10, 1, 59, tzinfo=NEW_YORK), "2024-03-09"),
        (datetime(2024, 3, 10, 3, tzinfo=NEW_YORK), "2024-03-09"),
        (datetime(2024, 3, 10, 20, tzinfo=NEW_YORK), "2024-03-10"),
        (datetime(2024, 3, 9, 19, tzinfo=NEW_YORK), "2024-03-09"),
        (datetime(2024, 3, 9, 18, 59, tzinfo=NEW_YORK), "2024-03-08"),
        (datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=0), "2024-11-02"),
        (datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=1), "2024-11-02"),
        (datetime(2024, 11, 2, 20, tzinfo=NEW_YORK), "2024-11-02"),
        (datetime(2024, 11, 3, 19, tzinfo=NEW_YORK), "2024-11-03"),
        (datetime(2024, 3, 31, 0, 30, tzinfo=BERLIN), "2024-03-29"),
        (datetime(2024, 3, 31, 1, tzinfo=BERLIN), "2024-03-30"),
        (datetime(2024, 3, 31, 3, tzinfo=BERLIN), "2024-03-30"),
        (datetime(2024, 4, 1, 1, 59, tzinfo=BERLIN), "2024-03-30"),
        (datetime(2024, 4, 1, 2, tzinfo=BERLIN), "2024-03-31"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=0), "2024-10-26"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1), "2024-10-26"),
        (datetime(2024, 10, 28, 0, 59, tzinfo=BERLIN), "2024-10-26"),
        (datetime(2024, 10, 28, 1, tzinfo=BERLIN), "2024-10-27"),
        (datetime(2024, 2, 29, 2, tzinfo=UTC), "2024-02-28"),
        (datetime(2024, 3, 1, 2, tzinfo=UTC), "2024-02-29"),
        (datetime(2023, 3, 1, 2, tzinfo=UTC), "2023-02-28"),
        (datetime(2025, 1, 1, 2, tzinfo=UTC), "2024-12-31"),
        (datetime(2025, 1, 1, 0, 30, tzinfo=BERLIN), "2024-12-30"),
        (datetime(2024, 12, 31, 19, tzinfo=NEW_YORK), "2024-12-31"),
        (datetime(2025, 1, 1, 13, 59, tzinfo=KIRITIMATI), "2024-12-30"),
    ],
)
def test_days_are_utc_days_in_every_zone(moment: datetime, expected: str) -> None:
    assert resolve_interval(now=NOW, data_interval_end=moment) == day(expected)


@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, UTC])
@pytest.mark.parametrize("year", [2024, 2025])
def test_a_year_of_nights_has_no_gap_and_no_overlap(zone: ZoneInfo, year: int) -> None:
    """Also when the runs come at 02:30 local time, which does not exist or comes twice on two days of the year."""
    moments = [datetime(year, 1, 1, 2, 30, tzinfo=zone) + timedelta(days=number) for number in range(366)]
    found = [resolve_interval(now=NOW, data_interval_end=moment) for moment in moments]
    assert all(before.end == after.start for before, after in pairwise(found))


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("night", "said"),
    [
        ("yesterday", "night is 'yesterday', which is not a date"),
        ("2013-02-29", "night is '2013-02-29', which is not a date"),
        ("", "night is '', which is not a date"),
        ("0001-01-01", "before 1900"),
        ("2026-03-02", r"night 2026-03-02 has not come yet; its data is \[2026-03-01, 2026-03-02\)"),
    ],
)
def test_nights_that_cannot_be(night: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        resolve_interval(now=NOW, night=night)


def test_tonight_is_the_newest_night() -> None:
    assert resolve_interval(now=NOW, night="2026-03-01") == day("2026-02-28")


def test_dags_test_of_a_future_date_is_refused() -> None:
    with pytest.raises(SpecError, match="has not come yet"):
        resolve_interval(now=NOW, data_interval_end=datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("how", ["now", "data_interval_end", "night"])
def test_naive_moments_are_refused(how: str) -> None:
    moments = {"now": NOW, how: datetime(2013, 7, 15, 2)}
    with pytest.raises(ValueError, match="has no time zone"):
        resolve_interval(**moments)  # type: ignore[arg-type]


def test_a_finite_source_skips_later_nights() -> None:
    until = datetime(2014, 1, 1, tzinfo=UTC)
    assert resolve_interval(now=NOW, night="2014-01-01", until=until) == day("2013-12-31")
    with pytest.raises(NightSkipped, match=r"night 2014-01-02: the source ends at 2014-01-01 \(source.until\)"):
        resolve_interval(now=NOW, night="2014-01-02", until=until)
    with pytest.raises(NightSkipped):
        resolve_interval(now=NOW, until=until)


# -- intervals -----------------------------------------------------------------------------------------


def test_zero_length_and_backward_intervals_are_refused() -> None:
    moment = datetime(2024, 3, 10, tzinfo=UTC)
    for end in (moment, moment - timedelta(seconds=1), moment.astimezone(NEW_YORK)):
        with pytest.raises(ValueError, match="is empty"):
            Interval(moment, end)


def test_an_hour_that_comes_twice_is_no_empty_interval() -> None:
    first, second = (datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    assert Interval(first, second).end - Interval(first, second).start == timedelta(hours=1)


def test_naive_bounds_are_refused() -> None:
    aware = datetime(2024, 3, 10, tzinfo=UTC)
    for start, end in [(datetime(2024, 3, 9), aware), (aware, datetime(2024, 3, 11))]:
        with pytest.raises(ValueError, match="has no time zone"):
            Interval(start, end)


def test_bounds_are_kept_in_utc() -> None:
    interval = Interval(datetime(2024, 3, 9, 19, tzinfo=NEW_YORK), datetime(2024, 3, 10, 20, tzinfo=NEW_YORK))
    assert interval == day("2024-03-10")
    assert interval.key == "2024-03-10"
    assert str(interval) == "[2024-03-10T00:00Z, 2024-03-11T00:00Z)"


def test_keys_of_other_lengths_name_both_bounds() -> None:
    start = datetime(2024, 3, 10, tzinfo=UTC)
    assert Interval(start, start + 2 * DAY).key == "20240310T000000Z--20240312T000000Z"
    assert Interval(start + timedelta(hours=1), start + timedelta(hours=25)).key == "20240310T010000Z--20240311T010000Z"


MOMENTS = st.datetimes(datetime(1901, 1, 1), datetime(2025, 12, 31), timezones=st.timezones())
DAYS = st.dates(date(1901, 1, 1), date(2025, 12, 31)).map(Interval.of_day)


@settings(max_examples=50)
@given(MOMENTS)
def test_every_instant_is_in_exactly_one_nights_interval(moment: datetime) -> None:
    instant = moment.astimezone(UTC)
    nights = [instant.date() + timedelta(days=shift) for shift in range(-2, 4)]
    holding = [night for night in nights if instant in resolve_interval(now=NOW, night=night)]
    assert holding == [instant.date() + DAY]


@settings(max_examples=50)
@given(MOMENTS, st.timezones())
def test_a_run_never_sees_the_day_that_is_not_over(moment: datetime, zone: ZoneInfo) -> None:
    interval = resolve_interval(now=NOW, data_interval_end=moment)
    instant = moment.astimezone(UTC)
    assert interval.end <= instant < interval.end + DAY
    assert interval == resolve_interval(now=NOW, data_interval_end=instant.astimezone(zone))
    assert interval == resolve_interval(now=instant.astimezone(zone))


@settings(max_examples=50)
@given(MOMENTS, st.integers(1, 100 * 3600))
def test_days_of_an_interval_are_whole_inside_and_contiguous(start: datetime, seconds: int) -> None:
    interval = Interval(start, start.astimezone(UTC) + timedelta(seconds=seconds))
    days = list(interval.days())
    assert all(one.end == other.start for one, other in pairwise(days))
    assert all(one.end - one.start == DAY and one.start.time() == datetime.min.time() for one in days)
    assert all(interval.start <= one.start and one.end <= interval.end for one in days)
    first = days[0].start if days else interval.end
    last = days[-1].end if days else interval.start
    assert first - interval.start < DAY or not days
    assert interval.end - last < DAY or not days
    assert days or interval.end - interval.start < 2 * DAY


@given(DAYS)
def test_a_day_is_its_own_only_day_and_its_key_reads_back(one: Interval) -> None:
    assert list(one.days()) == [one]
    assert day(one.key) == one
    assert one.start in one
    assert one.end not in one
    assert one.night == one.start.date() + DAY


@given(st.lists(DAYS, min_size=2, max_size=6))
def test_keys_sort_like_days(days: list[Interval]) -> None:
    assert [one.key for one in sorted(days)] == sorted(one.key for one in days)


# -- windows -------------------------------------------------------------------------------------------


def spec(train: str, holdout: str, delay: str) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "version": 1,
            "model": "orders",
            "owner": "me",
            "source": {"kind": "files", "uri": "x.csv", "time": "t"},
            "key": ["id"],
            "prepare": "orders.sql",
            "label": {"column": "late", "positive": "== yes", "delay": delay},
            "features": {"numeric": ["price"]},
            "window": {"train": train, "holdout": holdout},
            "training": {"engine": "xgboost"},
            "gates": {"minimum": 0.5, "versus_champion": {"least": {"days": 2}}},
        }
    )


def test_the_demo_night() -> None:
    windows = Windows.of(spec("60d", "14d", "1d"), day("2013-07-14"))
    assert windows.train == Interval(datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 6, 30, tzinfo=UTC))
    assert windows.holdout == Interval(datetime(2013, 6, 30, tzinfo=UTC), datetime(2013, 7, 14, tzinfo=UTC))
    assert windows.ingest == Interval(datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 7, 15, tzinfo=UTC))


@pytest.mark.parametrize(
    ("delay", "known"),
    [
        ("0d", "2013-07-15"),
        ("1h", "2013-07-14"),
        ("24h", "2013-07-14"),
        ("25h", "2013-07-13"),
        ("36h", "2013-07-13"),
        ("7d", "2013-07-08"),
    ],
)
def test_a_delay_of_hours_leaves_out_the_day_whose_labels_are_not_all_known(delay: str, known: str) -> None:
    windows = Windows.of(spec("60d", "14d", delay), day("2013-07-14"))
    assert windows.holdout.end.date().isoformat() == known


@given(DAYS, st.integers(1, 500), st.integers(2, 100), st.integers(0, 2000))
def test_windows_are_contiguous_whole_days_with_known_labels(
    one: Interval, train: int, holdout: int, delay: int
) -> None:
    windows = Windows.of(spec(f"{train}d", f"{holdout}d", f"{delay}h"), one)
    assert windows.train.end == windows.holdout.start
    assert len(list(windows.train.days())) == train
    assert len(list(windows.holdout.days())) == holdout
    assert windows.ingest.start == windows.train.start
    assert windows.ingest.end == one.end
    # The labels of a day are known `delay` after its end; the night's clock is the end of its interval.
    assert windows.holdout.end + timedelta(hours=delay) <= one.end
    assert one.end - (windows.holdout.end + timedelta(hours=delay)) < DAY


def test_the_longest_window_of_the_oldest_night_can_be_computed() -> None:
    oldest = resolve_interval(now=NOW, night="1900-01-01")
    windows = Windows.of(spec("99999d", "99999d", "99999d"), oldest)
    assert windows.train.start.year > 0


def test_all_time_is_one_piece_with_a_name_of_its_own() -> None:
    assert Interval.of_key(EVER.key) == EVER
    assert (EVER.key, str(EVER), list(EVER.days())) == ("all", "all rows", [EVER])
    assert datetime.now(UTC) in EVER
