"""The deploy stage: who becomes champion, who does not, and what a second try does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.trained_night import FIRST, Night, gates, small_plan, small_spec, trained_night

from nightshift import deploy, evaluate
from nightshift.deploy import stage as deploy_stage
from nightshift.deploy.latency import Latency
from nightshift.deploy.target import InfraCheck, ModelFiles
from nightshift.errors import InfraCheckFailed, StorageError
from nightshift.ledger import Ledger, blessings
from nightshift.plan import Trigger
from nightshift.registry.aliases import Applied
from nightshift.spec.deploy import Deploy
from nightshift.stage import StageResult

pytestmark = pytest.mark.thorough

SECOND = FIRST + timedelta(days=1)
CHECK = InfraCheck("fake", rows=50, max_diff=0.0, load_seconds=0.1, score_seconds=0.1, peak_mb=1.0, runtime="fake")


class FakeTarget:
    name = "fake"

    def __init__(self) -> None:
        self.checked: list[ModelFiles] = []
        self.found = CHECK
        self.error: InfraCheckFailed | None = None

    def check(self, files: ModelFiles) -> InfraCheck:
        self.checked.append(files)
        if self.error is not None:
            raise self.error
        return self.found


class FakeRegistry:
    """The aliases of every registered model."""

    def __init__(self) -> None:
        self.roles: dict[str, int | None] = {}
        self.sequence: int | None = None
        self.error: StorageError | None = None

    def read(self) -> Applied:
        if self.error is not None:
            raise self.error
        return Applied({alias: version for alias, version in self.roles.items() if version is not None}, self.sequence)

    def apply(self, roles: Mapping[str, int | None], *, sequence: int) -> tuple[str, ...]:
        if self.error is not None:
            raise self.error
        self.roles, self.sequence = dict(roles), sequence
        return ()


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> FakeTarget:
    made = FakeTarget()
    monkeypatch.setattr(deploy_stage, "target_of", lambda name: made)
    return made


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    made = FakeRegistry()
    monkeypatch.setattr(deploy_stage, "Aliases", lambda uri, model: made)
    monkeypatch.setattr(deploy_stage, "load_mlflow", lambda: None)
    return made


def registered(night: Night, version: int) -> Night:
    """The night after evaluate and a register stage without MLflow."""
    night, _ = night.run(evaluate)
    registration = {
        "model_name": "test-parcels",
        "model_version": version,
        "model_digest": night.io.given("train").file("graph.onnx").sha256,
        "mlflow_run_id": f"run-{version}",
        "run_key": f"key-{version}",
    }
    attempt = night.store.attempt("register", night.plan.interval.key)
    attempt.put("registration.json", json.dumps(registration).encode())
    manifest = attempt.publish(stage_key=f"register-{version}", code="code", result={"model_version": version})
    return night.after(StageResult.of(manifest, reused=False))


def a_night(
    root: Path, night: date = FIRST, version: int = 1, *, trigger: Trigger = "test", minimum: float = 0.7, **data: Any
) -> Night:
    spec = small_spec(gates=gates(minimum=minimum))
    return registered(trained_night(root, plan=small_plan(root, night, trigger=trigger, spec=spec), **data), version)


def deployed(night: Night) -> StageResult:
    return night.run(deploy)[1]


def champion_version(night: Night) -> int | None:
    head = Ledger(night.store).champion()
    return head.model_version if head else None


def test_a_version_that_passed_becomes_champion(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    night = a_night(tmp_path)
    night, result = night.run(deploy)
    assert (result.status, result.summary["ledger_sequence"], result.summary["champion_version"]) == ("succeeded", 1, 1)

    (entry,) = Ledger(night.store).entries()
    assert entry.candidate.train == night.io.upstream["train"]
    assert entry.reason == night.io.given("evaluate").result["sentence"]
    assert (entry.by, entry.run_key) == (night.plan.run_id, "key-1")
    assert registry.roles == {"champion": 1, "challenger": None, "previous": None}

    evidence = json.loads(night.store.read(night.io.given("deploy"), "deployment.json"))
    assert evidence["infra_check"]["rows"] == 50
    infra = entry.blessings["infra"]
    assert evidence["infra"] == str(infra.ref)
    blessing = blessings.read(night.store, night.store.resolve(infra.ref))
    assert (blessing.kind, blessing.verdict, blessing.digest) == ("infra", "passed", infra.digest)
    assert entry.blessings["data"].ref == night.io.upstream["preprocess"] == entry.data
    assert entry.blessings["quality"].ref == night.io.upstream["evaluate"]
    assert target.checked[0].digest == entry.candidate.model_digest


def test_the_next_night_replaces_it(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    deployed(a_night(tmp_path))
    result = deployed(a_night(tmp_path, SECOND, 2))
    assert (result.summary["champion_version"], result.summary["previous_version"]) == (2, 1)
    assert registry.roles == {"champion": 2, "challenger": None, "previous": 1}


def test_a_promoted_night_again_is_reused(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    night = a_night(tmp_path)
    first = deployed(night)
    again = deployed(night)
    assert (again.reused, again.ref) == (True, first.ref)
    assert len(target.checked) == 1


def test_a_promoted_night_again_is_reused_after_newer_ones(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    night = a_night(tmp_path)
    first = deployed(night)
    deployed(a_night(tmp_path, SECOND, 2))
    again = deployed(night)
    assert (again.reused, again.ref, again.status) == (True, first.ref, "succeeded")
    assert champion_version(night) == 2


def test_a_refused_version_is_recorded_once_and_nothing_else_happens(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    night = a_night(tmp_path, minimum=0.999)
    result = deployed(night)
    assert (result.status, result.summary["champion_version"]) == ("skipped", None)
    assert result.reason == night.io.given("evaluate").result["reason"]
    assert deployed(night).reused
    (entry,) = Ledger(night.store).entries()
    assert (entry.kind, entry.reason) == ("refusal", result.reason)
    assert (target.checked, registry.roles) == ([], {})


def test_a_backfill_never_promotes(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    night = a_night(tmp_path, trigger="backfill")
    result = deployed(night)
    assert (result.status, result.reason) == ("skipped", "A backfill builds versions and never promotes.")
    assert Ledger(night.store).entries() == []
    assert target.checked == []


def test_a_night_that_was_backfilled_can_still_be_promoted(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    deployed(a_night(tmp_path, trigger="backfill"))
    result = deployed(a_night(tmp_path, trigger="manual"))
    assert (result.status, result.reused, result.summary["champion_version"]) == ("succeeded", False, 1)


def test_an_older_night_is_superseded(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    deployed(a_night(tmp_path, SECOND, 1))
    night = a_night(tmp_path, FIRST, 2)
    result = deployed(night)
    assert result.status == "skipped"
    assert result.reason is not None
    assert result.reason.startswith("Superseded: champion v1 is of the newer interval 2024-03-02")
    assert (champion_version(night), result.summary["champion_version"]) == (1, 1)
    assert registry.roles["champion"] == 1


def test_a_newer_night_that_is_promoted_during_the_check_wins(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = a_night(tmp_path, FIRST, 1)
    newer = a_night(tmp_path, SECOND, 2)
    check = target.check

    def while_another_night_ends(files: ModelFiles) -> InfraCheck:
        monkeypatch.setattr(target, "check", check)
        deployed(newer)
        return CHECK

    monkeypatch.setattr(target, "check", while_another_night_ends)
    result = deployed(night)
    assert result.status == "skipped"
    assert champion_version(night) == 2


def test_a_failed_infra_check_leaves_the_champion(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    deployed(a_night(tmp_path))
    night = a_night(tmp_path, SECOND, 2)
    target.error = InfraCheckFailed("the model does not serve")
    with pytest.raises(InfraCheckFailed):
        deployed(night)
    assert champion_version(night) == 1
    assert len(Ledger(night.store).entries()) == 1
    assert night.store.latest("deploy", night.plan.interval.key) is None
    assert registry.roles["champion"] == 1
    written = night.store.latest("infra", night.plan.interval.key)
    assert written is not None
    blessing = blessings.read(night.store, written)
    assert (blessing.verdict, blessing.failed[0].text) == ("failed", "the model does not serve")

    target.error = None
    assert deployed(night).summary["champion_version"] == 2


def test_when_mlflow_is_down_the_promotion_stands_and_a_retry_sets_the_aliases(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    night = a_night(tmp_path)
    registry.error = StorageError("MLflow at http://mlflow could not set the aliases", hint="start it")
    with pytest.raises(StorageError, match=r"v1 is promoted \(ledger entry 1\) and serves") as caught:
        deployed(night)
    assert "start it" in str(caught.value)
    assert caught.value.retryable
    assert champion_version(night) == 1

    registry.error = None
    result = deployed(night)
    assert (result.status, result.reused, result.summary["ledger_sequence"]) == ("succeeded", False, 1)
    assert len(Ledger(night.store).entries()) == 1
    assert registry.roles["champion"] == 1


def test_a_night_that_was_superseded_after_its_promotion_still_finishes(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    night = a_night(tmp_path)
    registry.error = StorageError("down")
    with pytest.raises(StorageError):
        deployed(night)
    registry.error = None
    deployed(a_night(tmp_path, SECOND, 2))
    result = deployed(night)
    assert (result.status, result.summary["ledger_sequence"], result.summary["champion_version"]) == ("succeeded", 1, 2)
    assert registry.roles == {"champion": 2, "challenger": None, "previous": 1}


def test_a_night_that_began_before_a_hold_is_not_promoted(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(a_night(tmp_path))
    night = a_night(tmp_path, SECOND, 2)

    def while_a_person_stops_it(files: ModelFiles) -> InfraCheck:
        Ledger(night.store).put_on_hold(reason="wrong on Mondays", by="ada")
        return CHECK

    monkeypatch.setattr(target, "check", while_a_person_stops_it)
    result = deployed(night)
    assert result.status == "skipped"
    assert result.reason is not None
    assert "by ada (hold, ledger entry 2: wrong on Mondays)" in result.reason
    assert champion_version(night) == 1


def test_during_a_hold_nothing_is_promoted_and_after_it_the_night_can_be(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    deployed(a_night(tmp_path))
    night = a_night(tmp_path, SECOND, 2)
    ledger = Ledger(night.store)
    ledger.put_on_hold(reason="release freeze", by="ada")
    result = deployed(night)
    assert (result.status, champion_version(night), len(target.checked)) == ("skipped", 1, 1)
    assert result.reason is not None
    assert result.reason.startswith("On hold since ")
    ledger.resume(reason="over", by="ada")
    result = deployed(night)
    assert (result.status, result.reused, result.summary["champion_version"]) == ("succeeded", False, 2)


def test_a_version_judged_against_another_champion_than_there_is_now_is_not_promoted(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    night, twin = a_night(tmp_path, SECOND, 2, flipped=0.05), a_night(tmp_path, SECOND, 1)
    deployed(twin)
    result = deployed(night)
    assert result.status == "skipped"
    assert result.reason == "It was judged against no champion, but v1 is champion now: run the night again."
    assert champion_version(night) == 1


def test_a_slow_version_does_not_ship(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    deployed(a_night(tmp_path))
    assert target.checked[0].champion is None
    night = a_night(tmp_path, SECOND, 2)
    target.found = replace(CHECK, latency=Latency(500, 0.4, 0.5, 0.2))
    with pytest.raises(
        InfraCheckFailed, match=r"took at most 0.400 ms and the champion's 0.200 ms: more than 1.5 times"
    ):
        deployed(night)
    assert champion_version(night) == 1
    assert target.checked[1].champion is not None
    assert target.checked[1].calls == 500
    written = night.store.latest("infra", night.plan.interval.key)
    assert written is not None
    assert [check.name for check in blessings.read(night.store, written).failed] == ["latency_champion"]
    target.found = CHECK
    assert deployed(night).summary["champion_version"] == 2


def test_the_spec_bounds_what_a_version_may_take(tmp_path: Path, target: FakeTarget, registry: FakeRegistry) -> None:
    night = a_night(tmp_path)
    target.found = replace(CHECK, latency=Latency(500, 1.0, 3.0, None))
    tight = {"latency": {"budget": "2ms"}, "memory": "512MB"}
    strict = replace(
        night,
        plan=replace(night.plan, spec=night.plan.spec.model_copy(update={"deploy": Deploy.model_validate(tight)})),
    )
    with pytest.raises(InfraCheckFailed, match=r"at most 3\.00 ms, over the budget of 2 ms") as caught:
        deployed(strict)
    assert "deploy.latency" in (caught.value.hint or "")
    assert target.checked[0].memory_mb == 512
    assert champion_version(night) is None
    assert deployed(night).summary["champion_version"] == 1
    assert target.checked[1].memory_mb == 4096
    found = [night.store.manifest("infra", night.plan.interval.key, number).result for number in (1, 2)]
    assert [(one["verdict"], one["deploy"]["memory"], one["deploy"]["latency"]["budget"]) for one in found] == [
        ("failed", "512MB", "2ms"),
        ("passed", "4GB", "50ms"),
    ]


def test_a_damaged_champion_does_not_keep_its_successor_away(
    tmp_path: Path, target: FakeTarget, registry: FakeRegistry
) -> None:
    first = a_night(tmp_path)
    deployed(first)
    night = a_night(tmp_path, SECOND, 2)
    night.store.objects.write(f"{first.io.given('train').folder}/graph.onnx", b"damaged")
    assert deployed(night).summary["champion_version"] == 2
    assert target.checked[-1].champion is None
