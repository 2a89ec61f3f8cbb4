"""``nightshift waive``: which checks, by whom, why, until when; and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes.blessed import blessing_of
from tests.fakes.published_night import PublishedNight
from tests.unit.cli.conftest import Call

from nightshift.ledger import Ledger, Waiver
from nightshift.ledger.blessings import keep_failed

QUALITY = ("waive", "flight_delays", "--night", "2013-06-28", "--blessing", "quality", "--by", "ada")
REASON = ("--reason", "a strike in the holdout")


def in_days(days: int) -> str:
    return str(datetime.now(UTC).date() + timedelta(days=days))


def test_what_fails_now_is_waived_for_a_week(call: Call, nights_: list[PublishedNight]) -> None:
    done = call(*QUALITY, *REASON)
    assert done.code == 0, done.err
    assert (
        f"In the quality blessing of flight_delays's night 2013-06-28 may fail, up to {in_days(7)}: as_told."
        in done.out
    )
    entry = Ledger(nights_[2].store).entries()[-1]
    assert entry.waiver == Waiver("2013-06-27", "quality", in_days(7), ("as_told",))
    assert (entry.by, entry.reason) == ("ada", "a strike in the holdout")
    told = f"waiver of quality (as_told) for 2013-06-27 up to {in_days(7)}"
    assert told in call("history", "flight_delays").out
    assert told in call("explain", "flight_delays").out


def test_a_check_that_is_named_has_to_be_one_that_fails(call: Call, nights_: list[PublishedNight]) -> None:
    refused = call(*QUALITY, *REASON, "--check", "flor")
    assert refused.code == 66
    assert "flor does not fail in the quality blessing of flight_delays's night 2013-06-28" in refused.err
    assert "what fails: as_told" in refused.err
    assert call(*QUALITY, *REASON, "--check", "as_told", "--check", "as_told").code == 0
    waiver = Ledger(nights_[2].store).entries()[-1].waiver
    assert waiver is not None
    assert waiver.checks == ("as_told",)


def test_where_nothing_fails_there_is_nothing_to_waive(call: Call, nights_: list[PublishedNight]) -> None:
    done = call("waive", "flight_delays", "--night", "2013-06-27", "--blessing", "quality", *REASON)
    assert done.code == 66
    assert "every check of the quality blessing of flight_delays's night 2013-06-27 holds" in done.err


def test_before_a_night_was_judged_its_checks_have_to_be_named(call: Call, nights_: list[PublishedNight]) -> None:
    words = ("waive", "flight_delays", "--night", "2013-07-15", "--blessing", "quality", *REASON, "--json")
    done = call(*words)
    assert done.code == 66
    assert "nobody knows what fails" in done.err
    named = json.loads(call(*words, "--check", "floor", "--check", "anchor").out)
    assert named["entry"]["waiver"]["checks"] == ["floor", "anchor"]


def test_data_that_validate_refused_cannot_be_waived(call: Call, nights_: list[PublishedNight]) -> None:
    store, key = nights_[2].store, nights_[2].plan.interval.key
    words = ("waive", "flight_delays", "--night", "2013-06-28", "--blessing", "data", *REASON)
    keep_failed(store, blessing_of("data", key, fit=False), code="c0de", inputs={})
    before = len(Ledger(store).entries())
    refused = call(*words)
    assert (refused.code, len(Ledger(store).entries())) == (66, before)
    assert "validate refused days of this night (as_told), which nobody can waive" in refused.err
    validated = nights_[2].results["validate"].ref
    assert validated is not None
    keep_failed(store, blessing_of("data", key, fit=False), code="c0de", inputs={"validate": validated})
    assert call(*words).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reason", " "), "it is empty"),
        ((*REASON, "--by", "  "), "it is empty"),
        ((*REASON, "--expires", "2001-01-01"), "is past"),
        ((*REASON, "--expires", in_days(32)), "is more than 30 days ahead"),
    ],
)
def test_a_waiver_says_why_and_by_whom_and_ends(
    call: Call, nights_: list[PublishedNight], words: tuple[str, ...], said: str
) -> None:
    done = call(*QUALITY, *words)
    assert (done.code, len(Ledger(nights_[2].store).entries())) == (2, 3)
    assert said in " ".join(done.err.split())
