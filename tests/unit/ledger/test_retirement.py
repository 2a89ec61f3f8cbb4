"""A retired version never serves again, and nobody who serves, or may at once, is retired."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.blessed import a_candidate, bless, interval_of, promote, publish, registered

from nightshift.deploy import by_hand
from nightshift.errors import ModelError, Overtaken
from nightshift.ledger import Candidate, Entry, Ledger, Obstacle, reigns
from nightshift.ledger.entries import Kind
from nightshift.ledger.retention import retain
from nightshift.storage import Ref, Store

pytestmark = pytest.mark.thorough

LONG_AGO = {"keep_days": 0, "keep_versions": 1, "garbage_hours": 0.0}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Store.open(tmp_path.as_uri(), env="test", model="demo"))


def by_hand_promoted(ledger: Ledger, candidate: Candidate) -> Entry | Obstacle:
    champion = ledger.champion()
    blessed = bless(ledger.store, candidate, opponent=champion and champion.model_version)
    return ledger.promote_by_hand(blessed, seen=champion.sequence if champion else 0, reason="fit", by="ada")


def test_who_has_a_role_is_not_retired(ledger: Ledger) -> None:
    candidates = [a_candidate(ledger.store, number, number) for number in (1, 2, 3)]
    for number in (1, 2, 3):
        promote(ledger, number, number)
    with pytest.raises(ModelError, match="v3 is the champion and cannot be retired"):
        ledger.retire(candidates[2], reason="leaks", by="ada")
    with pytest.raises(ModelError, match="v2 is the one that a rollback from champion v3 goes to"):
        ledger.retire(candidates[1], reason="leaks", by="ada")
    assert len(ledger.entries()) == 3
    entry = ledger.retire(candidates[0], reason="leaks", by="ada")
    assert (entry.kind, entry.from_version, entry.to_version, entry.about) == ("retirement", 3, 3, candidates[0])
    assert entry.report == "report/2013-07-01"
    assert entry.by_a_person


def test_a_version_is_retired_once_whoever_does_it(ledger: Ledger) -> None:
    promote(ledger, 1, 1)
    old = a_candidate(ledger.store, 9, 1)
    first = ledger.retire(old, reason="retention", by="retention", by_hand=False)
    assert not first.by_a_person
    assert ledger.retire(old, reason="leaks", by="ada") == first
    assert len(ledger.entries()) == 2


def test_a_retired_version_never_serves_again(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        promote(ledger, number, number)
    first, _, third = reigns.champions(ledger.entries())
    entry = ledger.retire(first, reason="it leaks", by="ada")
    with pytest.raises(ModelError, match=rf"v1 was retired on .* by ada \(ledger entry {entry.sequence}: it leaks\)"):
        ledger.roll_back(first, seen=third, reason="back", by="grace")
    with pytest.raises(ModelError, match="v1 was retired"):
        by_hand.target_of_rollback(ledger, 1)
    with pytest.raises(ModelError, match=r"v7 was never champion: .* Versions that were: v2, v3"):
        by_hand.target_of_rollback(ledger, 7)
    fresh = a_candidate(ledger.store, 4, 4)
    ledger.retire(fresh, reason="never", by="ada")
    for refused in (by_hand_promoted(ledger, fresh), promote(ledger, 4, 4)):
        assert isinstance(refused, Obstacle)
        assert (refused.kind, refused.entry) == ("retired", 5)
    assert reigns.roles(ledger.entries()) == reigns.Roles(3, 2)


def test_after_a_rollback_nobody_retired_is_previous(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        promote(ledger, number, number)
    first, second, third = reigns.champions(ledger.entries())
    ledger.retire(first, reason="leaks", by="ada")
    ledger.roll_back(second, seen=third, reason="back", by="ada")
    assert reigns.roles(ledger.entries()) == reigns.Roles(2, None)
    with pytest.raises(ModelError, match="v2 has no predecessor"):
        by_hand.target_of_rollback(ledger, None)


def test_a_night_run_again_does_not_meet_a_version_whose_files_may_be_gone(ledger: Ledger) -> None:
    for number in (1, 2, 3, 4):
        promote(ledger, number, number)
    first, second, *_ = reigns.champions(ledger.entries())
    ledger.retire(second, reason="leaks", by="ada")
    met = reigns.opponent(ledger.entries(), interval_of(3), "of day 3")
    assert met == first or (met and met.model_version == 3)
    third = reigns.champions(ledger.entries())[2]
    assert reigns.opponent(ledger.entries(), interval_of(3), third.model_digest) == first
    assert [one.model_version for one in ledger.champions()] == [1, 3, 4]


def test_retention_retires_what_it_deletes_and_keeps_champions(ledger: Ledger) -> None:
    store = ledger.store
    for number in (1, 2, 3, 4):
        registered(ledger.store, number, number)
    promote(ledger, 1, 1)
    promote(ledger, 3, 3)
    told = retain(store, **LONG_AGO, dry_run=True)
    assert told.retired == (2,)
    assert "would retire v2" in str(told)
    assert len(ledger.entries()) == 2
    done = retain(store, **LONG_AGO)
    assert done.retired == (2,)
    entry = ledger.entries()[-1]
    assert (entry.kind, entry.about.model_version, entry.by, entry.by_a_person) == ("retirement", 2, "retention", False)
    assert store.latest("train", interval_of(2).key) is None
    for day in (1, 3, 4):
        assert store.latest("train", interval_of(day).key) is not None, "champions, and the newest night"
    assert retain(store, **LONG_AGO).retired == ()
    assert len(ledger.entries()) == 3


def test_a_version_with_another_registration_that_stays_is_not_retired(ledger: Ledger) -> None:
    candidate = registered(ledger.store, 1, 1)
    publish(
        ledger.store, "register", candidate.interval.key, key="by newer code", inputs={"train": candidate.train},
        result={"model_version": 1, "model_digest": candidate.model_digest, "mlflow_run_id": "run-1"},
    )  # fmt: skip
    done = retain(ledger.store, keep_days=90, keep_versions=1, garbage_hours=0.0)
    assert [str(ref).partition("/")[0] for ref in done.versions] == ["register"]
    assert (done.retired, ledger.entries()) == ((), [])


def test_a_champion_that_a_person_retired_is_let_go(ledger: Ledger) -> None:
    for number in (1, 2, 3, 4):
        registered(ledger.store, number, number)
        promote(ledger, number, number)
    entry = by_hand.retire(ledger, 1, reason="leaks", by="ada")
    assert by_hand.retire(ledger, 1, reason="again", by="grace") == entry
    assert retain(ledger.store, **LONG_AGO).retired == ()
    assert ledger.store.latest("train", interval_of(1).key) is None
    assert ledger.store.latest("train", interval_of(2).key) is not None
    with pytest.raises(ModelError, match="there is no v9 in storage; the versions there are: v4"):
        by_hand.retire(ledger, 9, reason="x", by="ada")
    assert len(ledger.entries()) == 5


def test_a_version_promoted_while_retention_looked_stops_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [registered(ledger.store, number, number) for number in (1, 2, 3)]
    promote(ledger, 1, 1)
    protected = Ledger.protected
    calls = []

    def late(self: Ledger) -> list[Ref]:
        found = protected(self)
        if not calls:
            calls.append(by_hand_promoted(Ledger(ledger.store), candidates[1]))
        return found

    monkeypatch.setattr(Ledger, "protected", late)
    with pytest.raises(Overtaken, match="a champion came while retention looked"):
        retain(ledger.store, **LONG_AGO)
    assert isinstance(calls[0], Entry)
    assert [entry.kind for entry in ledger.entries()] == ["promotion", "promotion"]
    assert ledger.store.latest("train", interval_of(2).key) is not None
    assert retain(ledger.store, **LONG_AGO).retired == ()


def test_of_a_retirement_and_a_rollback_at_once_one_comes_first_and_both_agree(tmp_path: Path) -> None:
    for number in range(50):
        store = Store.open((tmp_path / str(number)).as_uri(), env="test", model="demo")
        ledger = Ledger(store)
        for version in (1, 2, 3):
            promote(ledger, version, version)
        first, _, third = ledger.champions()
        gate = threading.Barrier(2)
        outcomes: dict[str, Entry | ModelError] = {}

        def act(name: str) -> None:
            own = Ledger(store)  # noqa: B023
            gate.wait()  # noqa: B023
            try:
                if name == "retire":
                    outcomes[name] = own.retire(first, reason="leaks", by="ada")  # noqa: B023
                else:
                    outcomes[name] = own.roll_back(first, seen=third, reason="back", by="grace")  # noqa: B023
            except ModelError as error:
                outcomes[name] = error  # noqa: B023

        threads = [threading.Thread(target=act, args=(name,)) for name in ("retire", "roll back")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [name for name, outcome in outcomes.items() if isinstance(outcome, Entry)]
        assert len(won) == 1, outcomes
        roles = reigns.roles(ledger.entries())
        assert roles.champion == (3 if won == ["retire"] else 1)
        assert not {roles.champion, roles.previous} & reigns.retired(ledger.entries()).keys()


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["promotion", "promotion", "rollback", "retirement"]), st.integers(0, 9)), max_size=16
)


@given(ACTIONS)
def test_in_any_history_nobody_retired_serves_or_is_next(actions: list[tuple[Kind, int]]) -> None:
    """The rules of the ledger, without storage."""
    entries: list[Entry] = []
    made: list[Candidate] = []
    began = datetime(2013, 7, 1, tzinfo=UTC)
    for kind, number in actions:
        if kind == "promotion":
            day = interval_of(len(made) + 1)
            train = Ref("train", day.key, 1, "d")
            made.append(Candidate(len(made) + 1, f"digest {len(made) + 1}", day, train, "run"))
        if not made:
            continue
        about = made[-1] if kind == "promotion" else made[number % len(made)]
        if kind == "retirement":
            try:
                reigns.require_no_role(entries, about.model_version)
            except ModelError:
                continue
        elif reigns.retirement_of(entries, about.model_version) is not None:
            continue
        before = reigns.roles(entries).champion
        after = before if kind == "retirement" else about.model_version
        at = (began + timedelta(hours=len(entries))).isoformat()
        entries.append(Entry(len(entries) + 1, "", kind, at, "test", about, before, after, "law", f"{len(entries)}"))
        roles, gone = reigns.roles(entries), reigns.retired(entries)
        assert roles.champion == after
        assert not {roles.champion, roles.previous} & gone.keys()
        assert not {one.model_version for one in reigns.succession(entries)} & gone.keys()
        met = reigns.opponent(entries, interval_of(60), None)
        assert (met and met.model_version) == roles.champion
