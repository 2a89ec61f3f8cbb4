"""The register stage: parity first, then MLflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nightshift.ledger import Candidate, Ledger
from nightshift.model.session import Scorer
from nightshift.plan import Plan, canonical_json, stages_of
from nightshift.register.parity_gate import require_parity
from nightshift.register.submission import describe
from nightshift.registry import registered_name
from nightshift.registry.mlflow_registry import Registered, Registry, Submission
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt

log = logging.getLogger(__name__)

INPUTS = ("preprocess", "train", "evaluate")


def run(plan: Plan, io: StageIO) -> StageResult:
    """Register the night's challenger.

    A refused challenger is registered too, with the tag ``nightshift.status = refused``; where the night ends here,
    because a person approves, the refusal goes into the ledger. Publishes ``registration.json``.

    Raises:
        ParityError: The ONNX graph and the trained model disagree on a probe or holdout row; nothing is registered.
        InfraCheckFailed: The graph is not one that may be loaded.
        IntegrityError: A stored file is not the one that was published.
        StorageError: The store or MLflow failed; another try finishes what this one began.
    """
    inputs = {name: io.upstream[name] for name in INPUTS}
    return once(plan, io, "register", inputs, lambda attempt: _register(plan, io, attempt))


def _register(plan: Plan, io: StageIO, attempt: Attempt) -> Mapping[str, Any]:
    train = io.given("train")
    digest = train.file("graph.onnx").sha256
    scorer = Scorer.load(io.store.read(train, "graph.onnx"), digest=digest, threads=plan.threads)
    parity = require_parity(io, scorer)
    log.info("graph and trained model agree on %d rows to %.1e", parity.rows, parity.max_diff)

    submission = describe(plan, io, scorer, parity)
    registry = Registry(plan.mlflow_uri, registered_name(env=plan.env, model=plan.model))
    registered = registry.register(submission, io.scratch)
    summary = {
        "model_name": registry.model,
        "model_version": registered.version,
        "mlflow_run_id": registered.run_id,
        "model_digest": digest,
        "parity_max_diff": parity.max_diff,
        "parity_rows": parity.rows,
        "standing": submission.tags["nightshift.status"],
        "approval": plan.spec.approval,
    }
    if summary["standing"] == "refused" and stages_of(plan.spec)[-1] == "register":
        _refuse(plan, io, registered, submission)
    found = "" if registered.created else "found again: "
    log.info(
        "%s%s v%d, %s, is MLflow run %s",
        found, registry.model, registered.version, summary["standing"], registered.run_id,
    )  # fmt: skip
    parity_tables = {name: asdict(found) for name, found in parity.tables.items()}
    attempt.put(
        "registration.json", canonical_json({**summary, "run_key": submission.run_key, "parity": parity_tables})
    )
    return summary


def _refuse(plan: Plan, io: StageIO, registered: Registered, submission: Submission) -> None:
    """The ledger's refusal of a night that has no deploy stage; the same entry as deploy would make."""
    candidate = Candidate(
        model_version=registered.version,
        model_digest=submission.digest,
        interval=plan.interval,
        train=io.upstream["train"],
        mlflow_run_id=registered.run_id,
    )
    Ledger(io.store).refuse(
        candidate,
        reason=io.given("evaluate").result["reason"],
        by=plan.run_id,
        run_key=submission.run_key,
        train=io.given("train"),
    )
