"""What a promotion takes along from its three blessings, so that the ledger can say what was promoted and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.blessed import a_candidate, bless, blessing_of, publish

from nightshift.errors import IntegrityError, NotBlessed
from nightshift.ledger import Blessed, blessings
from nightshift.ledger.entries import Stamp
from nightshift.storage import Ref, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path.as_uri(), env="test", model="demo")


def test_it_says_what_was_judged_by_what(store: Store) -> None:
    candidate = a_candidate(store)
    blessed = bless(store, candidate, opponent=7)
    train = store.resolve(candidate.train)
    assert blessed.candidate == candidate
    assert blessed.opponent == 7
    assert bless(store, a_candidate(store, 2), opponent=None).opponent is None
    assert blessed.data == train.inputs["preprocess"]
    assert blessed.code == train.code
    assert set(blessed.stamps) == set(blessed.blessings) == {"data", "quality", "infra"}
    for kind, stamp in blessed.stamps.items():
        stored = blessings.read(store, store.resolve(stamp.ref))
        assert (stored.kind, stored) == (kind, blessed.blessings[kind])
        assert stamp == Stamp(stamp.ref, stored.digest, "passed")


def test_it_cannot_be_changed_afterwards(store: Store) -> None:
    blessed = bless(store, a_candidate(store))
    with pytest.raises(TypeError):
        blessed.stamps["quality"] = blessed.stamps["infra"]  # type: ignore[index]
    with pytest.raises(TypeError):
        del blessed.blessings["quality"]  # type: ignore[attr-defined]


def published(store: Store, about: str, train: Ref) -> Ref:
    candidate = a_candidate(store)
    key = candidate.interval.key
    return publish(
        store,
        "evaluate",
        key,
        key=f"{about} {train}",
        inputs={"train": train},
        blessing=blessing_of("quality", key, about),
    )


def test_right_digest_and_wrong_training_do_not_count_nor_the_other_way_round(store: Store) -> None:
    candidate, other = a_candidate(store, 1), a_candidate(store, 2)
    infra = bless(store, candidate).stamps["infra"].ref
    for about, train in ((candidate.model_digest, other.train), (other.model_digest, candidate.train)):
        with pytest.raises(NotBlessed, match="the quality blessing of another model than v1"):
            Blessed.collect(store, candidate, quality=published(store, about, train), infra=infra)


def test_the_same_training_published_once_more_keeps_its_blessing(store: Store) -> None:
    """A stage that finds its work done keeps what it published, which names the version of its input at that time."""
    candidate = a_candidate(store)
    infra = bless(store, candidate).stamps["infra"].ref
    judged = published(store, candidate.model_digest, candidate.train)
    again = replace(candidate, train=replace(candidate.train, version=candidate.train.version + 1))
    before = store.resolve(candidate.train)
    attempt = store.attempt("train", before.interval)
    for file in before.files:
        attempt.put(file.path, store.objects.read(f"{before.folder}/{file.path}"))
    manifest = attempt.publish(stage_key="again", code=before.code, inputs=before.inputs)
    assert manifest.ref == again.train
    assert Blessed.collect(store, again, quality=judged, infra=infra).candidate == again


def test_a_blessing_that_lies_in_another_night_is_damage(store: Store) -> None:
    attempt = store.attempt("evaluate", "2013-07-14")
    attempt.put("blessing.json", blessing_of("quality", "2013-07-13", "d" * 64).to_json())
    manifest = attempt.publish(stage_key="k", code="c")
    with pytest.raises(IntegrityError, match="is about the night 2013-07-13") as caught:
        blessings.read(store, manifest)
    assert "restore the file from a backup" in (caught.value.hint or "")


def test_a_version_of_before_blessings_says_what_to_do(store: Store) -> None:
    ref = publish(store, "evaluate", "2013-07-14", key="old")
    with pytest.raises(NotBlessed) as caught:
        blessings.read(store, store.resolve(ref))
    assert "run the night again" in (caught.value.hint or "")


def test_a_failed_blessing_says_who_can_waive_it(store: Store) -> None:
    candidate = a_candidate(store)
    key = candidate.interval.key
    failed = publish(
        store, "evaluate", key, key="failed", inputs={"train": candidate.train},
        blessing=blessing_of("quality", key, candidate.model_digest, fit=False),
    )  # fmt: skip
    with pytest.raises(NotBlessed) as caught:
        Blessed.collect(store, candidate, quality=failed, infra=bless(store, candidate).stamps["infra"].ref)
    assert "nightshift waive" in (caught.value.hint or "")
