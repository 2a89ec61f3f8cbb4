"""A model's nights, told from storage alone: manifests and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import islice
from typing import Any, Literal

from nightshift.ledger import Ledger
from nightshift.ledger.blessings import UNBLESSED
from nightshift.ledger.entries import REPORT, Entry
from nightshift.plan import STAGES
from nightshift.report.measure import Measure
from nightshift.spec.gate_metrics import METRICS, Metric
from nightshift.storage import Manifest, Store

Verdict = Literal["promoted", "refused", "kept", "waiting", "failed", "skipped", "unfinished"]
PAGE = "report.html"
WAITING = "It waits for a person's approval: in Airflow, or by nightshift promote."


@dataclass(frozen=True)
class Night:
    """One line of ``nightshift history``.

    Attributes:
        night: The date on which the run happened.
        interval: Key of the interval it was for.
        rows_in, quarantined, unlabelled: Rows of the whole window, as validate counted them.
        metric: The metric that decides, as in ``gates.metric``; None before evaluate.
        challenger, champion: Its value of each on the same holdout rows.
        verdict: How the night ended; ``kept`` is a fit challenger that did not ship, ``waiting`` one that waits for a
            person.
        reason: Why, where there is something to say.
        model_version: What was registered.
        promoted: Whether the ledger has a promotion of that version.
        seconds: By stage, of the attempt that made what is there; a reused result keeps its first seconds.
    """

    night: str
    interval: str
    rows_in: int | None
    quarantined: int | None
    unlabelled: int | None
    metric: str | None
    challenger: float | None
    champion: float | None
    verdict: Verdict
    reason: str | None
    model_version: int | None
    promoted: bool
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """What a run of a night left.

    Attributes:
        stages: What it published, by stage.
        report: Its report, if it rendered one.
        unblessed: The failed verdict on its data, if it ended with one.
    """

    stages: Mapping[str, Manifest]
    report: Manifest | None
    unblessed: Manifest | None

    @classmethod
    def standing(cls, store: Store, interval: str) -> Run | None:
        """The run that stands for a night, its newest; None if there was none."""
        stages, report = lineage(store, interval), store.latest(REPORT, interval)
        unblessed = latest_unblessed(store, interval, stages)
        return cls(stages, report, unblessed) if stages or report is not None or unblessed is not None else None


def nights(store: Store, *, limit: int | None = None) -> list[Night]:
    """The newest nights, oldest first.

    Args:
        store: The model's area in storage.
        limit: How many at most.

    Raises:
        IntegrityError: A manifest or the ledger is damaged.
        StorageError: The store failed.
    """
    return list(islice(newest_nights(store), limit))[::-1]


def newest_nights(store: Store) -> Iterator[Night]:
    """The nights, newest first; what is not asked for is not read.

    Raises:
        IntegrityError: A manifest or the ledger is damaged.
        StorageError: The store failed.
    """
    intervals = {name for stage in (*STAGES, UNBLESSED, REPORT) for name in store.intervals(stage)}
    entries = Ledger(store).entries()
    newer: Night | None = None
    for interval in sorted(intervals, reverse=True):
        run = Run.standing(store, interval)
        if run is None:
            continue
        night = told(interval, run, entries)
        # Nobody waits for a version any more when a newer night's waits too, or has been promoted.
        if night.verdict == "waiting" and newer is not None:
            reason = f"Superseded by v{newer.model_version} of night {newer.night}; nobody had answered."
            night = replace(night, verdict="kept", reason=reason)
        if night.verdict in ("waiting", "promoted") and newer is None:
            newer = night
        yield night


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


def told(interval: str, run: Run, entries: Sequence[Entry]) -> Night:
    """How a run of a night ended, as a line."""
    stages = run.stages
    validate = dict(stages["validate"].result) if "validate" in stages else {}
    evaluate = dict(stages["evaluate"].result) if "evaluate" in stages else {}
    register = stages["register"].result if "register" in stages else {}
    version = register.get("model_version")
    siblings = [entry for entry in entries if entry.kind == "promotion" and entry.about.interval.key == interval]
    own = [entry for entry in siblings if entry.about.model_version == version or of_this_run(entry, stages)]
    moved = "deploy" not in stages and any(of_this_run(entry, stages) for entry in own)
    verdict, reason = _since(_verdict(run, promoted=bool(own), moved=moved), own, siblings)
    measure = Measure.of(evaluate)
    return Night(
        night=night_of(interval),
        interval=interval,
        rows_in=validate.get("rows_in"),
        quarantined=validate.get("quarantined"),
        unlabelled=validate.get("unlabelled"),
        metric=measure.metric.name if evaluate else None,
        challenger=measure.challenger,
        champion=measure.champion,
        verdict=verdict,
        reason=reason,
        model_version=version,
        promoted=bool(own),
        seconds={stage: manifest.seconds for stage, manifest in stages.items()},
    )


def of_this_run(promotion: Entry, stages: Mapping[str, Manifest]) -> bool:
    """Whether a promotion rests on what a run trained and how that was evaluated."""
    train, evaluate = stages.get("train"), stages.get("evaluate")
    if train is None or evaluate is None or promotion.about.train != train.ref:
        return False
    quality = promotion.blessings.get("quality")
    return quality is None or quality.ref == evaluate.ref


def latest_unblessed(store: Store, interval: str, stages: Mapping[str, Manifest]) -> Manifest | None:
    """The failed verdict on a night's data, if nothing that the night published is newer."""
    found = store.latest(UNBLESSED, interval)
    return found if found is not None and found.created_at >= newest(stages) else None


