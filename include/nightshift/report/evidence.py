"""Collects what a run left in storage. Nothing here decides anything; what is not there is left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nightshift.errors import NightshiftError
from nightshift.ledger import Ledger
from nightshift.plan import STAGES, Interval, Plan
from nightshift.report.charts import DayBar
from nightshift.report.outcome import Outcome, Results, outcome_of
from nightshift.stage import StageResult
from nightshift.storage import Manifest, Store

log = logging.getLogger(__name__)

RECENT = timedelta(days=30)


@dataclass(frozen=True)
class Evidence:
    """Everything that the page is made of.

    Attributes:
        plan: The run's plan.
        outcome: What happened.
        results: What each stage gave, by stage.
        manifests: The version that each stage published, by stage.
        evaluation: ``evaluation.json``; empty if the run did not get that far.
        card: ``model.json`` of the challenger; empty likewise.
        search: ``search.json`` of train; empty where nothing was searched.
        verdict: validate's ``verdict.json``; empty likewise.
        days: Validated days of the window, oldest first.
        recent: Promotions and refusals of the 30 nights up to this one; None if the ledger cannot be read.
    """

    plan: Plan
    outcome: Outcome
    results: Mapping[str, StageResult]
    manifests: Mapping[str, Manifest]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    days: tuple[DayBar, ...] = ()
    recent: tuple[int, int] | None = None

    @classmethod
    def collect(cls, plan: Plan, store: Store, results: Results) -> Evidence:
        """Read it.

        Args:
            plan: The run's plan.
            store: The model's area in storage.
            results: What each stage gave, or the error that it ended with, by stage.

        Raises:
            IntegrityError: Something published is damaged.
            StorageError: The store failed.
        """
        done = {stage: result for stage in STAGES if isinstance(result := results.get(stage), StageResult)}
        manifests = {stage: store.resolve(result.ref) for stage, result in done.items() if result.ref is not None}
        return cls(
            plan=plan,
            outcome=outcome_of(plan, results, champion=_champion(store)),
            results=done,
            manifests=manifests,
            evaluation=_json(store, manifests.get("evaluate"), "evaluation.json"),
            card=_json(store, manifests.get("train"), "model.json"),
            search=_json(store, manifests.get("train"), "search.json", where_there=True),
            verdict=_json(store, manifests.get("validate"), "verdict.json"),
            days=_days(plan, store, manifests),
            recent=_recent(plan, store),
        )

    def summary(self, stage: str) -> Mapping[str, Any]:
        """A stage's small result; empty if it left none."""
        return self.results[stage].summary if stage in self.results else {}


def _json(store: Store, manifest: Manifest | None, path: str, *, where_there: bool = False) -> Mapping[str, Any]:
    """A file of a version; nothing without a version, and ``where_there`` nothing without the file."""
    if manifest is None or (where_there and not manifest.has(path)):
        return {}
    found: Mapping[str, Any] = json.loads(store.read(manifest, path))
    return found


def _days(plan: Plan, store: Store, manifests: Mapping[str, Manifest]) -> tuple[DayBar, ...]:
    """The window's days: as validate read them, or, if it failed, as far as they are there."""
    validate = manifests.get("validate")
    bars = []
    for day in plan.windows.ingest.days():
        if validate is not None:
            ref = validate.inputs.get(f"valid/{day.key}")
            manifest = store.resolve(ref) if ref is not None else None
        else:
            manifest = _newest(store, "valid", day.key) or _newest(store, "raw", day.key)
        if manifest is None:
            continue
        bars.append(_bar(plan, day, manifest))
    return tuple(bars)


def _bar(plan: Plan, day: Interval, manifest: Manifest) -> DayBar:
    result, outputs = manifest.result, manifest.outputs
    clean = outputs["rows"].rows if "rows" in outputs else int(result.get("rows_out") or 0)
    quarantined = outputs["quarantine"].rows if "quarantine" in outputs else int(result.get("quarantined") or 0)
    unlabelled = min(int(result.get("unlabelled") or 0), clean)
    if day.start in plan.windows.train:
        return DayBar(day.key, "train", clean, quarantined, unlabelled)
    return DayBar(
        day.key, "holdout" if day.start in plan.windows.holdout else "waiting", clean, quarantined, unlabelled
    )


def _champion(store: Store) -> int | None:
    """Who serves now; a damaged ledger is a story of its own and does not spoil this page."""
    try:
        champion = Ledger(store).champion()
    except NightshiftError as error:
        log.warning("the report does not know the champion: %s", error.message)
        return None
    return champion.model_version if champion is not None else None


def _recent(plan: Plan, store: Store) -> tuple[int, int] | None:
    """Nights with a promotion, and nights with nothing but a refusal."""
    try:
        entries = Ledger(store).entries()
    except NightshiftError as error:
        log.warning("the report does not know the last nights: %s", error.message)
        return None
    end = plan.interval.end
    kinds: dict[str, set[datetime]] = {"promotion": set(), "refusal": set()}
    for entry in entries:
        if entry.kind in kinds and end - RECENT < entry.about.interval.end <= end:
            kinds[entry.kind].add(entry.about.interval.end)
    return len(kinds["promotion"]), len(kinds["refusal"] - kinds["promotion"])


def _newest(store: Store, dataset: str, interval: str) -> Manifest | None:
    try:
        return store.latest(dataset, interval)
    except NightshiftError as error:
        log.warning("%s/%s is left out of the report: %s", dataset, interval, error.message)
        return None
