"""The ledger: one winner per sequence, an unbroken chain, and an order that time of day cannot change."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.blessed import a_candidate, bless, interval_of, promote

from nightshift.errors import IntegrityError, Overtaken, StorageError
from nightshift.ledger import Blessed, Candidate, Entry, Ledger, Obstacle, reigns
from nightshift.ledger import ledger as ledger_module
from nightshift.ledger.ledger import entry_name
from nightshift.storage import Store


def open_store(root: Path) -> Store:
    return Store.open(root.as_uri(), env="test", model="demo")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(tmp_path))


def test_an_empty_ledger_has_no_champion(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.champion() is None
    assert reigns.opponent(ledger.entries(), interval_of(14), None) is None


def test_a_promotion_makes_the_champion(ledger: Ledger, tmp_path: Path) -> None:
    entry = promote(ledger)
    assert isinstance(entry, Entry)
    assert (entry.sequence, entry.from_version, entry.to_version, entry.kind) == (1, None, 1, "promotion")

    champion = Ledger(open_store(tmp_path)).champion()
    assert champion is not None
    assert (champion.model_version, champion.model_digest, champion.sequence) == (1, entry.about.model_digest, 1)
    assert champion.train == entry.about.train
    assert champion.promoted_at == entry.at


def test_a_refusal_leaves_the_champion(ledger: Ledger) -> None:
    promote(ledger, 1, day=14)
    entry = ledger.refuse(a_candidate(ledger.store, 2, day=15), reason="worse", by="test", run_key="key-2")
    assert (entry.kind, entry.from_version, entry.to_version, entry.reason) == ("refusal", 1, 1, "worse")
    champion = ledger.champion()
    assert champion is not None
    assert champion.model_version == 1


@pytest.mark.parametrize("again", ["promotion", "refusal"])
def test_a_run_key_has_one_entry(ledger: Ledger, tmp_path: Path, again: str) -> None:
    first = promote(ledger, run_key="the-key")
    other = Ledger(open_store(tmp_path))
    if again == "promotion":
        assert promote(other, run_key="the-key") == first
    else:
        assert other.refuse(a_candidate(other.store), reason="again", by="another run", run_key="the-key") == first
    assert len(other.entries()) == 1


def test_an_older_interval_that_finishes_later_never_replaces_a_newer_champion(ledger: Ledger) -> None:
    promote(ledger, 1, day=15)
    obstacle = promote(ledger, 2, day=14)
    assert isinstance(obstacle, Obstacle)
    assert (obstacle.kind, obstacle.entry) == ("superseded", 1)
    champion = ledger.champion()
    assert champion is not None
    assert champion.model_version == 1
    assert len(ledger.entries()) == 1


def test_a_promotion_of_long_ago_is_found_again_after_newer_ones(ledger: Ledger) -> None:
    first = promote(ledger, 1, day=14)
    promote(ledger, 2, day=15)
    assert promote(ledger, 1, day=14) == first
    assert ledger.find("key-1") == first
    assert ledger.find("no such key") is None


def test_the_same_interval_again_replaces_its_own_champion(ledger: Ledger) -> None:
    promote(ledger, 1, day=15)
    promote(ledger, 2, day=15)
    champion = ledger.champion()
    assert champion is not None
    assert champion.model_version == 2


def test_the_opponent_is_the_newest_of_the_same_or_an_earlier_night(ledger: Ledger) -> None:
    for version, day in [(1, 13), (2, 14), (3, 14), (4, 16)]:
        promote(ledger, version, day=day)
    by_night = {day: reigns.opponent(ledger.entries(), interval_of(day), None) for day in (12, 13, 14, 15, 16)}
    assert {day: found and found.model_version for day, found in by_night.items()} == {
        12: None,
        13: 1,
        14: 3,
        15: 3,
        16: 4,
    }


def test_a_night_meets_the_same_opponent_after_its_own_promotion(ledger: Ledger) -> None:
    promote(ledger, 1, day=14)
    night = a_candidate(ledger.store, 2, day=15)
    before = reigns.opponent(ledger.entries(), night.interval, night.model_digest)
    promote(ledger, 2, day=15)
    assert reigns.opponent(ledger.entries(), night.interval, night.model_digest) == before


def damage(root: Path, sequence: int, **changes: object) -> Path:
    path = root / "test" / "demo" / entry_name(sequence)
    raw = json.loads(path.read_bytes())
    path.write_text(json.dumps({**raw, **changes}))
    return path


def three_entries(root: Path) -> Ledger:
    ledger = Ledger(open_store(root))
    for version in (1, 2, 3):
        promote(ledger, version, day=10 + version)
    return Ledger(open_store(root))


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_a_changed_entry_is_named(tmp_path: Path, sequence: int) -> None:
    ledger = three_entries(tmp_path)
    damage(tmp_path, sequence, model_version=99)
    with pytest.raises(IntegrityError, match=f"{entry_name(sequence)} was changed after it was written"):
        ledger.champion()


def test_an_entry_rewritten_with_a_matching_digest_breaks_the_chain(tmp_path: Path) -> None:
    original = three_entries(tmp_path).entries()[1]
    forged = type(original)(**{**vars(original), "reason": "forged"})
    (tmp_path / "test" / "demo" / entry_name(2)).write_bytes(forged.to_json())
    with pytest.raises(IntegrityError, match=f"{entry_name(3)} does not follow"):
        Ledger(open_store(tmp_path)).entries()


def test_a_missing_entry_is_named_and_nothing_is_added(tmp_path: Path) -> None:
    ledger = three_entries(tmp_path)
    (tmp_path / "test" / "demo" / entry_name(2)).unlink()
    with pytest.raises(IntegrityError, match=f"{entry_name(2)} is missing"):
        promote(ledger, 4, day=20)
    assert not (tmp_path / "test" / "demo" / entry_name(4)).exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"digest": 1}', b"\xff\xfe"])
def test_an_unreadable_entry_is_named(tmp_path: Path, data: bytes) -> None:
    ledger = three_entries(tmp_path)
    (tmp_path / "test" / "demo" / entry_name(2)).write_bytes(data)
    with pytest.raises(IntegrityError, match=f"{entry_name(2)} is not a readable ledger entry"):
        ledger.entries()


@pytest.mark.parametrize("changes", [{"format": 5}, {"kind": "coronation"}])
def test_an_entry_of_a_newer_version_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    ledger = three_entries(tmp_path)
    damage(tmp_path, 3, **changes)
    with pytest.raises(IntegrityError, match="a newer Nightshift wrote it"):
        ledger.entries()


def test_losing_every_race_ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    bless(ledger.store, a_candidate(ledger.store))
    monkeypatch.setattr(ledger._objects, "create", lambda name, data: False)
    monkeypatch.setattr(ledger_module, "TRIES", 3)
    with pytest.raises(Overtaken, match="3 times in a row"):
        promote(ledger)


def test_a_failed_write_adds_nothing_and_a_retry_adds_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    bless(ledger.store, a_candidate(ledger.store))
    with monkeypatch.context() as broken:

        def fail(name: str, data: bytes) -> bool:
            raise StorageError("cannot write")

        broken.setattr(ledger._objects, "create", fail)
        with pytest.raises(StorageError):
            promote(ledger)
    promote(ledger)
    assert [entry.sequence for entry in ledger.entries()] == [1]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writers=st.lists(
        st.lists(st.tuples(st.sampled_from(["promote", "refuse"]), st.integers(1, 9)), min_size=1, max_size=4),
        min_size=2,
        max_size=5,
    )
)
def test_any_interleaving_of_appends_keeps_a_valid_chain(tmp_path_factory: pytest.TempPathFactory, writers) -> None:
    """Run keys are shared between writers on purpose: an action and its twin add one entry."""
    root = tmp_path_factory.mktemp("ledger")
    for number in range(1, 10):
        a_candidate(open_store(root), number, day=number)

    def judged(ledger: Ledger, candidate: Candidate) -> Blessed:
        """Two writers may judge one night against two champions: the one that comes second judges again."""
        for _ in range(50):
            opponent = ledger.champion()
            with suppress(Overtaken):
                return bless(ledger.store, candidate, opponent=opponent and opponent.model_version)
        raise AssertionError("overtaken 50 times")

    def write(actions: list[tuple[str, int]]) -> None:
        ledger = Ledger(open_store(root))
        for action, number in actions:
            candidate, key = a_candidate(ledger.store, number, day=number), f"{action}-{number}"
            if action == "promote":
                ledger.promote(judged(ledger, candidate), reason="law", by="test", run_key=key)
            else:
                ledger.refuse(candidate, reason="law", by="test", run_key=key)

    with ThreadPoolExecutor(max_workers=len(writers)) as pool:
        list(pool.map(write, writers))

    entries = Ledger(open_store(root)).entries()
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    keys = [entry.run_key for entry in entries]
    assert len(set(keys)) == len(keys)
    refusals = {f"refuse-{number}" for actions in writers for action, number in actions if action == "refuse"}
    assert {key for key in keys if key.startswith("refuse")} == refusals
    ends = [entry.candidate.interval.end for entry in entries if entry.kind == "promotion"]
    assert ends == sorted(ends)


APPEND_TEN = """
import sys
from nightshift.ledger import Candidate, Ledger
from nightshift.plan import Interval
from nightshift.storage import Ref, Store
from datetime import date
root, writer = sys.argv[1:]
interval = Interval.of_day(date(2013, 7, 14))
about = Candidate(1, "digest", interval, Ref("train", interval.key, 1, "train"), "run")
ledger = Ledger(Store.open(root, env="test", model="demo"))
for number in range(10):
    ledger.refuse(about, reason="race", by=f"writer {writer}", run_key=f"{writer}-{number}")
"""


def test_racing_processes_have_one_winner_per_sequence(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND_TEN, tmp_path.as_uri(), str(number)]) for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(Ledger(open_store(tmp_path)).entries()) == 30
