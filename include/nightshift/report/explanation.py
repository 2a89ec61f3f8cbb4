"""One night explained: what it was made of, why it ended as it did, how to undo it, what changed since the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.errors import DataError, NotBlessed
from nightshift.ledger import Entry, Ledger, blessings
from nightshift.plan import Plan, digest_of
from nightshift.report.nights import REPORT, Night, lineage, nights
from nightshift.storage import Manifest, Store

BLESSED_BY = {"preprocess": "data", "evaluate": "quality"}


@dataclass(frozen=True)
class Explanation:
    """What ``nightshift explain`` tells.

    Attributes:
        night: The line of ``nightshift history``.
        run_id: The run that rendered the newest report; None without one.
        lineage: By stage: the version it published, digest of its code, its inputs, seconds.
        spec_digest: Digest of the spec that the run was planned with.
        blessings: By kind: verdict, who waived, and every check.
        entries: The ledger entries about the night and its version.
        undo: What takes back what the night did, in a sentence.
        before: The night before that it is compared with.
        changes: What differs from it.
    """

    night: Night
    run_id: str | None
    lineage: Mapping[str, Mapping[str, Any]]
    spec_digest: str | None
    blessings: Mapping[str, Mapping[str, Any]]
    entries: tuple[Entry, ...]
    undo: str
    before: str | None
    changes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name not in ("night", "entries")}
        return {**own, "night": self.night.to_dict(), "entries": [entry.to_dict() for entry in self.entries]}


def explain(store: Store, model: str, interval: str | None) -> Explanation:
    """Explain a night.

    Args:
        store: The model's area.
        model: Its name, for the commands in the text.
        interval: Key of the night's interval; None for the newest.

    Raises:
        DataError: There is no such night.
        IntegrityError: Something published is damaged.
        StorageError: The store failed.
    """
    told = nights(store)
    places = [place for place, night in enumerate(told) if interval in (None, night.interval)]
    if not places:
        there = f"{told[0].night} to {told[-1].night}" if told else "none"
        raise DataError(f"{model} has no such night in storage; nights there are: {there}.")
    night = told[places[-1]]
    before = told[places[-1] - 1] if places[-1] else None
    manifests = lineage(store, night.interval)
    plan = _plan(store, night.interval)
    ledger = Ledger(store)
    changes = () if before is None else _changes(store, (before, night), manifests, plan)
    return Explanation(
        night=night,
        run_id=_run_id(store, night.interval),
        lineage={stage: _origin(manifest) for stage, manifest in manifests.items()},
        spec_digest=_spec_digest(plan),
        blessings=_blessings(store, manifests, night.interval),
        entries=tuple(_about(ledger.entries(), night)),
        undo=_undo(ledger, model, night),
        before=before.night if before else None,
        changes=changes,
    )


def interval_of_run(store: Store, run_id: str) -> str | None:
    """The newest interval that a run was for, by its plan, the ledger or the report; None if nobody knows it."""
    for entry in reversed(Ledger(store).entries()):
        if entry.by == run_id and entry.candidate is not None:
            return entry.candidate.interval.key
    return next((key for key in reversed(store.intervals(REPORT)) if _run_id(store, key) == run_id), None)


def _run_id(store: Store, interval: str) -> str | None:
    report = store.latest(REPORT, interval)
    return None if report is None else report.result.get("run_id")


def _plan(store: Store, interval: str) -> Plan | None:
    """The plan of the interval that was published last."""
    found = sorted(store.objects.walk(f"plan/{interval}/"), key=lambda stored: (stored.modified, stored.name))
    return Plan.from_json(store.objects.read(found[-1].name)) if found else None


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


def _blessings(store: Store, manifests: Mapping[str, Manifest], interval: str) -> dict[str, dict[str, Any]]:
    carriers = {kind: manifests[stage] for stage, kind in BLESSED_BY.items() if stage in manifests}
    train, infra = manifests.get("train"), store.latest("infra", interval)
    if infra is not None and train is not None and infra.inputs.get("train") == train.ref:
        carriers["infra"] = infra
    found = {}
    for kind, manifest in carriers.items():
        try:
            found[kind] = asdict(blessings.read(store, manifest))
        except NotBlessed:
            continue
    return found


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
    if champion is not None and champion.model_version == night.model_version:
        return f"Its v{night.model_version} is champion. To go back: nightshift rollback {model}"
    if night.promoted:
        return (
            f"Its v{night.model_version} was champion, and is no more. To have it again: "
            f"nightshift rollback {model} --to {night.model_version}"
        )
    if night.verdict == "kept":
        return f"Nothing was moved. To promote its version: nightshift promote {model} --version {night.model_version}"
    return "Nothing was moved, so there is nothing to undo."


def _changes(
    store: Store, pair: tuple[Night, Night], manifests: Mapping[str, Manifest], plan: Plan | None
) -> tuple[str, ...]:
    before, night = pair
    found = []
    for what, was, now in (
        ("rows in", before.rows_in, night.rows_in),
        ("quarantined", before.quarantined, night.quarantined),
        ("unlabelled", before.unlabelled, night.unlabelled),
        ("ROC AUC of the challenger", before.challenger_auc, night.challenger_auc),
        ("verdict", before.verdict, night.verdict),
    ):
        if was != now:
            found.append(f"{what}: {was} -> {now}{_difference(was, now)}")
    older = lineage(store, before.interval)
    changed = [stage for stage in manifests if stage in older and manifests[stage].code != older[stage].code]
    if changed:
        found.append(f"code of {', '.join(changed)}")
    was_planned = _plan(store, before.interval)
    if plan is not None and was_planned is not None and _spec_digest(plan) != _spec_digest(was_planned):
        one, other = (planned.spec.model_dump(mode="json") for planned in (was_planned, plan))
        found.append(f"spec: {', '.join(key for key in other if one.get(key) != other[key])}")
    return tuple(found)


def _difference(was: Any, now: Any) -> str:
    numbers = isinstance(was, int | float) and isinstance(now, int | float)
    return f" ({now - was:+.10g})" if numbers else ""
