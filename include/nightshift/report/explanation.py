"""One night explained: what it was made of, why it ended as it did, how to undo it, what changed since the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from nightshift.errors import DataError, IntegrityError, SpecError
from nightshift.ledger import Entry, Ledger
from nightshift.ledger.entries import REPORT
from nightshift.plan import Plan, digest_of
from nightshift.report.differences import differences, spec_differences
from nightshift.report.nights import Night, Run, lineage, newest_nights, page_of, page_uri, told
from nightshift.report.runs import entries_of, run_of
from nightshift.report.undo import undo
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
        night: The line of ``nightshift history``; of the run that was asked for, how that one ended.
        note: What has to be said where the run that was asked for does not stand for the night, or left nothing.
        run_id: The run that is explained; else the one that rendered the report, None without one.
        report: URI of its page; None without one.
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
    note: str | None
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
        run_id: The run that is meant; None for the one that stands for the night, its newest.

    Raises:
        DataError: There is no such night.
        IntegrityError: Something published is damaged.
        StorageError: The store failed.
    """
    found, before = _found(store, model, interval)
    entries = Ledger(store).entries()
    shown = _Shown.of(store, found, entries, run_id)
    night, run, report = shown.night, shown.run, shown.run.report
    plan = _plan(store, night.interval, shown.run_id)
    judged = verdicts(store, night.interval, run.stages, run.unblessed)
    return Explanation(
        night=night,
        note=shown.note,
        run_id=shown.run_id or (None if report is None else report.result.get("run_id")),
        report=None if report is None else page_uri(store, report),
        lineage={stage: _origin(manifest) for stage, manifest in run.stages.items()},
        cost=Cost.of(night, plan),
        spec_digest=_spec_digest(plan),
        blessings={kind: asdict(blessing) for kind, blessing in judged.items()},
        entries=tuple(_about(entries, night)),
        undo=undo(entries, model, night, stands=shown.stands),
        before=before.night if before else None,
        changes=() if before is None else tuple(_changes(store, (before, night), run.stages, plan)),
    )


def _found(store: Store, model: str, interval: str | None) -> tuple[Night, Night | None]:
    """The night of an interval, the newest by default, and the one before it.

    Raises:
        DataError: There is no such night.
    """
    nights = newest_nights(store)
    newest = next(nights, None)
    night = newest
    while night is not None and interval not in (None, night.interval):
        oldest, night = night, next(nights, None)
    if night is None:
        there = f"{oldest.night} to {newest.night}" if newest else "none"
        raise DataError(f"{model} has no such night in storage; nights there are: {there}.")
    return night, next(nights, None)


@dataclass(frozen=True)
class _Shown:
    """Which run of a night is explained.

    Attributes:
        night: How it ended.
        run: What it left.
        run_id: The run that was asked for, where this is it; None for the run that stands for the night.
        note: What has to be said where that is another one.
        stands: This run stands for the night.
    """

    night: Night
    run: Run
    run_id: str | None
    note: str | None = None
    stands: bool = True

    @classmethod
    def of(cls, store: Store, night: Night, entries: list[Entry], run_id: str | None) -> _Shown:
        standing = Run.standing(store, night.interval)
        assert standing is not None, "the night was found by what it left"
        if run_id is None:
            return cls(night, standing, None)
        run = run_of(store, night.interval, run_id)
        if run is None:
            note = f"Run {run_id} left neither a report nor a ledger entry; this is what stands for its night."
            return cls(night, standing, None, note)
        own, ended = (told(night.interval, one, entries) for one in (run, standing))
        if _is_part(run, standing) and (own.verdict, own.model_version) == (ended.verdict, ended.model_version):
            return cls(night, replace(standing, report=run.report), run_id)
        newer = None if standing.report is None else standing.report.result.get("run_id")
        name = "a newer run" if newer in (None, run_id) else f"the newer run {newer}"
        version = "" if night.model_version is None else f", v{night.model_version}"
        note = f"For this night stands {name}: {night.verdict}{version}. What follows is run {run_id}."
        return cls(own, run, run_id, note, stands=False)


def _is_part(run: Run, standing: Run) -> bool:
    """Whether all that a run published is what stands."""
    there = standing.stages
    return all(stage in there and there[stage].ref == manifest.ref for stage, manifest in run.stages.items())


def interval_of_run(store: Store, run_id: str) -> str | None:
    """The newest interval that a run was for, by its plan, the ledger or the report; None if nobody knows it."""
    entry = next(entries_of(Ledger(store).entries(), run_id), None)
    if entry is not None:
        return entry.about.interval.key
    for interval in reversed(store.intervals(REPORT)):
        report = page_of(store, interval, run_id)
        if report is not None and report.result.get("run_id") == run_id:
            return interval
    for interval in reversed(store.intervals(PLAN)):
        if any(plan is not None and plan.run_id == run_id for plan in _plans(store, interval)):
            return interval
    return None


def _plan(store: Store, interval: str, run_id: str | None = None) -> Plan | None:
    """The plan of a run, else of the interval the one that was published last.

    None if there is none, or this version cannot read it.
    """
    plans = list(_plans(store, interval))
    of_run = [plan for plan in plans if run_id is not None and plan is not None and plan.run_id == run_id]
    return next(iter([*of_run, *plans]), None)


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


def _changes(
    store: Store, pair: tuple[Night, Night], manifests: Mapping[str, Manifest], plan: Plan | None
) -> Iterator[str]:
    before, night = pair
    yield from differences(before, night, (lineage(store, before.interval), manifests))
    planned = _plan(store, before.interval)
    if plan is not None and planned is not None:
        yield from spec_differences(planned, plan)
