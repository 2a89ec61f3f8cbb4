from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight, plan_of

from nightshift.errors import NightSkipped, ValidationFailed
from nightshift.report.outcome import outcome_of
from nightshift.stage import StageResult


def told(stage: str, status: str = "succeeded", reason: str | None = None, **summary: object) -> StageResult:
    return StageResult(stage, status, None, False, summary, reason)  # type: ignore[arg-type]


@pytest.fixture
def plan(tmp_path: Path):  # type: ignore[no-untyped-def]
    return plan_of(tmp_path, date(2013, 6, 28))


AUC = {
    "challenger": {"roc_auc": 0.9214},
    "champion": {"roc_auc": 0.918},
    "champion_version": 2,
    "sentence": "0.0034 above v2",
}
FIRST = {"challenger": {"roc_auc": 0.9214}, "champion": None, "champion_version": None}
HOLDOUT = told("preprocess", holdout_rows=12345)
V3 = told("register", model_version=3)


def test_a_successor(plan) -> None:  # type: ignore[no-untyped-def]
    results = {"preprocess": HOLDOUT, "evaluate": told("evaluate", **AUC), "register": V3, "deploy": told("deploy")}
    outcome = outcome_of(plan, results, champion=3)
    assert outcome.kind == "promoted"
    assert (
        outcome.sentence == "Night 2013-06-28: model v3 replaced v2: AUC 0.9214 against 0.9180 on 12,345 held-out rows."
    )


def test_the_first_champion(plan) -> None:  # type: ignore[no-untyped-def]
    results = {"preprocess": HOLDOUT, "evaluate": told("evaluate", **FIRST), "register": V3, "deploy": told("deploy")}
    sentence = outcome_of(plan, results, champion=3).sentence
    assert sentence == "Night 2013-06-28: model v3 is the first champion: AUC 0.9214 on 12,345 held-out rows."


def test_a_refusal_says_why(plan) -> None:  # type: ignore[no-untyped-def]
    evaluate = told("evaluate", "refused", "too bad", **AUC)
    results = {
        "preprocess": HOLDOUT,
        "evaluate": evaluate,
        "register": V3,
        "deploy": told("deploy", "skipped", "too bad"),
    }
    outcome = outcome_of(plan, results, champion=2)
    assert (outcome.kind, outcome.why) == ("refused", "too bad")
    assert outcome.sentence.startswith(
        "Night 2013-06-28: model v3 was refused and champion v2 stays: AUC 0.9214 against"
    )


def test_a_refusal_before_the_first_champion(plan) -> None:  # type: ignore[no-untyped-def]
    results = {"evaluate": told("evaluate", "refused", "too bad", **FIRST), "register": V3}
    assert "there is still no champion" in outcome_of(plan, results, champion=None).sentence


def test_fit_but_not_shipped(plan) -> None:  # type: ignore[no-untyped-def]
    results = {
        "evaluate": told("evaluate", **AUC),
        "register": V3,
        "deploy": told("deploy", "skipped", "backfills never promote"),
    }
    outcome = outcome_of(plan, results, champion=2)
    assert (outcome.kind, outcome.why) == ("kept", "backfills never promote")
    assert "was fit to ship, but champion v2 stays" in outcome.sentence


@pytest.mark.parametrize(("champion", "stays"), [(2, "champion v2 stays"), (None, "there is no champion yet")])
def test_a_failure_names_the_stage_and_who_serves(plan, champion: int | None, stays: str) -> None:  # type: ignore[no-untyped-def]
    error = ValidationFailed("22 % of the rows", hint="look")
    outcome = outcome_of(plan, {"ingest": told("ingest"), "validate": error}, champion=champion)
    assert outcome.sentence == f"Night 2013-06-28: validate failed; {stays}."
    assert (outcome.kind, outcome.failed_stage, outcome.error) == ("failed", "validate", error)


def test_a_night_with_nothing_to_do_is_no_failure(plan) -> None:  # type: ignore[no-untyped-def]
    outcome = outcome_of(plan, {"ingest": NightSkipped("the source ends at 2014-01-01")}, champion=2)
    assert (outcome.kind, outcome.why) == ("skipped", "the source ends at 2014-01-01")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({}, "nothing has run so far"),
        ({"train": told("train")}, "train is done so far"),
        ({"evaluate": told("evaluate", **AUC), "register": V3}, "has not been deployed"),
    ],
)
def test_a_run_that_has_not_ended(plan, results: dict[str, StageResult], words: str) -> None:  # type: ignore[no-untyped-def]
    outcome = outcome_of(plan, results, champion=None)
    assert outcome.kind == "unfinished"
    assert words in outcome.sentence


def test_a_published_night(published: tuple[Path, list[PublishedNight]]) -> None:
    kinds = [outcome_of(night.plan, night.results, champion=2).kind for night in published[1]]
    assert kinds == ["promoted", "promoted", "refused"]
