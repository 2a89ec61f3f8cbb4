"""One run of a night, found by what it left: its report, or the ledger entry that it made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from nightshift.errors import IntegrityError
from nightshift.ledger import Entry, Ledger
from nightshift.ledger.blessings import UNBLESSED
from nightshift.plan import STAGES
from nightshift.report.nights import Run, newest, page_of
from nightshift.storage import Manifest, Ref, Store

log = logging.getLogger(__name__)


def run_of(store: Store, interval: str, run_id: str) -> Run | None:
    """What a run published, and how it ended; None where it left neither a report nor an entry.

    Args:
        store: The model's area.
        interval: Key of the night's interval.
        run_id: The run.

    Raises:
        IntegrityError: The ledger or the report is damaged.
        StorageError: The store failed.
    """
    report = page_of(store, interval, run_id)
    if report is not None and report.result.get("run_id") == run_id:
        stages = dict(_resolved(store, report.inputs))
        return Run(stages, report, _unblessed(store, interval, stages, report))
    entry = next(entries_of(Ledger(store).entries(), run_id, interval), None)
    return None if entry is None else Run(dict(_resolved(store, _inputs(store, entry))), None, None)


def entries_of(entries: Iterable[Entry], run_id: str, interval: str | None = None) -> Iterator[Entry]:
    """The promotions and refusals that a run made, newest first; what a person of that name did is not among them."""
    for entry in reversed(list(entries)):
        made = entry.by == run_id and not entry.by_a_person and entry.kind in ("promotion", "refusal")
        if made and interval in (None, entry.about.interval.key):
            yield entry


def _resolved(store: Store, refs: Mapping[str, Ref]) -> Iterator[tuple[str, Manifest]]:
    """What is still there, in the order of the stages."""
    for stage in STAGES:
        if stage in refs:
            try:
                yield stage, store.resolve(refs[stage])
            except IntegrityError as error:
                log.warning("%s is left out: %s", refs[stage], error.message)


def _inputs(store: Store, entry: Entry) -> dict[str, Ref]:
    """What a run used that made an entry: as its deploy says, or where that was killed, as far as the entry leads."""
    found = {"train": entry.about.train, **({} if entry.data is None else {"preprocess": entry.data})}
    deploy = _newest(store, "deploy", entry, lambda one: one.result.get("ledger_sequence") == entry.sequence)
    if deploy is not None:
        return {**found, **deploy.inputs, "deploy": deploy.ref}
    stamp = entry.blessings.get("quality")
    judged = _newest(
        store,
        "evaluate",
        entry,
        lambda one: one.ref == stamp.ref if stamp else one.inputs.get("train") == found["train"],
    )
    if judged is None:
        return found
    register = _newest(store, "register", entry, lambda one: one.inputs.get("evaluate") == judged.ref)
    return {**found, "evaluate": judged.ref, **({} if register is None else {"register": register.ref})}


def _newest(store: Store, dataset: str, entry: Entry, wanted: Callable[[Manifest], bool]) -> Manifest | None:
    """The newest version of the entry's night that is wanted, or None."""
    interval = entry.about.interval.key
    found = (store.manifest(dataset, interval, number) for number in reversed(store.versions(dataset, interval)))
    return next(filter(wanted, found), None)


def _unblessed(store: Store, interval: str, stages: Mapping[str, Manifest], report: Manifest) -> Manifest | None:
    """The failed verdict on the data that a run ended with: made after all that it published, and before its report."""
    if report.result.get("kind") != "failed":
        return None
    for number in reversed(store.versions(UNBLESSED, interval)):
        found = store.manifest(UNBLESSED, interval, number)
        if newest(stages) <= found.created_at <= report.created_at:
            return found
    return None
