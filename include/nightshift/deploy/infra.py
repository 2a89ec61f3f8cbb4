"""The infra blessing: a version loads where it will serve, scores there as it was judged, and is not too slow."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightshift.deploy.latency import CALLS, Latency
from nightshift.deploy.target import DeploymentTarget, InfraCheck, ModelFiles
from nightshift.errors import InfraCheckFailed, IntegrityError
from nightshift.ledger import Candidate, Champion, Ledger, blessings
from nightshift.ledger.blessings import Blessing, Check
from nightshift.model.parity import TOLERANCE
from nightshift.plan import CODE_OF_STAGE, canonical_json, code_digest, digest_of
from nightshift.spec.deploy import Deploy, LatencyBounds
from nightshift.storage import Manifest, Ref, Store

log = logging.getLogger(__name__)

DATASET = "infra"
SLOW = "nothing was promoted, and the champion stays; the spec says what is allowed: deploy.latency"


@dataclass(frozen=True)
class Rival:
    """Whom a version is timed against.

    Attributes:
        champion: The champion; None before the first promotion.
    """

    champion: Champion | None

    def files(self, store: Store, scratch: Path) -> dict[str, Any]:
        """The champion's part of ``ModelFiles``; nothing where its graph is damaged: then it needs a successor."""
        if self.champion is None:
            return {}
        try:
            train = store.resolve(self.champion.train)
            graph = store.download(train, "graph.onnx", scratch / "champion.onnx")
        except IntegrityError as error:
            log.warning("not timed against champion v%d: %s", self.champion.model_version, error.message)
            return {}
        return {"champion": graph, "champion_digest": self.champion.model_digest}


def check(
    store: Store,
    candidate: Candidate,
    quality: Ref,
    target: DeploymentTarget,
    bounds: Deploy,
    *,
    scratch: Path,
    rival: Rival | None = None,
) -> InfraCheck:
    """Load a version in a fresh process and reproduce its golden rows.

    Args:
        store: The model's area.
        candidate: The version.
        quality: What evaluate published about it; the golden rows lie there.
        target: Where it will serve.
        bounds: What it may take there.
        scratch: A folder for temporary files.
        rival: Time calls too, in turn with this one's; None where speed does not matter.

    Raises:
        InfraCheckFailed: It does not load, or scores otherwise.
        IntegrityError: The stored graph or the golden rows are not those that were judged.
        StorageError: The store failed.
    """
    train, evaluate = store.resolve(candidate.train), store.resolve(quality)
    golden = next(entry.path for entry in evaluate.files if entry.path.startswith("golden/"))
    files = ModelFiles(
        graph=store.download(train, "graph.onnx", scratch / "graph.onnx"),
        digest=candidate.model_digest,
        golden=store.download(evaluate, golden, scratch / "golden.parquet"),
        threshold=train.result["threshold"],
        memory_mb=bounds.memory,
        calls=0 if rival is None else CALLS,
        **(rival.files(store, scratch) if rival else {}),
    )
    found = target.check(files)
    log.info(
        "a fresh process loaded v%d in %.2f s and reproduced %d golden rows",
        candidate.model_version, found.load_seconds, found.rows,
    )  # fmt: skip
    return found


def bless(
    store: Store, candidate: Candidate, quality: Ref, target: DeploymentTarget, bounds: Deploy, *, scratch: Path
) -> tuple[Manifest, InfraCheck]:
    """Check a version, and publish what came of it in the dataset ``infra``; a failure too.

    The check is made every time; an equal blessing that is there already is not written again. Arguments and errors
    are those of ``check``, and

    Raises:
        InfraCheckFailed: It is slower than the budget, or than the champion by too much.
        Overtaken: Another version of the same night was blessed at the same moment; try again.
    """
    rival = Rival(Ledger(store).champion())
    try:
        found = check(store, candidate, quality, target, bounds, scratch=scratch, rival=rival)
    except InfraCheckFailed as error:
        _publish(store, candidate, quality, [Check("serves", False, None, None, error.message)], bounds=bounds)
        raise
    published = _publish(store, candidate, quality, _checks(found, bounds), bounds=bounds, found=found)
    require_speed(found, bounds)
    return published, found


def require_speed(found: InfraCheck, bounds: Deploy) -> None:
    """Raises InfraCheckFailed: It is slower than the budget, or than the champion by too much."""
    if slow := [one.text for one in _checks(found, bounds) if not one.passed]:
        raise InfraCheckFailed(" ".join(slow), hint=SLOW)


def _checks(found: InfraCheck, bounds: Deploy) -> list[Check]:
    return [
        Check(
            "serves",
            True,
            found.load_seconds,
            None,
            f"A fresh process with {found.runtime} loaded the promoted bytes in {found.load_seconds:.2f} s.",
        ),
        Check(
            "golden_rows",
            True,
            found.max_diff,
            TOLERANCE,
            f"It reproduced {found.rows} golden rows; the largest difference is {found.max_diff:.1e}.",
        ),
        *([] if found.latency is None else _speed(found.latency, bounds.latency)),
    ]


def _speed(latency: Latency, bounds: LatencyBounds) -> list[Check]:
    calls, theirs = f"{latency.calls} calls of one row", latency.champion_p50_ms
    budget = float(bounds.budget)
    within = latency.p95_ms <= budget
    checks = [
        Check(
            "latency",
            within,
            latency.p95_ms,
            budget,
            f"95 % of {calls} took at most {latency.p95_ms:.2f} ms, {'within' if within else 'over'} the budget of "
            f"{budget:g} ms.",
        )
    ]
    if theirs is not None:
        allowed = round(bounds.versus_champion * theirs, 4)
        fast = latency.p50_ms <= allowed
        checks.append(
            Check(
                "latency_champion",
                fast,
                latency.p50_ms,
                allowed,
                f"Half of {calls} took at most {latency.p50_ms:.3f} ms and the champion's {theirs:.3f} ms: "
                f"{'not more' if fast else 'more'} than {bounds.versus_champion:g} times as long.",
            )
        )
    return checks


def _publish(
    store: Store,
    candidate: Candidate,
    quality: Ref,
    checks: list[Check],
    *,
    bounds: Deploy,
    found: InfraCheck | None = None,
) -> Manifest:
    """The version that carries the blessing: a new one, or the one that said the same before."""
    evidence = f"deployment target {bounds.target}" if found is None else "infra_check.json"
    blessing = Blessing.judged(
        "infra", checks, interval=candidate.interval.key, about=candidate.model_digest, evidence=evidence
    )
    code = code_digest(CODE_OF_STAGE["deploy"])
    told = bounds.model_dump(mode="json")
    about = {"train": candidate.train.digest, "evaluate": quality.digest, "deploy": told, "code": code}
    # Seconds differ each time: what counts is that the same check of the same bytes passed, or did not.
    key = digest_of({**about, "verdict": blessing.verdict})
    attempt = store.attempt(DATASET, candidate.interval.key)
    there = store.find(DATASET, candidate.interval.key, key)
    if there is not None:
        return there
    if found is not None:
        attempt.put("infra_check.json", canonical_json(asdict(found)))
    blessings.write(attempt, blessing)
    inputs = {"train": candidate.train, "evaluate": quality}
    result = {"verdict": blessing.verdict, "model_version": candidate.model_version, "target": bounds.target}
    return attempt.publish(stage_key=key, code=code, inputs=inputs, result={**result, "deploy": told})
