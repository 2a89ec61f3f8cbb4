"""What happened, in one sentence, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.errors import NightshiftError, NightSkipped
from nightshift.plan import STAGES, Plan, stages_of
from nightshift.report.measure import Measure
from nightshift.report.nights import Verdict
from nightshift.stage import StageResult

Results = Mapping[str, StageResult | NightshiftError]

BADGE: dict[Verdict, str] = {
    "promoted": "Promoted",
    "refused": "Refused",
    "kept": "Champion kept",
    "waiting": "Waits for approval",
    "failed": "Failed",
    "skipped": "Skipped",
    "unfinished": "Not finished",
}


@dataclass(frozen=True)
class Outcome:
    """How a night ended.

    Attributes:
        kind: One word, also of ``nightshift history``.
        sentence: What happened, with the numbers that decided.
        why: The reason behind it, or None where the sentence says it all.
        failed_stage: The stage whose error ended the run.
        error: That error.
    """

    kind: Verdict
    sentence: str
    why: str | None = None
    failed_stage: str | None = None
    error: NightshiftError | None = None

    @property
    def badge(self) -> str:
        return BADGE[self.kind]


def outcome_of(plan: Plan, results: Results, *, champion: int | None) -> Outcome:
    """The outcome that a run's results amount to.

    Args:
        plan: The run's plan.
        results: What each stage gave, or the error that it ended with, by stage.
        champion: The version of the model that serves now; None if there is none.
    """
    told = {stage: result for stage, result in results.items() if isinstance(result, StageResult)}
    for stage in STAGES:
        result = results.get(stage)
        if isinstance(result, NightshiftError):
            return _failed(plan, stage, result, champion)
    if "ingest" in told and told["ingest"].status == "skipped":
        return Outcome("skipped", f"Night {plan.interval.night}: nothing to do.", told["ingest"].reason)
    return _finished(plan, told)


def _failed(plan: Plan, stage: str, error: NightshiftError, champion: int | None) -> Outcome:
    night = f"Night {plan.interval.night}"
    if isinstance(error, NightSkipped):
        return Outcome("skipped", f"{night}: nothing to do.", error.message, stage, error)
    stays = f"champion v{champion} stays" if champion is not None else "there is no champion yet"
    return Outcome("failed", f"{night}: {stage} failed; {stays}.", None, stage, error)


def _finished(plan: Plan, told: Mapping[str, StageResult]) -> Outcome:
    night = f"Night {plan.interval.night}"
    evaluate, deploy = told.get("evaluate"), told.get("deploy")
    if evaluate is None:
        last = next((stage for stage in reversed(STAGES) if stage in told), None)
        return Outcome("unfinished", f"{night}: {f'{last} is done' if last else 'nothing has run'} so far.")
    version = _summary(told, "register").get("model_version")
    new = f"model v{version}" if version is not None else "the challenger"
    champion = evaluate.summary.get("champion_version")
    numbers = _numbers(told)
    if evaluate.status == "refused":
        stays = f"champion v{champion} stays" if champion is not None else "there is still no champion"
        return Outcome("refused", f"{night}: {new} was refused and {stays}: {numbers}.", evaluate.reason)
    if deploy is None:
        waits = "register" in told and stages_of(plan.spec)[-1] == "register"
        rest = "and waits for a person's approval" if waits else "but has not been deployed"
        return Outcome("waiting" if waits else "unfinished", f"{night}: {new} is fit to ship {rest}: {numbers}.")
    if deploy.status != "succeeded":
        stays = f"champion v{champion} stays" if champion is not None else "nothing was promoted"
        return Outcome("kept", f"{night}: {new} was fit to ship, but {stays}: {numbers}.", deploy.reason)
    why = evaluate.summary.get("sentence")
    if champion is None:
        return Outcome("promoted", f"{night}: {new} is the first champion: {numbers}.", why)
    return Outcome("promoted", f"{night}: {new} replaced v{champion}: {numbers}.", why)


def _numbers(told: Mapping[str, StageResult]) -> str:
    """``AUC 0.921 against 0.918 on 12,345 held-out rows``."""
    summary = _summary(told, "evaluate")
    rows = summary.get("rows") or _summary(told, "preprocess").get("holdout_rows")
    return str(Measure.of(summary)) + (f" on {rows:,} held-out rows" if rows is not None else "")


def _summary(told: Mapping[str, StageResult], stage: str) -> Mapping[str, Any]:
    return told[stage].summary if stage in told else {}
