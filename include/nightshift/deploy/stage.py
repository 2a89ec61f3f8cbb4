"""The deploy stage: the infra blessing, then the ledger's head, then the aliases that mirror it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nightshift.deploy.candidates import answer_key, answered, newer_candidate, superseded
from nightshift.deploy.infra import bless
from nightshift.deploy.roles import apply_roles
from nightshift.deploy.targets import target_of
from nightshift.errors import StorageError
from nightshift.ledger import Blessed, Candidate, Entry, Ledger, Obstacle
from nightshift.plan import Approval, Plan, canonical_json
from nightshift.registry.aliases import Aliases
from nightshift.registry.mlflow_registry import load_mlflow
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt

log = logging.getLogger(__name__)

INPUTS = ("train", "evaluate", "register")
BACKFILL = "A backfill builds versions and never promotes."
UNASKED = "It waits for a person's approval: the promotion DAG asks for it, or nightshift promote gives it."


@dataclass(frozen=True)
class Decision:
    """What deploy does with the version, settled before anything is done.

    Attributes:
        action: ``promote``, ``refuse``, or ``skip``.
        key: The same, with what it depends on; part of the stage key.
        reason: Why it is not promoted; empty for ``promote``.
    """

    action: Literal["promote", "refuse", "skip"]
    key: str
    reason: str = ""


def run(plan: Plan, io: StageIO) -> StageResult:
    """Promote the night's version if evaluate passed it, a person agrees where one is asked, and nothing newer serves.

    Publishes ``deployment.json``, and for a promotion the table ``golden`` that the infra check reproduced.

    Returns:
        Status ``skipped`` with the reason where the version is not promoted.

    Raises:
        InfraCheckFailed: The version does not load or score right in a fresh process; the champion is untouched.
        NotBlessed: The data or quality blessing is missing, failed, or waived by a waiver that has expired.
        IntegrityError: The ledger or a stored file is damaged.
        StorageError: The store failed, or MLflow after the ledger moved: the promotion stands, and another try
            applies the aliases.
    """
    registration = json.loads(io.store.read(io.given("register"), "registration.json"))
    candidate = Candidate(
        model_version=registration["model_version"],
        model_digest=registration["model_digest"],
        interval=plan.interval,
        train=io.upstream["train"],
        mlflow_run_id=registration["mlflow_run_id"],
    )
    deployment = Deployment(plan, io, Ledger(io.store), candidate, registration)
    decision = deployment.decide()

    def build(attempt: Attempt) -> Mapping[str, Any]:
        return {"promote": deployment.promote, "refuse": deployment.refuse, "skip": deployment.skip}[decision.action](
            decision, attempt
        )

    inputs = {name: io.upstream[name] for name in INPUTS}
    return once(plan, io, "deploy", inputs, build, also={"decision": decision.key})


@dataclass(frozen=True)
class Deployment:
    """One version on its way to the champion's place.

    Attributes:
        plan: The run's plan.
        io: What the stage may touch.
        ledger: The model's ledger.
        candidate: The version.
        registration: ``registration.json``.
    """

    plan: Plan
    io: StageIO
    ledger: Ledger
    candidate: Candidate
    registration: Mapping[str, Any]

    def decide(self) -> Decision:
        evaluation = self.io.given("evaluate").result
        if evaluation.get("status") == "refused":
            return Decision("refuse", "refuse", evaluation["reason"])
        if self.plan.trigger == "backfill":
            return Decision("skip", "backfill", BACKFILL)
        if self.plan.spec.approval == "manual":
            return self._decide_by_answer(self.plan.approval)
        if self.ledger.find(self.registration["run_key"]) is not None:
            return Decision("promote", "promote")
        obstacle = self.ledger.obstacle(self.candidate, self._opponent)
        if obstacle is not None:
            return skipped(obstacle)
        return Decision("promote", "promote")

    def _decide_by_answer(self, answer: Approval | None) -> Decision:
        """What a person's answer comes to, by the time that it is carried out."""
        if answer is None:
            return Decision("skip", "unasked", UNASKED)
        wanted = "promotion" if answer.approved else "refusal"
        entry = self.ledger.find(self._run_key) or answered(self.ledger, self.candidate)
        if entry is not None and (entry.kind, entry.run_key) != (wanted, self._run_key):
            return overtaken_by(entry)
        if entry is None and (answer.approved or answer.by is None):
            # Nobody needs to be told that a version timed out which had been overtaken anyway.
            obstacle = self.ledger.obstacle(self.candidate, self._opponent, approved=True)
            if obstacle is not None:
                return skipped(obstacle)
            newer = newer_candidate(self.ledger, self.candidate)
            if newer is not None:
                return Decision("skip", f"superseded: v{newer.model_version}", superseded(newer))
        if answer.approved:
            return Decision("promote", f"approved by {answer.by}")
        comment = f": {answer.comment}" if answer.comment else "."
        text = f"Rejected by {answer.by}{comment}" if answer.by else answer.comment
        return Decision("refuse", f"rejected by {answer.by}: {answer.comment}", text)

    @property
    def _opponent(self) -> int | None:
        against: int | None = self.io.given("evaluate").result.get("champion_version")
        return against

    @property
    def _author(self) -> str:
        """Who stands for the entry: the person who answered, or the run."""
        answer = self.plan.approval
        return self.plan.run_id if answer is None or answer.by is None else answer.by

    @property
    def _run_key(self) -> str:
        """One entry for each version; one answer, where a person was asked and answered."""
        answer = self.plan.approval
        asked = answer is not None and answer.by is not None
        return answer_key(self.candidate) if asked else str(self.registration["run_key"])

    def _reason(self) -> str:
        sentence: str = self.io.given("evaluate").result["sentence"]
        answer = self.plan.approval
        return f"{sentence} Approved: {answer.comment}" if answer and answer.comment else sentence

    def promote(self, _: Decision, attempt: Attempt) -> Mapping[str, Any]:
        io = self.io
        with ThreadPoolExecutor(max_workers=1) as pool:
            # The aliases need MLflow, whose import takes as long as the check in the other process.
            pool.submit(load_mlflow)
            bounds = self.plan.spec.deploy
            target = target_of(bounds.target)
            infra, check = bless(io.store, self.candidate, io.upstream["evaluate"], target, bounds, scratch=io.scratch)
        entry = self.ledger.promote(
            Blessed.collect(io.store, self.candidate, quality=io.upstream["evaluate"], infra=infra.ref),
            reason=self._reason(),
            by=self._author,
            run_key=self._run_key,
            approved=self.plan.approval is not None,
        )
        if isinstance(entry, Obstacle) or entry.kind != "promotion":
            # A newer night was promoted, a hold set, or another answer given, since the decision was taken.
            return self.skip(skipped(entry) if isinstance(entry, Obstacle) else overtaken_by(entry), attempt)
        log.info("v%d is promoted, ledger entry %d", self.candidate.model_version, entry.sequence)
        self._apply_roles(entry)
        evidence = {"action": "promote", "entry": entry.sequence, "infra": str(infra.ref), "infra_check": asdict(check)}
        attempt.put("deployment.json", canonical_json(evidence))
        return {
            "ledger_sequence": entry.sequence,
            "champion_version": self._champion_version(),
            "previous_version": entry.from_version,
            "golden_rows": check.rows,
            "golden_max_diff": check.max_diff,
            "load_seconds": check.load_seconds,
        }

    def refuse(self, decision: Decision, attempt: Attempt) -> Mapping[str, Any]:
        entry = self.ledger.refuse(
            self.candidate,
            reason=decision.reason,
            by=self._author,
            run_key=self._run_key,
            train=self.io.given("train"),
        )
        if entry.kind != "refusal":
            return self.skip(overtaken_by(entry), attempt)
        return self._left_out(decision, attempt, sequence=entry.sequence)

    def skip(self, decision: Decision, attempt: Attempt) -> Mapping[str, Any]:
        return self._left_out(decision, attempt, sequence=None)

    def _left_out(self, decision: Decision, attempt: Attempt, *, sequence: int | None) -> Mapping[str, Any]:
        log.info("v%d is not promoted: %s", self.candidate.model_version, decision.reason)
        evidence = {"action": decision.action, "entry": sequence, "reason": decision.reason}
        attempt.put("deployment.json", canonical_json(evidence))
        return {
            "status": "skipped",
            "reason": decision.reason,
            "ledger_sequence": sequence,
            "champion_version": self._champion_version(),
        }

    def _champion_version(self) -> int | None:
        head = self.ledger.champion()
        return head.model_version if head else None

    def _apply_roles(self, entry: Entry) -> None:
        try:
            apply_roles(self.ledger, Aliases(self.plan.mlflow_uri, self.registration["model_name"]))
        except StorageError as error:
            raise StorageError(
                f"v{entry.to_version} is promoted (ledger entry {entry.sequence}) and serves, but its MLflow aliases "
                f"are not set yet: {error.message}",
                hint="the aliases follow when deploy runs again, or with the next housekeeping. "
                f"{error.hint or ''}".strip(),
            ) from error


def overtaken_by(entry: Entry) -> Decision:
    """Somebody else's answer was first."""
    text = f"Ledger entry {entry.sequence}, {entry.kind} by {entry.by}, came before this answer."
    return Decision("skip", f"answered: entry {entry.sequence}", text)


def skipped(obstacle: Obstacle) -> Decision:
    return Decision("skip", f"{obstacle.kind}: entry {obstacle.entry}", obstacle.text)
