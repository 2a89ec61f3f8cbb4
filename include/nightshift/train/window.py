"""The rows that a model learns from, where preprocess published them: as arrays here, or as files for Spark."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.model.booster import feature_matrix
from nightshift.spec.models import Label
from nightshift.storage import Manifest, Store
from nightshift.storage.manifest import FileEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

TABLE = "train"
ASKED = ("probe", "holdout")
"""Tables on whose rows the graph has to say what the trained model says."""
FEATURES = "__features"
LABEL = "__label"
LARGEST = 3.4028234e38
"""The largest float32: what xgboost takes for a label."""


@dataclass(frozen=True)
class TrainingWindow:
    """Nothing is read before an engine asks for it: the window may be larger than the memory of this machine.

    Attributes:
        store: Where the table is.
        given: What preprocess published.
        width: Length of every vector.
        key: The columns that make a row a row.
        label: The spec's section: what the labels are.
        title: Model, stage and interval, for people who look at a cluster.
        root: Root URI of the store.
        scratch: A folder for temporary files.
    """

    store: Store
    given: Manifest
    width: int
    key: tuple[str, ...]
    label: Label
    title: str
    root: str
    scratch: Path

    @property
    def rows(self) -> int:
        return self.given.outputs[TABLE].rows

    @property
    def files(self) -> list[FileEntry]:
        """The table's files, with their digests."""
        prefix = self.given.outputs[TABLE].prefix + "/"
        return [entry for entry in self.given.files if entry.path.startswith(prefix)]

    def arrays(self) -> tuple[Array, Array]:
        """The vectors, ``[N, F]`` float32, and labels, ``[N]``, in the order that preprocess stored.

        Labels are int8, for regression float32.

        Raises:
            DataError: It cannot be learned from.
            IntegrityError: A file is not the one that was published.
        """
        import numpy as np

        table = self.store.read_table(self.given, TABLE, columns=[FEATURES, LABEL])
        column = table.column(LABEL)
        self._check_labelled(column.null_count)
        if self.label.task == "regression":
            numbers = column.to_numpy()
            self.check_numbers(float(numbers.min(initial=np.inf)), float(numbers.max(initial=-np.inf)))
            labels = numbers.astype(np.float32)
        else:
            labels = column.to_numpy().astype(np.int8, copy=False)
            classes, counts = np.unique(labels, return_counts=True)
            self.check_classes(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
        return feature_matrix(table.column(FEATURES), self.width), labels

    def asked(self) -> Array:
        """The vectors of the tables ``ASKED``, one after another, ``[M, F]`` float32; without their labels.

        Raises:
            IntegrityError: A file is not the one that was published.
        """
        import numpy as np

        tables = (self.store.read_table(self.given, name, columns=[FEATURES]) for name in ASKED)
        return np.concatenate([feature_matrix(table.column(FEATURES), self.width) for table in tables])

    def _check_labelled(self, unlabelled: int) -> None:
        if unlabelled:
            raise DataError(f"{unlabelled} rows of the training window are unlabelled; preprocess leaves them out.")

    def check_classes(self, counts: Mapping[int, int], *, unlabelled: int = 0) -> None:
        """Demand every class, and nothing else.

        Args:
            counts: How often each label occurs.
            unlabelled: Rows without one.

        Raises:
            DataError: It cannot be learned from.
        """
        self._check_labelled(unlabelled)
        classes, wanted = sorted(counts), list(range(max(2, len(self.label.classes))))
        if classes == wanted:
            return
        binary = self.label.task == "binary"
        found: dict[tuple[int, ...], str] = {(): "has no rows"}
        if binary:
            found |= {(0,): "has negatives only", (1,): "has positives only"}
        needs = "positives and negatives" if binary else f"rows of each of {', '.join(self.label.classes)}"
        raise DataError(
            f"the training window {found.get(tuple(classes), f'has the labels {classes}')}; a model needs {needs}.",
            hint=f"check label.{'positive' if binary else 'classes'} in the spec, and that the window's days have data",
        )

    def check_numbers(self, least: float, most: float, *, unlabelled: int = 0) -> None:
        """Demand numbers that differ, and that float32 can hold.

        Args:
            least: The smallest label.
            most: The largest; without rows it is smaller.
            unlabelled: Rows without one.

        Raises:
            DataError: It cannot be learned from.
        """
        self._check_labelled(unlabelled)
        found = "has no rows" if least > most else f"has the label {least:g} only" if least == most else None
        if found is None and not -LARGEST <= least <= most <= LARGEST:
            found = f"has labels from {least:g} to {most:g}, beyond what float32 can hold"
        if found is not None:
            raise DataError(
                f"the training window {found}; a model needs different numbers.",
                hint="check label.column in the spec, and that the window's days have data",
            )

    def announce(self, engine: str, labels: str, by: str) -> None:
        """Log what is about to happen.

        Args:
            engine: The engine's name.
            labels: What they are like, such as ``31 positive``.
            by: What works on it, such as ``2 threads``.
        """
        log.info("train: %s on %d rows x %d features, %s, %s", engine, self.rows, self.width, labels, by)
