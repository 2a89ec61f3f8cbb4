"""Who is champion, who was, who meets whom, and what is on hold: laws over any sequence of moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.blessed import a_candidate, interval_of, promote

from nightshift.errors import Overtaken
from nightshift.ledger import Candidate, Entry, Ledger, Obstacle, reigns
from nightshift.ledger.entries import Kind
from nightshift.storage import Ref, Store


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Store.open(tmp_path.as_uri(), env="test", model="demo"))


def roll_back(ledger: Ledger, version: int) -> Entry:
    reign = next(one for one in reversed(ledger.champions()) if one.model_version == version)
    current = ledger.champion()
    assert current is not None
    return ledger.roll_back(reign, seen=current, reason="wrong", by="ada")


def opponents(ledger: Ledger, *nights: tuple[int, int]) -> list[int | None]:
    """Whom the models of nights meet, each given as day and version."""
    found = []
    for day, version in nights:
        digest = next(
            (entry.about.model_digest for entry in ledger.entries()
             if entry.candidate is not None and entry.about.model_version == version), f"new {version}",
        )  # fmt: skip
        met = reigns.opponent(ledger.entries(), interval_of(day), digest)
        found.append(met and met.model_version)
    return found


def test_the_night_after_a_rollback_meets_the_champion_there_is(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        promote(ledger, number, day=number)
    before = opponents(ledger, (1, 1), (2, 2), (3, 3))
    assert before == [None, 1, 2]
    roll_back(ledger, 1)
    assert opponents(ledger, (4, 4)) == [1]
    assert opponents(ledger, (1, 1), (2, 2), (3, 3)) == before
    assert opponents(ledger, (2, 9)) == [2], "a backfill does not meet the future"
    ledger.resume(reason="over", by="ada")
    promote(ledger, 4, day=4)
    assert opponents(ledger, (4, 4), (5, 5), (3, 3)) == [1, 4, 2]


def test_a_rollback_holds_and_only_a_resume_releases(ledger: Ledger) -> None:
    promote(ledger, 1, day=1)
    promote(ledger, 2, day=2)
    entry = roll_back(ledger, 1)
    assert (entry.kind, entry.from_version, entry.to_version) == ("rollback", 2, 1)
    assert entry.blessings == ledger.entries()[0].blessings
    assert ledger.hold() == entry
    assert ledger.put_on_hold(reason="again", by="grace") == entry, "it is on hold already"
    obstacle = promote(ledger, 3, day=3)
    assert isinstance(obstacle, Obstacle)
    assert (obstacle.kind, obstacle.entry) == ("hold", 3)
    resumed = ledger.resume(reason="over", by="ada")
    assert resumed is not None
    assert ledger.resume(reason="over", by="ada") is None
    assert isinstance(promote(ledger, 3, day=3), Entry)


def test_two_rollbacks_decided_on_the_same_champion_are_one(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        promote(ledger, number, day=number)
    first, second, third = ledger.champions()
    entry = ledger.roll_back(second, seen=third, reason="wrong", by="ada")
    assert ledger.roll_back(second, seen=third, reason="wrong too", by="grace") == entry
    with pytest.raises(Overtaken, match=r"v2 became champion meanwhile \(ledger entry 4\): nothing moved"):
        ledger.roll_back(first, seen=third, reason="wrong", by="grace")
    assert len(ledger.entries()) == 4


def test_retention_keeps_every_champion_and_its_blessings(ledger: Ledger) -> None:
    promote(ledger, 1, day=1)
    promote(ledger, 2, day=2)
    kept = {(ref.dataset, ref.interval) for ref in ledger.protected()}
    days = ("2013-07-01", "2013-07-02")
    assert kept == {(stage, day) for stage in ("train", "preprocess", "evaluate", "infra") for day in days}


def entries_of(moves: list[tuple[Kind, int]]) -> list[Entry]:
    """A ledger of moves, without storage: promotions of the next night, and the rest."""
    entries: list[Entry] = []
    promoted: list[Candidate] = []
    began = datetime(2013, 7, 1, tzinfo=UTC)
    for kind, number in moves:
        if kind == "rollback" and len({one.model_version for one in promoted}) < 2:
            continue
        about = None
        if kind == "promotion":
            interval = interval_of(len(promoted) + 1)
            version = len(promoted) + 1
            about = Candidate(version, f"digest {version}", interval, Ref("train", interval.key, 1, "d"), "run")
            promoted.append(about)
        elif kind == "rollback":
            about = promoted[number % len(promoted)]
        before = reigns.roles(entries).champion
        entries.append(
            Entry(
                len(entries) + 1, "", kind, (began + timedelta(hours=len(entries))).isoformat(), "test", about, before,
                about.model_version if about else before, "law", f"{len(entries)}",
            )
        )  # fmt: skip
    return entries


MOVES = st.lists(
    st.tuples(st.sampled_from(["promotion", "promotion", "rollback", "hold", "resume"]), st.integers(0, 9)),
    max_size=14,
)


@given(MOVES)
def test_laws_of_any_history(moves: list[tuple[Kind, int]]) -> None:
    entries = entries_of(moves)
    line, ever = reigns.succession(entries), reigns.champions(entries)
    versions = [one.model_version for one in line]
    assert len(set(versions)) == len(versions), "nobody stands in line twice"
    assert (line[-1] if line else None) == (ever[-1] if ever else None)
    roles = reigns.roles(entries)
    assert roles.champion == (entries[-1].to_version if entries else None)
    assert roles.previous is None or roles.previous != roles.champion
    for place, entry in enumerate(entries):
        at = reigns.champion_at(entries, datetime.fromisoformat(entry.at))
        assert (at and at.model_version) == reigns.roles(entries[: place + 1]).champion
    newest = interval_of(40)
    met = reigns.opponent(entries, newest, None)
    assert (met and met.model_version) == roles.champion, "the next night meets the champion"


@given(MOVES)
def test_what_holds_is_the_last_rollback_or_hold_since_the_last_resume(moves: list[tuple[Kind, int]]) -> None:
    entries = entries_of(moves)
    kinds = [entry.kind for entry in entries]
    since = len(kinds) - kinds[::-1].index("resume") if "resume" in kinds else 0
    held = [entry for entry in entries[since:] if entry.kind in ("rollback", "hold")]
    assert reigns.hold(entries) == (held[-1] if held else None)


def test_a_hold_alone_stops_promotion_until_it_is_released(ledger: Ledger) -> None:
    promote(ledger, 1, day=1)
    entry = ledger.put_on_hold(reason="a holiday", by="ada")
    assert (ledger.hold(), reigns.roles(ledger.entries()).champion) == (entry, 1)
    obstacle = promote(ledger, 2, day=2)
    assert isinstance(obstacle, Obstacle)
    assert obstacle.text == (
        f"On hold since {entry.at} by ada (hold, ledger entry 2: a holiday): nothing is promoted before somebody runs "
        "nightshift resume."
    )
    ledger.resume(reason="over", by="ada")
    assert ledger.hold() is None


def test_what_stands_in_the_way_is_named_with_its_entry(ledger: Ledger) -> None:
    for number in (1, 3):
        promote(ledger, number, day=number)
    entries = ledger.entries()
    late, early = (a_candidate(ledger.store, version=9, day=day) for day in (4, 2))
    assert reigns.obstacle(entries, late, opponent=3) is None
    assert reigns.obstacle(entries, entries[1].about, opponent=1) is None, "it is the champion already"
    assert reigns.obstacle([], early, opponent=None) is None
    newer = reigns.obstacle(entries, early, opponent=3)
    assert newer == Obstacle(
        "superseded", 2,
        "Superseded: champion v3 is of the newer interval 2013-07-03, and an older night never replaces it.",
    )  # fmt: skip
    for met, told in ((1, "v1"), (None, "no champion")):
        assert reigns.obstacle(entries, late, opponent=met) == Obstacle(
            "changed", 2, f"It was judged against {told}, but v3 is champion now: run the night again."
        )


@given(MOVES)
def test_a_night_run_again_meets_whom_it_met_whatever_came_after(moves: list[tuple[Kind, int]]) -> None:
    entries = entries_of(moves)
    for place, entry in enumerate(entries):
        if entry.kind == "promotion":
            about = entry.about
            first = reigns.opponent(entries[:place], about.interval, about.model_digest)
            assert reigns.opponent(entries, about.interval, about.model_digest) == first


@given(MOVES)
def test_going_back_again_and_again_ends(moves: list[tuple[Kind, int]]) -> None:
    entries = entries_of(moves)
    left = []
    while (back := reigns.roles(entries).previous) is not None:
        champion = reigns.roles(entries).champion
        assert champion is not None
        assert back not in left
        left.append(champion)
        target = next(one for one in reversed(reigns.champions(entries)) if one.model_version == back)
        origin = entries[target.sequence - 1]
        entries.append(
            Entry(
                len(entries) + 1, "", "rollback", "2014-01-01T00:00:00+00:00", "test", origin.about, champion, back,
                "law", "k",
            )
        )  # fmt: skip
    assert len(left) < len(entries) + 1
