"""Durations, days, cron: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.spec.cron import check_cron
from nightshift.spec.values import format_duration, parse_duration, parse_utc_day


@given(st.integers(0, 99_999))
def test_durations_round_trip(hours: int) -> None:
    duration = timedelta(hours=hours)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("text", "hours"), [("60d", 1440), ("36h", 36), ("0d", 0), (" 2 d ", 48), ("00007d", 168)])
def test_durations(text: str, hours: int) -> None:
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "value", ["", "d", "1", "1 m", "-1d", "1.5d", "1d 2h", "60D", "999999d", "٣d", 60, 1.5, True, None, ["60d"]]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("2 weeks", "write 14d"),
        ("1w", "write 7d"),
        ("3 days", "write 3d"),
        ("12 Hours", "write 12h"),
        (60, "write 60d for days, 60h for hours"),
    ],
)
def test_near_durations_are_corrected(value: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse_duration(value)


@given(st.dates())
def test_days_are_utc_midnights(day: date) -> None:
    expected = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert parse_utc_day(day) == parse_utc_day(day.isoformat()) == expected
    assert parse_utc_day(expected) == parse_utc_day(expected.isoformat()) == expected


@pytest.mark.parametrize(
    "value",
    [
        "2013-02-29",
        "2014-01-01T05:00",
        "2014-01-01T00:00-05:00",
        "01.01.2014",
        "soon",
        "",
        20140101,
        None,
        "0001-01-01T00:00+14:00",
    ],
)
def test_what_is_no_day(value: object) -> None:
    with pytest.raises(ValueError, match="is not a whole day"):
        parse_utc_day(value)


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "*/15 0-6 1,15 * mon-fri", "0 0 29 2 *", "30 23 * jan-dec 7", "0 0 l * *", "5 4 * * 0"]
)
def test_cron(text: str) -> None:
    assert check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("60 2 * * *", "its minute is '60'"),
        ("0 24 * * *", "its hour is '24'"),
        ("0 2 32 * *", "its day of the month is '32'"),
        ("0 2 * 13 *", "its month is '13'"),
        ("0 2 * * someday", "its day of the week is 'someday'"),
        ("a b * * *", "its minute is 'a'.*its hour is 'b'"),
        ("", "0 cron fields"),
        ("0 2 * *", "4 cron fields"),
        ("0 0 2 * * *", "6 cron fields.*leave the seconds out"),
        ("@Daily", 'write "0 0 \\* \\* \\*"'),
        ("0 2 30 2 *", "never comes"),
        ("R 2 * * *", "its minute is 'R'"),
        ("H 2 * * *", "its minute is 'H'"),
    ],
)
def test_what_is_no_cron(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_cron(text)
