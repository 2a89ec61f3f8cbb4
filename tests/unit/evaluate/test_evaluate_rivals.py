"""Whom a challenger meets: the champion of its night, and an anchor against slow decline."""

from __future__ import annotations

from datetime import date, timedelta

from nightshift.evaluate.champion import Rivals, rivals
from nightshift.ledger import Champion
from nightshift.ledger.entries import Kind
from nightshift.plan import Interval
from nightshift.storage import Ref

TONIGHT = date(2024, 6, 30)


def champion(version: int, *, days_ago: int, by_a_person: bool = False, how: Kind = "promotion") -> Champion:
    interval = Interval.of_day(TONIGHT - timedelta(days=days_ago))
    ref = Ref("train", interval.key, 1, "digest")
    return Champion(version, f"{version:064d}", interval, ref, "run", version, "", how, by_a_person)


def met(*ever: Champion) -> Rivals:
    found = rivals(ever[-1], ever, Interval.of_day(TONIGHT))
    assert found is not None
    return found


def anchor(*ever: Champion) -> int | None:
    found = met(*ever).anchor
    return found.model_version if found else None


def test_the_champion_of_a_month_ago_is_the_anchor() -> None:
    assert anchor(champion(1, days_ago=60), champion(2, days_ago=30), champion(3, days_ago=29)) == 2
    assert anchor(champion(2, days_ago=29), champion(3, days_ago=1)) is None


def test_what_a_person_promoted_since_then_is_the_anchor_instead() -> None:
    old, night = champion(1, days_ago=40), champion(4, days_ago=1)
    looked_at = champion(2, days_ago=20, by_a_person=True)
    assert anchor(old, looked_at, champion(3, days_ago=10), night) == 2
    assert anchor(old, looked_at, champion(3, days_ago=10, by_a_person=True), night) == 3
    assert anchor(old, looked_at) is None, "the champion itself is met anyway"


def test_a_rollback_approves_nothing_and_an_old_approval_is_no_better_than_a_month() -> None:
    old, night = champion(1, days_ago=40), champion(4, days_ago=1)
    assert anchor(old, champion(2, days_ago=20, by_a_person=True, how="rollback"), night) == 1
    assert anchor(champion(5, days_ago=90, by_a_person=True), old, night) == 1


def test_a_night_run_again_does_not_meet_what_was_approved_later() -> None:
    later = champion(2, days_ago=-5, by_a_person=True)
    found = rivals(champion(4, days_ago=1), [champion(4, days_ago=1), later], Interval.of_day(TONIGHT))
    assert found is not None
    assert found.anchor is None


def test_the_key_of_an_evaluation_knows_the_anchor() -> None:
    looked_at = champion(2, days_ago=20, by_a_person=True)
    assert met(looked_at, champion(4, days_ago=1)).key != met(champion(4, days_ago=1)).key
