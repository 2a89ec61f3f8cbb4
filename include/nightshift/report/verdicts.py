"""The verdicts of a night's run, as blessings that lie in what its stages published."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.errors import NotBlessed
from nightshift.ledger import blessings
from nightshift.ledger.blessings import Blessing, Kind
from nightshift.report.nights import latest_unblessed
from nightshift.storage import Manifest, Store

BLESSED_BY: Mapping[str, Kind] = {"preprocess": "data", "evaluate": "quality"}


def verdicts(
    store: Store, interval: str, stages: Mapping[str, Manifest], unblessed: Manifest | None = None
) -> dict[Kind, Blessing]:
    """The blessings of a run, by kind; a kind that was not judged is missing.

    Args:
        store: The model's area.
        interval: Key of the night's interval.
        stages: What the run published, by stage.
        unblessed: The failed verdict on its data, if it ended with one.

    Raises:
        IntegrityError: A blessing was changed.
        StorageError: The store failed.
    """
    if unblessed is not None:
        # What came after the data belongs to an older run.
        return {"data": blessings.read(store, unblessed)}
    carriers = {kind: stages[stage] for stage, kind in BLESSED_BY.items() if stage in stages}
    if (infra := _infra(store, interval, stages)) is not None:
        carriers["infra"] = infra
    found = {}
    for kind, manifest in carriers.items():
        try:
            found[kind] = blessings.read(store, manifest)
        except NotBlessed:
            continue
    return found


def _infra(store: Store, interval: str, stages: Mapping[str, Manifest]) -> Manifest | None:
    """The newest infra blessing of what a run trained, as it was evaluated, or None."""
    train, evaluate = stages.get("train"), stages.get("evaluate")
    if train is None or evaluate is None:
        return None
    for number in reversed(store.versions("infra", interval)):
        found = store.manifest("infra", interval, number)
        if train.ref.same_content_as(found.inputs.get("train")) and evaluate.ref.same_content_as(
            found.inputs.get("evaluate", evaluate.ref)
        ):
            return found
    return None


def names_of_failed(store: Store, interval: str, stages: Mapping[str, Manifest], kind: Kind) -> tuple[str, ...] | None:
    """Names of the checks that fail in a night's newest verdict of a kind, each once; None where it was not judged.

    Raises:
        NotBlessed: Validate refused the data, which nobody can waive.
        IntegrityError: A blessing was changed.
        StorageError: The store failed.
    """
    unblessed = latest_unblessed(store, interval, stages)
    found = verdicts(store, interval, stages, unblessed).get(kind)
    if found is None:
        return None
    names = found.names_of_failed
    if kind == "data" and unblessed is not None and "validate" not in unblessed.inputs:
        raise NotBlessed(
            f"validate refused days of this night ({', '.join(names)}), which nobody can waive: nothing was written.",
            hint="correct the source, or say in the spec what may be: expectations, quarantine, data_checks",
        )
    return names
