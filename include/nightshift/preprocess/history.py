"""What a night leaves for the checks of later nights, and what earlier nights left: ``stats.json``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nightshift.errors import IntegrityError
from nightshift.plan import Plan, canonical_json, digest_of
from nightshift.preprocess.label_shift import Labels
from nightshift.spec.values import Task
from nightshift.storage import Store

log = logging.getLogger(__name__)

STATS = "stats.json"
NIGHTS = 7
"""How many earlier nights are looked at."""


@dataclass(frozen=True)
class NightStats:
    """Numbers of one night.

    Attributes:
        about: Digest of what the numbers depend on besides the data: the prepare SQL and what the label is.
        strengths: AUC of each feature alone, in the training window and in the holdout.
        labels: Rows of each window, and what ``label_shift.Labels.facts`` says of their labels.
        magnitudes: By feature and day, logarithms of quantiles (``shift.summary``).
    """

    about: str
    strengths: Mapping[str, Sequence[float | None]]
    labels: Mapping[str, Sequence[float]]
    magnitudes: Mapping[str, Mapping[str, Sequence[float]]]

    def to_json(self) -> bytes:
        return canonical_json(asdict(self))


@dataclass(frozen=True)
class History:
    """Earlier nights, newest first, by interval.

    Attributes:
        nights: Their numbers.
        digests: sha256 of what was read, for the stage key: a result must say what it depends on.
    """

    nights: Mapping[str, NightStats] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest_of(dict(self.digests))

    def strengths(self, column: str) -> list[float]:
        """AUC of a feature alone in the training windows of the nights that have it."""
        found = (night.strengths.get(column, (None, None))[0] for night in self.nights.values())
        return [value for value in found if value is not None]

    def measures(self, task: Task) -> list[list[float]]:
        """Of the labels in the training windows; see ``label_shift.Labels.measures``."""
        found = (night.labels["train"] for night in self.nights.values())
        return [Labels(int(rows), facts, 0).measures(task) for rows, *facts in found]


def about(plan: Plan) -> str:
    """Digest of what makes nights comparable."""
    label = plan.spec.label
    asked = [label.positive] if label.task == "binary" else [label.task, *label.classes]
    return digest_of({"sql": plan.spec.prepare_sql, "label": [label.column, *asked]})


def earlier_nights(store: Store, plan: Plan, dataset: str) -> History:
    """The newest nights before this one that judged the same thing.

    A damaged one is left out with a warning: it would otherwise fail every night of the coming week.

    Raises:
        StorageError: The store failed.
    """
    nights: dict[str, NightStats] = {}
    digests: dict[str, str] = {}
    wanted = about(plan)
    before = [key for key in store.intervals(dataset) if key < plan.interval.key]
    for key in reversed(before[-2 * NIGHTS :]):
        try:
            manifest = store.latest(dataset, key)
            if manifest is None or STATS not in {entry.path for entry in manifest.files}:
                continue
            raw: dict[str, Any] = json.loads(store.read(manifest, STATS))
        except IntegrityError as error:
            log.warning("night %s is left out of the history: %s", key, error.message)
            continue
        if raw["about"] == wanted and len(nights) < NIGHTS:
            nights[key] = NightStats(**raw)
            digests[key] = manifest.file(STATS).sha256
    return History(nights, digests)
