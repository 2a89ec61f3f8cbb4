"""A model's nights, told from storage alone: manifests and the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

from nightshift.ledger import Ledger
from nightshift.ledger.entries import Entry
from nightshift.plan import STAGES
from nightshift.storage import Manifest, Store

Verdict = Literal["promoted", "refused", "kept", "failed", "skipped", "unfinished"]
REPORT = "report"


@dataclass(frozen=True)
class Night:
    """One line of ``nightshift history``.

    Attributes:
        night: The date on which the run happened.
        interval: Key of the interval it was for.
        rows_in, quarantined, unlabelled: Rows of the whole window, as validate counted them.
        challenger_auc, champion_auc: ROC AUC on the same holdout rows.
        verdict: How the night ended; ``kept`` is a fit challenger that did not ship.
        reason: Why, where there is something to say.
        model_version: What was registered.
        promoted: Whether the ledger has a promotion for this interval.
        seconds: By stage, of the attempt that made what is there; a reused result keeps its first seconds.
    """

    night: str
    interval: str
    rows_in: int | None
    quarantined: int | None
    unlabelled: int | None
    challenger_auc: float | None
    champion_auc: float | None
    verdict: Verdict
    reason: str | None
    model_version: int | None
    promoted: bool
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def nights(store: Store, *, limit: int | None = None) -> list[Night]:
    """The newest nights, oldest first.

    Args:
        store: The model's area in storage.
        limit: How many at most.

    Raises:
        IntegrityError: A manifest or the ledger is damaged.
        StorageError: The store failed.
    """
    found = {name for stage in (*STAGES, REPORT) for name in store.intervals(stage)}
    newest = sorted(found)[-limit:] if limit else sorted(found)
    entries = Ledger(store).entries()
    told = (_night(store, interval, entries) for interval in newest)
    return [night for night in told if night is not None]


def lineage(store: Store, interval: str) -> dict[str, Manifest]:
    """The versions that belong together in an interval's newest run, by stage.

    What evaluate read decides which training and which data count; a registration or deployment of
    another evaluation belongs to an older run and is left out.
    """
    found: dict[str, Manifest] = {}
    for stage in ("ingest", "validate", "evaluate"):
        if (manifest := store.latest(stage, interval)) is not None:
            found[stage] = manifest
    evaluate = found.get("evaluate")
    for stage in ("preprocess", "train"):
        manifest = store.resolve(evaluate.inputs[stage]) if evaluate else store.latest(stage, interval)
        if manifest is not None:
            found[stage] = manifest
    for stage in ("register", "deploy"):
        manifest = store.latest(stage, interval)
        if manifest is not None and evaluate is not None and manifest.inputs.get("evaluate") == evaluate.ref:
            found[stage] = manifest
    return {stage: found[stage] for stage in STAGES if stage in found}


def _night(store: Store, interval: str, entries: list[Entry]) -> Night | None:
    stages = lineage(store, interval)
    report = store.latest(REPORT, interval)
    if not stages and report is None:
        return None
    validate = dict(stages["validate"].result) if "validate" in stages else {}
    evaluate = dict(stages["evaluate"].result) if "evaluate" in stages else {}
    promoted = any(entry.kind == "promotion" and entry.about.interval.key == interval for entry in entries)
    verdict, reason = _verdict(stages, report, promoted=promoted)
    register = stages["register"].result if "register" in stages else {}
    return Night(
        night=night_of(interval),
        interval=interval,
        rows_in=validate.get("rows_in"),
        quarantined=validate.get("quarantined"),
        unlabelled=validate.get("unlabelled"),
        challenger_auc=roc_auc(evaluate.get("challenger")),
        champion_auc=roc_auc(evaluate.get("champion")),
        verdict=verdict,
        reason=reason,
        model_version=register.get("model_version"),
        promoted=promoted,
        seconds={stage: manifest.seconds for stage, manifest in stages.items()},
    )


def _verdict(stages: Mapping[str, Manifest], report: Manifest | None, *, promoted: bool) -> tuple[Verdict, str | None]:
    newest = max((manifest.created_at for manifest in stages.values()), default="")
    if report is not None and report.result.get("kind") in ("failed", "skipped") and report.created_at >= newest:
        return report.result["kind"], report.result.get("reason")
    evaluate, deploy = stages.get("evaluate"), stages.get("deploy")
    if evaluate is not None and evaluate.result.get("status") == "refused":
        return "refused", evaluate.result.get("reason")
    if deploy is None:
        return "unfinished", None
    if deploy.result.get("status") == "skipped":
        return "kept", deploy.result.get("reason")
    return ("promoted" if promoted else "kept"), evaluate.result.get("sentence") if evaluate else None


def night_of(interval: str) -> str:
    """The date on which a run for an interval happens; longer intervals are shown as they are."""
    try:
        return (date.fromisoformat(interval) + timedelta(days=1)).isoformat()
    except ValueError:
        return interval


def roc_auc(metrics: Any) -> float | None:
    """The ROC AUC inside a stage's metrics, where it has any."""
    return float(metrics["roc_auc"]) if isinstance(metrics, Mapping) and metrics.get("roc_auc") is not None else None
