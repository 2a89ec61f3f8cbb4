"""One night explained: what it was made of, why it ended as it did, how to undo it, what changed since the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.errors import DataError, IntegrityError, SpecError
from nightshift.ledger import Entry, Ledger, reigns
from nightshift.ledger.blessings import waive_command
from nightshift.ledger.entries import REPORT
from nightshift.plan import Plan, digest_of
from nightshift.report.differences import differences, spec_differences
from nightshift.report.nights import Night, latest_unblessed, lineage, newest_nights, page_of, page_uri
from nightshift.report.verdicts import verdicts
from nightshift.storage import Manifest, Store

log = logging.getLogger(__name__)

PLAN = "plan"


@dataclass(frozen=True)
class Cost:
    """What a night used. Nothing is priced: Nightshift knows no prices of the machines that it runs on.

    Attributes:
        seconds: Of all stages, each of the attempt that made its result; a reused result keeps its first seconds.
        threads: How many threads each job was given; None where the plan is gone.
        core_seconds: The product: what was set aside for the jobs of this machine, used or not. A Spark cluster's own
            cores are not in it.
    """

    seconds: float
    threads: int | None
    core_seconds: float | None

    @classmethod
    def of(cls, night: Night, plan: Plan | None) -> Cost:
        seconds = round(sum(night.seconds.values()), 3)
        if plan is None:
            return cls(seconds, None, None)
        return cls(seconds, plan.threads, round(seconds * plan.threads, 3))


@dataclass(frozen=True)
class Explanation:
    """What ``nightshift explain`` tells.

    Attributes:
        night: The line of ``nightshift history``.
        run_id: The run that rendered the report; None without one.
        report: URI of the page of the run that was asked for, else of the newest; None without one.
        lineage: By stage: the version it published, digest of its code, its inputs, seconds.
        cost: What the night used, as far as it is known; see ``Cost``.
        spec_digest: Digest of the spec that the run was planned with.
        blessings: By kind: verdict, who waived, and every check.
        entries: The ledger entries about the night and its version.
        undo: What takes back what the night did, in a sentence.
        before: The night before that it is compared with.
        changes: What differs from it.
    """

    night: Night
    run_id: str | None
    report: str | None
    lineage: Mapping[str, Mapping[str, Any]]
    cost: Cost
    spec_digest: str | None
    blessings: Mapping[str, Mapping[str, Any]]
    entries: tuple[Entry, ...]
    undo: str
    before: str | None
    changes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        told = {"night": self.night.to_dict(), "cost": asdict(self.cost)}
        return {**vars(self), **told, "entries": [entry.to_dict() for entry in self.entries]}


def explain(store: Store, model: str, interval: str | None, *, run_id: str | None = None) -> Explanation:
    """Explain a night.

    Args:
        store: The model's area.
        model: Its name, for the commands in the text.
        interval: Key of the night's interval; None for the newest.
        run_id: The run whose report is meant; None for the night's newest.

    Raises:
        DataError: There is no such night.
        IntegrityError: Something published is damaged.
        StorageError: The store failed.
    """
    told = newest_nights(store)
    newest = next(told, None)
    night = newest
    while night is not None and interval not in (None, night.interval):
        oldest, night = night, next(told, None)
    if night is None:
        there = f"{oldest.night} to {newest.night}" if newest else "none"
        raise DataError(f"{model} has no such night in storage; nights there are: {there}.")
    before = next(told, None)
    manifests = lineage(store, night.interval)
    plan = _plan(store, night.interval)
    judged = verdicts(store, night.interval, manifests, latest_unblessed(store, night.interval, manifests))
    ledger = Ledger(store)
    report = page_of(store, night.interval, run_id)
    return Explanation(
        night=night,
        run_id=None if report is None else report.result.get("run_id"),
        report=None if report is None else page_uri(store, report),
        lineage={stage: _origin(manifest) for stage, manifest in manifests.items()},
        cost=Cost.of(night, plan),
        spec_digest=_spec_digest(plan),
        blessings={kind: asdict(found) for kind, found in judged.items()},
        entries=tuple(_about(ledger.entries(), night)),
        undo=_undo(ledger, model, night),
        before=before.night if before else None,
        changes=() if before is None else tuple(_changes(store, (before, night), manifests, plan)),
    )


def interval_of_run(store: Store, run_id: str) -> str | None:
    """The newest interval that a run was for, by its plan, the ledger or the report; None if nobody knows it."""
    for entry in reversed(Ledger(store).entries()):
        if entry.by == run_id and entry.candidate is not None:
            return entry.candidate.interval.key
    for interval in reversed(store.intervals(REPORT)):
        report = page_of(store, interval, run_id)
        if report is not None and report.result.get("run_id") == run_id:
            return interval
    for interval in reversed(store.intervals(PLAN)):
        if any(plan is not None and plan.run_id == run_id for plan in _plans(store, interval)):
            return interval
    return None


def _plan(store: Store, interval: str) -> Plan | None:
    """The plan of the interval that was published last; None if there is none, or this version cannot read it."""
    return next(_plans(store, interval), None)


def _plans(store: Store, interval: str) -> Iterator[Plan | None]:
    """The plans of the interval, newest first."""
    found = sorted(store.objects.walk(f"{PLAN}/{interval}/"), key=lambda stored: (stored.modified, stored.name))
    for stored in reversed(found):
        try:
            yield Plan.from_json(store.objects.read(stored.name))
        except (IntegrityError, SpecError) as error:
            log.warning("%s is left out: %s", store.objects.uri(stored.name), error.message)
            yield None


def _spec_digest(plan: Plan | None) -> str | None:
    return None if plan is None else digest_of(plan.spec.model_dump(mode="json", exclude_defaults=True))


def _origin(manifest: Manifest) -> dict[str, Any]:
    days = {name: ref for name, ref in manifest.inputs.items() if name.startswith(("raw/", "valid/"))}
    other = {name: str(ref) for name, ref in manifest.inputs.items() if name not in days}
    return {
        "version": str(manifest.ref),
        "code": manifest.code,
        "inputs": other | ({"days": f"{len(days)} from {min(days)} to {max(days)}"} if days else {}),
        "seconds": manifest.seconds,
    }


def _about(entries: list[Entry], night: Night) -> list[Entry]:
    """Those that name the night, its version, or come right from it."""
    return [
        entry
        for entry in entries
        if (entry.candidate is not None and entry.candidate.interval.key == night.interval)
        or (entry.waiver is not None and entry.waiver.interval == night.interval)
        or (entry.kind == "rollback" and night.model_version is not None and entry.from_version == night.model_version)
    ]


def _undo(ledger: Ledger, model: str, night: Night) -> str:
    champion = ledger.champion()
    gone = reigns.retired(ledger.entries()).get(night.model_version or 0)
    if gone is not None:
        return (
            f"Its v{night.model_version} was retired on {gone.at} by {gone.by}, which cannot be undone. For a new "
            f"version of the night, change code or spec and run it again: nightshift run {model} --night {night.night}"
        )
    if champion is not None and champion.model_version == night.model_version:
        return f"Its v{night.model_version} is champion. To go back: nightshift rollback {model}"
    if night.promoted:
        return (
            f"Its v{night.model_version} was champion, and is no more. To have it again: "
            f"nightshift rollback {model} --to {night.model_version}"
        )
    if night.verdict == "refused":
        return (
            "Nothing was moved, so there is nothing to undo. To let it ship all the same, with your name to it: "
            f"{waive_command(model, night.night, 'quality')}, then run the night again"
        )
    if night.verdict in ("kept", "waiting"):
        return f"Nothing was moved. To promote its version: nightshift promote {model} --version {night.model_version}"
    return "Nothing was moved, so there is nothing to undo."


def _changes(
    store: Store, pair: tuple[Night, Night], manifests: Mapping[str, Manifest], plan: Plan | None
) -> Iterator[str]:
    before, night = pair
    yield from differences(before, night, (lineage(store, before.interval), manifests))
    planned = _plan(store, before.interval)
    if plan is not None and planned is not None:
        yield from spec_differences(planned, plan)
