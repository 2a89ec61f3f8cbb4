"""``stage.once``: same key, same published result, nothing repeated, nothing published twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nightshift.errors import IntegrityError, NightshiftError, Overtaken, SpecError
from nightshift.jobs.planning import make_plan
from nightshift.plan import Interval, Plan
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.stage import CONCLUDES, OUTCOME, StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest, Ref, Store

SPEC = Path(__file__).parents[2] / "dags" / "models" / "flight_delays.yaml"
INPUT = Ref("preprocess", "2013-07-14", 1, "a" * 64)
DAY = "2013-07-14"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path), "NIGHTSHIFT_MODELS": str(SPEC.parent)})
    return make_plan(load_spec(SPEC), Interval.of_day(date(2013, 7, 14)), settings, run_id="r", trigger="test")


@pytest.fixture
def io(plan: Plan, tmp_path: Path) -> StageIO:
    return StageIO(Store.of(plan), {"preprocess": INPUT}, tmp_path / "scratch")


def build(attempt: Attempt) -> Mapping[str, Any]:
    attempt.put("model.json", b"{}")
    return {"trees": 200}


def never(attempt: Attempt) -> Mapping[str, Any]:
    raise AssertionError("it was repeated")


def test_the_same_key_is_built_once(plan: Plan, io: StageIO) -> None:
    first = once(plan, io, "train", {"preprocess": INPUT}, build)
    again = once(plan, io, "train", {"preprocess": INPUT}, never)
    assert (first.reused, again.reused) == (False, True)
    assert again.ref == first.ref
    assert again.summary == {"trees": 200}
    assert StageResult.from_dict(again.to_dict()) == again


def test_another_input_or_digest_is_another_result(plan: Plan, io: StageIO) -> None:
    once(plan, io, "train", {"preprocess": INPUT}, build)
    other = Ref(INPUT.dataset, INPUT.interval, 2, "b" * 64)
    assert not once(plan, io, "train", {"preprocess": other}, build).reused
    assert not once(plan, io, "train", {"preprocess": INPUT}, build, also={"champion": "x"}).reused
    assert io.store.versions("train", DAY) == [1, 2, 3]


def test_a_new_number_for_the_same_content_is_the_same_input(plan: Plan, io: StageIO) -> None:
    once(plan, io, "train", {"preprocess": INPUT}, build)
    renumbered = Ref(INPUT.dataset, INPUT.interval, 9, INPUT.digest)
    assert once(plan, io, "train", {"preprocess": renumbered}, never).reused


def test_a_failure_is_not_remembered(plan: Plan, io: StageIO) -> None:
    with pytest.raises(AssertionError, match="repeated"):
        once(plan, io, "train", {"preprocess": INPUT}, never)
    assert not once(plan, io, "train", {"preprocess": INPUT}, build).reused


def test_a_refusal_is_remembered_as_one(plan: Plan, io: StageIO) -> None:
    def refuse(attempt: Attempt) -> Mapping[str, Any]:
        return {**build(attempt), "status": "refused", "reason": "AUC 0.71 < 0.80"}

    for reused in (False, True):
        result = once(plan, io, "evaluate", {"preprocess": INPUT}, refuse)
        assert (result.status, result.reason, result.reused) == ("refused", "AUC 0.71 < 0.80", reused)
        assert result.summary == {"trees": 200}


def test_what_is_published_between_looking_and_building_is_not_published_again(
    plan: Plan, io: StageIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Store.find

    def find_then_lose_the_race(store: Store, dataset: str, interval: str, key: str) -> Manifest | None:
        monkeypatch.setattr(Store, "find", find)
        found = store.find(dataset, interval, key)
        faster = store.attempt(dataset, interval)
        build(faster)
        faster.publish(stage_key=key, code="c", result={"trees": 200})
        return found

    monkeypatch.setattr(Store, "find", find_then_lose_the_race)
    result = once(plan, io, "train", {"preprocess": INPUT}, build)
    assert io.store.versions("train", DAY) == [1]
    assert result.ref == io.store.manifest("train", DAY, 1).ref


def test_who_is_overtaken_by_another_result_says_so(plan: Plan, io: StageIO) -> None:
    def slow(attempt: Attempt) -> Mapping[str, Any]:
        once(plan, io, "train", {"preprocess": INPUT}, build, also={"other": "x"})
        return build(attempt)

    with pytest.raises(Overtaken):
        once(plan, io, "train", {"preprocess": INPUT}, slow)
    assert not once(plan, io, "train", {"preprocess": INPUT}, build).reused, "another try publishes"


def test_what_was_not_given_is_named(plan: Plan, io: StageIO) -> None:
    with pytest.raises(NightshiftError, match="no result of the stage train; results it has: preprocess"):
        io.given("train")


def test_what_was_given_must_be_what_was_meant(plan: Plan, io: StageIO) -> None:
    attempt = io.store.attempt("preprocess", DAY)
    manifest = attempt.publish(stage_key="k", code="c")
    with pytest.raises(IntegrityError, match="was expected"):
        io.given("preprocess")
    assert StageIO(io.store, {"preprocess": manifest.ref}, io.scratch).given("preprocess") == manifest


def test_a_plan_is_not_made_with_sql_that_cannot_be_used(tmp_path: Path) -> None:
    spec = load_spec(SPEC, check_sql=False)
    broken = spec.model_copy(update={"prepare_sql": spec.prepare_sql.replace("weather AS w", "storms AS w")})
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path), "NIGHTSHIFT_MODELS": str(SPEC.parent)})

    with pytest.raises(SpecError, match=r"flight_delays.sql:\d+: .*storms"):
        make_plan(broken, Interval.of_day(date(2013, 7, 14)), settings, run_id="r", trigger="test")


def test_the_last_stage_of_a_static_source_notes_what_was_decided_on(plan: Plan, io: StageIO) -> None:
    """But for a version that a hold kept back: it is in no entry of the ledger, and the next night tries again."""
    source = plan.spec.source.model_copy(update={"static": True, "time": None})
    plan = replace(plan, spec=plan.spec.model_copy(update={"source": source}))
    ingest = io.store.attempt("ingest", DAY).publish(stage_key="i", code="c", result={OUTCOME: "what it comes to"})
    io = StageIO(io.store, {"ingest": ingest.ref}, io.scratch)

    def noted(stage: str, key: str, **result: Any) -> Any:
        ref = once(plan, io, stage, {}, lambda _: result, also={"key": key}).ref
        return io.store.resolve(ref).result.get(CONCLUDES) if ref else None

    assert noted("register", "1") is None
    assert noted("deploy", "1", ledger_sequence=3) == "what it comes to"
    assert noted("deploy", "2", ledger_sequence=None) is None
    plan = replace(plan, spec=plan.spec.model_copy(update={"approval": "manual"}))
    assert noted("register", "2") == "what it comes to"
