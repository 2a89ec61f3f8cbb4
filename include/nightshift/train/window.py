"""The rows that a model learns from, where preprocess published them: as arrays here, or as files for Spark."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.model.booster import feature_matrix
from nightshift.storage import Manifest, Store
from nightshift.storage.manifest import FileEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

TABLE = "train"
FEATURES = "__features"
LABEL = "__label"


@dataclass(frozen=True)
class TrainingWindow:
    """Nothing is read before an engine asks for it: the window may be larger than the memory of this machine.

    Attributes:
        store: Where the table is.
        given: What preprocess published.
        width: Length of every vector.
        key: The columns that make a row a row.
        title: Model, stage and interval, for people who look at a cluster.
        root: Root URI of the store.
        scratch: A folder for temporary files.
    """

    store: Store
    given: Manifest
    width: int
    key: tuple[str, ...]
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
        """The vectors, ``[N, F]`` float32, and labels, ``[N]`` int8, in the order that preprocess stored.

        Raises:
            DataError: It cannot be learned from.
            IntegrityError: A file is not the one that was published.
        """
        import numpy as np

        table = self.store.read_table(self.given, TABLE, columns=[FEATURES, LABEL])
        column = table.column(LABEL)
        labels = column.fill_null(-1).to_numpy().astype(np.int8, copy=False)
        classes, counts = np.unique(labels, return_counts=True)
        self.check_labels(dict(zip(classes.tolist(), counts.tolist(), strict=True)), unlabelled=column.null_count)
        return feature_matrix(table.column(FEATURES), self.width), labels

    def check_labels(self, counts: Mapping[int, int], *, unlabelled: int = 0) -> None:
        """Demand both classes, and nothing else.

        Args:
            counts: How often each label occurs.
            unlabelled: Rows without one.

        Raises:
            DataError: It cannot be learned from.
        """
        if unlabelled:
            raise DataError(f"{unlabelled} rows of the training window are unlabelled; preprocess leaves them out.")
        classes = sorted(counts)
        if classes != [0, 1]:
            found = {(): "has no rows", (0,): "has negatives only", (1,): "has positives only"}
            raise DataError(
                f"the training window {found.get(tuple(classes), f'has the labels {classes}')}; "
                "a model needs positives and negatives.",
                hint="check label.positive in the spec, and that the window's days have data",
            )

    def announce(self, engine: str, positives: int, by: str) -> None:
        """Log what is about to happen.

        Args:
            engine: The engine's name.
            positives: Rows of the positive class.
            by: What works on it, such as ``2 threads``.
        """
        log.info("train: %s on %d rows x %d features, %d positive, %s", engine, self.rows, self.width, positives, by)