def newest(stages: Mapping[str, Manifest]) -> str:
    """When the last of them was published; empty where there are none."""
    return max((manifest.created_at for manifest in stages.values()), default="")


def _verdict(run: Run, *, promoted: bool, moved: bool) -> tuple[Verdict, str | None]:
    stages, report, unblessed = run.stages, run.report, run.unblessed
    if (
        report is not None
        and report.result.get("kind") in ("failed", "skipped")
        and report.created_at >= newest(stages)
    ):
        # The ledger counts: a run that broke after its entry, for want of MLflow say, did promote.
        return ("promoted" if moved else report.result["kind"]), report.result.get("reason")
    if unblessed is not None and not moved:
        failed = ", ".join(unblessed.result["checks_failed"])
        return "failed", f"The data is not blessed, and the run left no report. Checks that fail: {failed}."
    evaluate, ingest = stages.get("evaluate"), stages.get("ingest")
    if ingest is not None and ingest.result.get("status") == "skipped":
        return "skipped", ingest.result.get("reason")
    if evaluate is not None and evaluate.result.get("status") == "refused":
        return "refused", evaluate.result.get("reason")
    if moved and evaluate is not None:
        # Killed between its entry and its end: who asks the ledger has the answer already.
        return "promoted", evaluate.result.get("sentence")
    return _undecided(stages) or _deployed(stages, promoted=promoted)


def _since(
    ended: tuple[Verdict, str | None], own: Sequence[Entry], siblings: Sequence[Entry]
) -> tuple[Verdict, str | None]:
    """How a run stands by now: a person may have promoted its version, or another run of the night its own.

    Args:
        ended: How it ended, and why.
        own: Promotions of its version.
        siblings: Promotions of the night.
    """
    verdict, reason = ended
    by_hand = next((entry for entry in reversed(own) if entry.by_a_person), None)
    if by_hand is not None and verdict in ("kept", "waiting", "unfinished"):
        entry = f"ledger entry {by_hand.sequence}"
        return "promoted", f"Promoted by {by_hand.by}, by hand ({entry}: {by_hand.reason.rstrip('.')})."
    other = next((entry for entry in reversed(siblings) if entry not in own), None)
    if other is None or verdict == "promoted":
        return verdict, reason
    more = f"v{other.about.model_version} of another run of this night was promoted (ledger entry {other.sequence})."
    return verdict, f"{reason} {more}" if reason else more


def _undecided(stages: Mapping[str, Manifest]) -> tuple[Verdict, str | None] | None:
    """How a night stands that has not come to deploy; None if it has."""
    if "deploy" in stages:
        return None
    waits = "register" in stages and stages["register"].result.get("approval") == "manual"
    return ("waiting", WAITING) if waits else ("unfinished", None)


def _deployed(stages: Mapping[str, Manifest], *, promoted: bool) -> tuple[Verdict, str | None]:
    deploy, evaluate = stages["deploy"], stages.get("evaluate")
    if deploy.result.get("status") == "skipped":
        return "kept", deploy.result.get("reason")
    return ("promoted" if promoted else "kept"), evaluate.result.get("sentence") if evaluate else None


def page_of(store: Store, interval: str, run_id: str | None = None) -> Manifest | None:
    """The newest report of a run; that of the night, if the run has none or is not told."""
    last: Manifest | None = None
    for number in reversed(store.versions(REPORT, interval)):
        found = store.manifest(REPORT, interval, number)
        if run_id in (None, found.result.get("run_id")):
            return found
        last = last or found
    return last


def page_uri(store: Store, report: Manifest) -> str:
    """Where a published report's page lies."""
    return store.objects.uri(f"{report.folder}/{PAGE}")


def night_of(interval: str) -> str:
    """The date on which a run for an interval happens; longer intervals are shown as they are."""
    try:
        return (date.fromisoformat(interval) + timedelta(days=1)).isoformat()
    except ValueError:
        return interval


def metrics_of(found: Iterable[Night]) -> list[Metric]:
    """The metrics that decided, oldest first; a spec that changed has more than one."""
    return [METRICS[name] for name in dict.fromkeys(night.metric for night in found if night.metric)]
