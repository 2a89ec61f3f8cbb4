"""Whom a challenger meets: the champion of its night, and an anchor against slow decline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from nightshift.evaluate.champion import Rivals, rivals
from nightshift.ledger import Candidate, Entry
from nightshift.ledger.entries import BY_HAND, Kind
from nightshift.plan import Interval
from nightshift.storage import Ref

TONIGHT = date(2024, 6, 30)


def move(version: int, days_ago: int, *, by_a_person: bool = False, kind: Kind = "promotion") -> Entry:
    """What puts a version of so many nights ago in the champion's place, or takes it from there for ever."""
    interval = Interval.of_day(TONIGHT - timedelta(days=days_ago))
    about = Candidate(version, f"{version:064d}", interval, Ref("train", interval.key, 1, "digest"), "run")
    key = f"{BY_HAND if by_a_person else ''}{kind} of v{version}"
    return Entry(0, "", kind, "", "test", about, None, version, "because", key)


def ledger(*moves: Entry) -> list[Entry]:
    return [Entry(**{**vars(entry), "sequence": number}) for number, entry in enumerate(moves, start=1)]


def met(entries: Sequence[Entry], *, digest: str = "tonight") -> Rivals:
    found = rivals(ledger(*entries), Interval.of_day(TONIGHT), digest)
    assert found is not None
    return found


def anchor(*ever: Entry) -> int | None:
    found = met(ever).anchor
    return found.model_version if found else None


def test_there_is_nobody_to_meet_before_the_first_promotion() -> None:
    assert rivals([], Interval.of_day(TONIGHT), "tonight") is None


def test_the_champion_of_a_month_ago_is_the_anchor() -> None:
    assert anchor(move(1, 60), move(2, 30), move(3, 29)) == 2
    assert anchor(move(2, 29), move(3, 1)) is None


def test_what_a_person_promoted_since_then_is_the_anchor_instead() -> None:
    old, night = move(1, 40), move(4, 1)
    looked_at = move(2, 20, by_a_person=True)
    assert anchor(old, looked_at, move(3, 10), night) == 2
    assert anchor(old, looked_at, move(3, 10, by_a_person=True), night) == 3
    assert anchor(old, looked_at) is None, "the champion itself is met anyway"


def test_a_rollback_approves_nothing_and_an_old_approval_is_no_better_than_a_month() -> None:
    old, night = move(1, 40), move(4, 1)
    assert anchor(old, move(2, 20), move(3, 15), move(2, 20, kind="rollback"), night) == 1
    assert anchor(move(5, 90, by_a_person=True), old, night) == 1


def test_a_version_that_a_rollback_left_is_no_anchor() -> None:
    """It served for a day, or for a month, and was found wrong."""
    old, left, back, night = move(1, 60), move(2, 32), move(1, 60, kind="rollback"), move(3, 1)
    assert anchor(old, left, back, night) == 1
    assert anchor(old, left, move(4, 10), back, night) == 1
    assert anchor(move(9, 90), old, left, back) is None, "the champion itself is met anyway"


def test_what_a_person_promoted_and_went_back_from_is_no_anchor() -> None:
    old, wrong = move(2, 40), move(3, 20, by_a_person=True)
    back, night = move(2, 40, kind="rollback"), move(4, 1)
    assert anchor(old, wrong, back, night) == 2
    assert anchor(old, wrong, back, move(3, 20, kind="rollback"), night) == 3, "they went forward to it again"


def test_what_a_person_promoted_stays_the_anchor_when_a_rollback_comes_back_to_it() -> None:
    looked_at = move(2, 20, by_a_person=True)
    assert anchor(move(1, 40), looked_at, move(3, 10), move(2, 20, kind="rollback"), move(4, 1)) == 2


def test_a_retired_version_is_no_anchor() -> None:
    assert anchor(move(1, 60), move(2, 40), move(3, 1), move(2, 40, kind="retirement")) == 1


def test_a_rollback_counts_from_the_night_that_it_left() -> None:
    """Not from the night of the version that it went back to: that one's successor served until then."""
    moves = move(1, 90), move(2, 60), move(3, 20), move(2, 60, kind="rollback"), move(1, 90, kind="rollback")
    assert anchor(*moves, move(4, 1)) == 1
    assert anchor(move(1, 90), move(2, 60), move(3, 20), move(2, 60, kind="rollback"), move(4, 1)) == 2


def test_a_night_run_again_does_not_meet_what_was_approved_later() -> None:
    found = met([move(4, 1), move(2, -5, by_a_person=True)])
    assert (found.champion.model_version, found.anchor) == (4, None)


def test_a_night_run_again_has_the_anchor_that_it_had_the_first_time() -> None:
    """A night refused it; later an older night's version was approved, and the night is run once more."""
    before = [move(1, 60), move(2, 10)]
    refusal = move(9, 0, kind="refusal")
    after = [*before, refusal, move(3, 1, by_a_person=True)]
    assert met(after, digest=refusal.about.model_digest).key == met(before).key
    assert met(after).champion.model_version == 3


def test_a_model_that_is_the_champions_own_once_more_meets_the_champion() -> None:
    champion = move(2, 1)
    found = met([move(1, 5), champion], digest=champion.about.model_digest)
    assert found.champion.model_version == 2
    assert met([champion], digest=champion.about.model_digest).champion.model_version == 2


def test_the_key_of_an_evaluation_knows_the_anchor() -> None:
    looked_at = move(2, 20, by_a_person=True)
    assert met([looked_at, move(4, 1)]).key != met([move(4, 1)]).key
