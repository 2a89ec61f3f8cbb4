"""Deploy where a person has the last word: what each answer comes to, and what makes it moot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.shipped_nights import WIDE, NoAliases, judged
from tests.fakes.trained_night import Night

from nightshift import deploy
from nightshift.deploy import stage as deploy_stage
from nightshift.deploy.candidates import newer_candidate, newest_candidate
from nightshift.deploy.target import InfraCheck
from nightshift.ledger import Entry, Ledger
from nightshift.ledger.registered import candidate_of
from nightshift.plan import Approval, Plan
from nightshift.report.approval import Question
from nightshift.report.nights import nights
from nightshift.stage import StageResult

pytestmark = pytest.mark.thorough

PAULA = Approval(approved=True, by="paula", comment="Looked at the slices.")
NO = Approval(approved=False, by="otto", comment="Too close to the holidays.")
NOBODY = Approval(approved=False, by=None, comment="Nobody answered within 3d.")


@pytest.fixture(autouse=True)
def everything_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    check = InfraCheck("fake", rows=50, max_diff=0.0, load_seconds=0.1, score_seconds=0.1, peak_mb=1.0, runtime="fake")
    target = type("Target", (), {"name": "fake", "check": lambda self, files: check})()
    monkeypatch.setattr(deploy_stage, "target_of", lambda name: target)
    monkeypatch.setattr(deploy_stage, "Aliases", lambda uri, model: NoAliases())
    monkeypatch.setattr(deploy_stage, "load_mlflow", lambda: None)


def waiting(root: Path, number: int) -> Night:
    return judged(root, number, approval="manual")


def answered(night: Night, answer: Approval | None) -> StageResult:
    plan = replace(night.plan, approval=answer, run_id="promotion-run")
    return replace(night, plan=Plan.from_json(plan.to_json())).run(deploy)[1]


def entries(night: Night) -> list[Entry]:
    return Ledger(night.store).entries()


def test_without_an_answer_nothing_is_promoted_whoever_starts_deploy(tmp_path: Path) -> None:
    night = waiting(tmp_path, 1)
    result = answered(night, None)
    assert (result.status, entries(night)) == ("skipped", [])
    assert result.reason is not None
    assert "nightshift promote" in result.reason


def test_an_approval_is_a_promotion_in_the_approvers_name(tmp_path: Path) -> None:
    night = waiting(tmp_path, 1)
    result = answered(night, PAULA)
    (entry,) = entries(night)
    assert (result.status, result.summary["champion_version"]) == ("succeeded", 1)
    assert (entry.kind, entry.by, entry.by_a_person) == ("promotion", "paula", True)
    assert set(entry.blessings) == {"data", "quality", "infra"}
    assert entry.reason.endswith(" Approved: Looked at the slices.")
    assert answered(night, PAULA).reused


def test_a_rejection_is_a_refusal_in_that_persons_name(tmp_path: Path) -> None:
    night = waiting(tmp_path, 1)
    result = answered(night, NO)
    (entry,) = entries(night)
    assert (result.status, result.reason) == ("skipped", "Rejected by otto: Too close to the holidays.")
    assert (entry.kind, entry.by, entry.by_a_person, entry.to_version) == ("refusal", "otto", True, None)
    assert entry.reason == result.reason


def test_no_answer_is_a_refusal_in_nobodys_name_and_not_the_last_word(tmp_path: Path) -> None:
    night = waiting(tmp_path, 1)
    assert answered(night, NOBODY).reason == "Nobody answered within 3d."
    assert answered(night, PAULA).status == "succeeded"
    first, second = entries(night)
    assert (first.kind, first.by, first.by_a_person) == ("refusal", "promotion-run", False)
    assert (second.kind, second.by) == ("promotion", "paula")


@pytest.mark.parametrize(("first", "second"), [(PAULA, NO), (NO, PAULA), (PAULA, NOBODY)])
def test_the_first_answer_counts(tmp_path: Path, first: Approval, second: Approval) -> None:
    night = waiting(tmp_path, 1)
    answered(night, first)
    result = answered(night, second)
    assert result.status == "skipped"
    assert len(entries(night)) == 1
    assert result.reason is not None
    assert result.reason.endswith(f"by {first.by}, came before this answer.")


def test_a_hold_stops_nights_and_not_people(tmp_path: Path) -> None:
    night = waiting(tmp_path, 1)
    ledger = Ledger(night.store)
    ledger.put_on_hold(reason="release freeze.", by="ada")
    assert answered(night, PAULA).status == "succeeded"
    assert ledger.hold() is not None, "and stays"


def test_a_newer_version_that_waits_overtakes_an_approval_and_a_silence_but_no_rejection(tmp_path: Path) -> None:
    night, newer = waiting(tmp_path, 1), waiting(tmp_path, 2)
    for answer in (PAULA, NOBODY):
        result = answered(night, answer)
        assert (result.status, entries(night)) == ("skipped", [])
        assert result.reason is not None
        assert result.reason.startswith("Superseded: v2 of the newer night 2024-03-03")
    answered(night, NO)
    assert [entry.kind for entry in entries(night)] == ["refusal"]
    answered(newer, PAULA)
    assert [entry.to_version for entry in entries(night)] == [None, 2]


def test_a_rejected_or_refused_newer_version_overtakes_nobody(tmp_path: Path) -> None:
    night, rejected = waiting(tmp_path, 1), waiting(tmp_path, 2)
    refused = judged(tmp_path, 3, approval="manual", gates={**WIDE, "minimum": 0.999})
    assert refused.io.given("register").result["standing"] == "refused"
    answered(rejected, NO)
    assert newer_candidate(Ledger(night.store), candidate_of(night.io.given("register"))) is None
    assert answered(night, PAULA).status == "succeeded"
    newest = newest_candidate(Ledger(night.store))
    assert newest is not None
    assert newest.result["model_version"] == 2


def test_another_champion_than_the_one_it_was_judged_against_makes_it_moot(tmp_path: Path) -> None:
    first = waiting(tmp_path, 1)
    second = waiting(tmp_path, 2)
    answered(first, NO)
    by_hand = judged(tmp_path, 1)
    by_hand.run(deploy)
    result = answered(second, PAULA)
    assert result.status == "skipped"
    assert result.reason == "It was judged against no champion, but v1 is champion now: run the night again."


# -- the question ----------------------------------------------------------------------------------------


def question(night: Night) -> Question:
    found = Question.find(night.store, "parcels", None)
    assert found is not None
    return found


def test_the_question_has_what_an_answer_needs(tmp_path: Path) -> None:
    first = waiting(tmp_path, 1)
    asked = question(first)
    assert asked.subject() == f"parcels: may v1 of night {first.plan.interval.night} ship?"
    assert asked.settled() is None
    body = asked.body(report="http://here/report", timeout=first.plan.spec.approval_timeout)
    assert "becomes the first champion" in body
    answered(first, PAULA)
    entry = entries(first)[0]
    assert asked.settled() == f"v1 is settled: promotion by paula, ledger entry {entry.sequence}."

    second = waiting(tmp_path, 2)
    Ledger(second.store).put_on_hold(reason="release *freeze*.", by="ada")
    body = question(second).body(report="http://here/report", timeout=second.plan.spec.approval_timeout)
    for fact in (
        "**parcels v2**",
        "| champion v1",
        "95% interval",
        "replaces champion v1",
        "release \\*freeze\\*.",
        "nightshift rollback parcels",
        "[Run report](http://here/report)",
        "within 3d",
        "quality blessing: passed",
    ):
        assert fact in body
    assert set(question(second).refs) >= {"preprocess", "train", "evaluate", "register"}


def test_an_overtaken_question_is_settled(tmp_path: Path) -> None:
    older = question(waiting(tmp_path, 1))
    waiting(tmp_path, 2)
    assert str(older.settled()).startswith("Superseded: v2")


# -- history ---------------------------------------------------------------------------------------------


def test_history_says_who_waits_and_who_was_overtaken(tmp_path: Path) -> None:
    first = waiting(tmp_path, 1)
    assert [(one.verdict, one.model_version) for one in nights(first.store)] == [("waiting", 1)]
    second = waiting(tmp_path, 2)
    told = nights(first.store)
    assert [one.verdict for one in told] == ["kept", "waiting"]
    assert told[0].reason is not None
    assert told[0].reason.startswith("Superseded by v2")
    answered(second, PAULA)
    assert [one.verdict for one in nights(first.store)] == ["kept", "promoted"]
