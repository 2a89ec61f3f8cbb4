"""Blessings: a verdict follows from its checks, and no promotion without three that are about the version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.blessed import BAD, a_candidate, bless, blessing_of, interval_of, publish

from nightshift.errors import IntegrityError, NotBlessed
from nightshift.ledger import Blessed, Ledger, Waiver, blessings
from nightshift.ledger.blessings import KINDS, Blessing, Check, Kind, WaivedBy
from nightshift.storage import Store

WAIVER = WaivedBy(
    entry=1, by="ada", reason="a strike in the holdout", expires="2999-01-01", checks=("as_told", "floor")
)
NAMES = st.sampled_from(["as_told", "floor", "champion"])
# As they were written before waivers named checks.
OLD_WAIVER = (
    b'{"at":"2026-11-01T08:00:00+00:00","blessings":{},"by":"ada","code":null,"data":null,"digest":'
    b'"b91df6d62d06b1dab53a9450fdd7253675744b1f0270ab0dd646ba46d66da633","format":3,"from":null,"kind":"waiver",'
    b'"previous":"0000000000000000000000000000000000000000000000000000000000000000","reason":"a strike","report":null,'
    b'"run_key":"waiver of quality for 2013-07-14 after entry 0","sequence":1,"to":null,"waiver":{"blessing":"quality",'
    b'"expires":"2999-01-01","interval":"2013-07-14"}}'
)
OLD_BLESSING = (
    b'{"about":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","checks":[{"bound":0.5,"name":"floor",'
    b'"passed":false,"text":"low","value":0.1}],"digest":"2d7cacfbd527d90890de27516121c522e546664aad0f3619e0aa04bdd210642c",'
    b'"evidence":"evaluation.json","format":1,"interval":"2013-07-14","kind":"quality","verdict":"waived","waived_by":'
    b'{"by":"ada","entry":1,"expires":"2999-01-01","reason":"a strike"}}'
)
CHECKS = st.lists(
    st.builds(
        Check,
        name=NAMES,
        passed=st.booleans(),
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        bound=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        text=st.text(),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path.as_uri(), env="test", model="demo")


@given(kind=st.sampled_from(KINDS), checks=CHECKS, waived=st.booleans())
def test_the_verdict_follows_from_the_checks_and_survives_storage(
    kind: Kind, checks: list[Check], waived: bool
) -> None:
    blessing = Blessing.judged(
        kind,
        checks,
        interval="2013-07-14",
        evidence="evaluation.json",
        about=None if kind == "data" else "d" * 64,
        waiver=WAIVER if waived else None,
    )
    fit = all(check.passed for check in checks)
    covered = waived and all(check.passed or check.name != "champion" for check in checks)
    assert blessing.verdict == ("passed" if fit else "waived" if covered else "failed")
    assert blessing.counts == (fit or covered)
    assert (blessing.waived_by is None) == (fit or not covered)
    assert len(blessing.failed) == sum(not check.passed for check in checks)
    again = Blessing.from_json(blessing.to_json(), name="x")
    assert (again, again.digest) == (blessing, blessing.digest)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "failed"}, "says failed"),
        ({"checks": ()}, "without checks"),
        ({"checks": (BAD,)}, "says passed"),
        ({"about": None}, "about a model"),
        ({"kind": "data"}, "about no model"),
        ({"kind": "luck"}, "no 'luck' blessing"),
        ({"waived_by": WAIVER}, "says passed"),
        ({"verdict": "waived", "checks": (BAD,), "waived_by": replace(WAIVER, checks=("floor",))}, "say failed"),
        ({"verdict": "failed", "checks": (BAD,), "waived_by": replace(WAIVER, checks=("floor",))}, "say failed"),
    ],
)
def test_a_blessing_that_contradicts_itself_cannot_be_made(changes: dict[str, object], said: str) -> None:
    fields = {**vars(blessing_of("quality", "2013-07-14", "d" * 64)), **changes}
    with pytest.raises(ValueError, match=said):
        Blessing(**fields)


def test_a_number_that_json_cannot_say_is_refused() -> None:
    check = Check("auc", False, float("nan"), 0.8, "There is no AUC.")
    with pytest.raises(ValueError, match="JSON"):
        Blessing.judged("data", [check], interval="2013-07-14", evidence="none").to_json()


@pytest.mark.parametrize("change", [{"verdict": "waived"}, {"evidence": "x"}, {"format": 1}, {"checks": []}])
def test_a_changed_blessing_is_found_out(change: dict[str, object]) -> None:
    raw = json.loads(blessing_of("infra", "2013-07-14", "d" * 64).to_json())
    with pytest.raises(IntegrityError, match="the-name"):
        Blessing.from_json(json.dumps({**raw, **change}).encode(), name="the-name")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"digest": 1}'])
def test_bytes_that_are_no_blessing(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not a readable blessing"):
        Blessing.from_json(data, name="x")


def test_it_is_written_into_its_own_night_only(store: Store) -> None:
    attempt = store.attempt("evaluate", "2013-07-14")
    with pytest.raises(ValueError, match="does not belong"):
        blessings.write(attempt, blessing_of("quality", "2013-07-15", "d"))


def test_a_version_without_a_blessing(store: Store) -> None:
    ref = publish(store, "evaluate", "2013-07-14", key="old")
    with pytest.raises(NotBlessed, match="carries no blessing"):
        blessings.read(store, store.resolve(ref))


def test_there_is_no_other_way_to_be_blessed(store: Store) -> None:
    candidate = a_candidate(store)
    with pytest.raises(TypeError, match="stored blessings only"):
        Blessed(object(), candidate=candidate, found={}, code="")


def test_blessings_of_another_model_night_or_kind_do_not_count(store: Store) -> None:
    candidate, other, later = a_candidate(store, 1), a_candidate(store, 2), a_candidate(store, 3, day=15)
    mine, theirs = bless(store, candidate).stamps, bless(store, other).stamps
    elsewhere = bless(store, later).stamps
    for quality, infra, said in (
        (theirs["quality"].ref, mine["infra"].ref, "of another model"),
        (mine["quality"].ref, theirs["infra"].ref, "of another model"),
        (elsewhere["quality"].ref, mine["infra"].ref, "of another night"),
        (mine["infra"].ref, mine["quality"].ref, "where the quality blessing of v1 is due"),
    ):
        with pytest.raises(NotBlessed, match=said):
            Blessed.collect(store, candidate, quality=quality, infra=infra)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_blessing_keeps_a_version_from_being_promoted(store: Store, kind: Kind) -> None:
    key = interval_of(14).key
    data = publish(store, "preprocess", key, key="p", blessing=blessing_of("data", key, fit=kind != "data"))
    train = publish(store, "train", key, key="t", inputs={"preprocess": data})
    candidate = a_candidate(store)
    candidate = type(candidate)(**{**vars(candidate), "train": train})
    refs = {
        of: publish(
            store, of, key, key=of, inputs={"train": train},
            blessing=blessing_of(of, key, candidate.model_digest, fit=kind != of),
        )
        for of in ("quality", "infra")
    }  # fmt: skip
    with pytest.raises(NotBlessed, match=f"the {kind} blessing of v1 failed: The test says that it is unfit."):
        Blessed.collect(store, candidate, **refs)


def waived(store: Store, by: WaivedBy) -> Blessed:
    """Version 1, its quality blessing waived."""
    candidate = a_candidate(store)
    key, inputs = candidate.interval.key, {"train": candidate.train}
    quality = publish(
        store, "evaluate", key, key=by.key, inputs=inputs,
        blessing=blessing_of("quality", key, candidate.model_digest, fit=False, waiver=by),
    )  # fmt: skip
    infra = bless(store, candidate).stamps["infra"].ref
    return Blessed.collect(store, candidate, quality=quality, infra=infra)


def test_a_waived_blessing_counts_as_long_as_its_waiver_stands_in_the_ledger(store: Store) -> None:
    ledger = Ledger(store)
    interval = interval_of(14)
    with pytest.raises(NotBlessed, match="counted by the waiver in ledger entry 1"):
        ledger.promote(waived(store, WAIVER), reason="r", by="b", run_key="k")
    ledger.waive(Waiver(interval.key, "quality", "2001-01-01", ("as_told",)), reason="long ago", by="ada")
    assert ledger.waiver("quality", interval) is None
    with pytest.raises(NotBlessed, match="counted by the waiver"):
        ledger.promote(waived(store, WAIVER), reason="r", by="b", run_key="k")
    ledger.waive(Waiver(interval.key, "quality", "2999-01-01", ("floor",)), reason="another check", by="ada")
    with pytest.raises(NotBlessed, match="counted by the waiver"):
        ledger.promote(waived(store, WAIVER), reason="r", by="b", run_key="k")
    ledger.waive(Waiver(interval.key, "quality", "2999-01-01", ("as_told",)), reason="a strike", by="ada")
    given_ = ledger.waiver("quality", interval)
    assert given_ == WaivedBy(entry=3, by="ada", reason="a strike", expires="2999-01-01", checks=("as_told",))
    ledger.waive(Waiver(interval.key, "quality", "2999-01-01", ("floor",)), reason="another check", by="ada")
    entry = ledger.promote(waived(store, given_), reason="r", by="b", run_key="k")
    assert entry == ledger.entries()[-1]
    assert entry.blessings["quality"].verdict == "waived"


def test_a_waiver_names_what_it_waives(store: Store) -> None:
    for checks in (None, ()):
        with pytest.raises(ValueError, match="names no checks"):
            Ledger(store).waive(Waiver("2013-07-14", "quality", "2999-01-01", checks), reason="r", by="ada")
    assert Ledger(store).entries() == []


def test_a_waiver_of_before_it_named_checks_still_means_every_one(store: Store) -> None:
    store.objects.write("ledger/000000001.json", OLD_WAIVER)
    ledger = Ledger(store)
    (entry,) = ledger.entries()
    assert (entry.waiver, entry.to_json()) == (Waiver("2013-07-14", "quality", "2999-01-01"), OLD_WAIVER)
    found = ledger.waiver("quality", interval_of(14))
    assert found is not None
    assert found.covers([BAD, Check("floor", False, None, None, "")])
    promoted = ledger.promote(waived(store, found), reason="r", by="b", run_key="k")
    assert promoted == ledger.entries()[-1]


def test_a_blessing_of_before_waivers_named_checks_is_read_as_it_was(store: Store) -> None:
    blessing = Blessing.from_json(OLD_BLESSING, name="x")
    assert blessing.waived_by == WaivedBy(1, "ada", "a strike", "2999-01-01")
    assert (blessing.verdict, blessing.to_json()) == ("waived", OLD_BLESSING)
    assert blessing.digest == json.loads(OLD_BLESSING)["digest"]
