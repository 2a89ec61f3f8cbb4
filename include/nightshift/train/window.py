"""The rows that a model learns from, where preprocess published them: as arrays here, or as files for Spark."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.model.booster import feature_matrix
from nightshift.plan import Interval
from nightshift.spec.models import Label
from nightshift.storage import Manifest, Store
from nightshift.storage.manifest import FileEntry
from nightshift.train.checkpoints import Checkpoints

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

TABLE = "train"
ASKED = ("probe", "holdout")
"""Tables on whose rows the graph has to say what the trained model says."""
FEATURES = "__features"
LABEL = "__label"
TIME = "__time"
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
        part: The time that is looked at; None: all of the window. A part is read once and kept, because a search
            learns from it again and again.
        checkpoints: Where unfinished training is kept; None: nowhere.
    """

    store: Store
    given: Manifest
    width: int
    key: tuple[str, ...]
    label: Label
    title: str
    root: str
    scratch: Path
    part: Interval | None = None
    checkpoints: Checkpoints | None = None

    def between(self, part: Interval) -> TrainingWindow:
        """The rows of a part of the window's time; training on them is soon done again, and leaves no checkpoints."""
        return replace(self, part=part, checkpoints=None)

    @property
    def rows(self) -> int:
        return self.given.outputs[TABLE].rows if self.part is None else len(self.labels)

    @property
    def named(self) -> str:
        """What is looked at, for messages."""
        return "the training window" if self.part is None else f"the part {self.part} of the training window"

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
        if self.part is None:
            import pyarrow as pa

            vectors, others = self._vectors(TABLE, others=[LABEL])
            columns = [one.column(LABEL) for one in others]
            chunks = [chunk for column in columns for chunk in column.chunks]
            return vectors, self._checked(pa.chunked_array(chunks, columns[0].type))
        return self.vectors, self._checked(self.labels)

    def check_labels(self) -> None:
        """Demand of a part's labels what ``arrays`` does, without its vectors. Raises DataError: As ``arrays``."""
        self._checked(self.labels)

    @cached_property
    def labels(self) -> pa.ChunkedArray:
        """The labels, unchecked; read without the vectors."""
        return self._table(LABEL).column(LABEL)

    @cached_property
    def vectors(self) -> Array:
        """The vectors of a part, ``[N, F]`` float32."""
        return feature_matrix(self._table(FEATURES).column(FEATURES), self.width)

    def read(self) -> None:
        """Read the rows of a part, unless they are there. Raises IntegrityError: A file is not the published one."""
        log.debug("%s has %d rows of %d numbers", self.named, len(self.labels), self.vectors.shape[1])

    def carried(self) -> TrainingWindow:
        """A part with its rows and without the store: all that native training in another process needs."""
        copy = replace(self, store=None)  # type: ignore[arg-type]  # nothing is left to read
        copy.__dict__.update(labels=self.labels, vectors=self.vectors)
        return copy

    def _table(self, *columns: str) -> pa.Table:
        """Columns of the rows that are looked at, in the order that preprocess stored."""
        if self.part is None:
            return self.store.read_table(self.given, TABLE, columns=list(columns))
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.store.read_table(self.given, TABLE, columns=[TIME, *columns])
        moments = table.column(TIME).cast(pa.timestamp("us", tz="UTC"))
        begin, end = (pa.scalar(bound, pa.timestamp("us", tz="UTC")) for bound in (self.part.start, self.part.end))
        inside = pc.and_(pc.greater_equal(moments, begin), pc.less(moments, end))
        return table.select(list(columns)).filter(inside)

    def _checked(self, column: pa.ChunkedArray) -> Array:
        """The labels as an array. Raises DataError: They cannot be learned from."""
        import numpy as np

        self._check_labelled(column.null_count)
        if self.label.task == "regression":
            numbers = column.to_numpy()
            self.check_numbers(float(numbers.min(initial=np.inf)), float(numbers.max(initial=-np.inf)))
            found: Array = numbers.astype(np.float32)
            return found
        labels: Array = column.to_numpy().astype(np.int8, copy=False)
        classes, counts = np.unique(labels, return_counts=True)
        self.check_classes(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
        return labels

    def asked(self) -> Array:
        """The vectors of the tables ``ASKED``, one after another, ``[M, F]`` float32; without their labels.

        Raises:
            IntegrityError: A file is not the one that was published.
        """
        return self._vectors(*ASKED)[0]

    def _vectors(self, *names: str, others: Sequence[str] = ()) -> tuple[Array, list[pa.Table]]:
        """The vectors of tables, one after another, and their other columns, file by file.

        Filled file by file: read as one table, the vectors would be in memory twice.
        """
        import numpy as np

        rows = sum(self.given.outputs[name].rows for name in names)
        vectors, parts, begin = np.empty((rows, self.width), np.float32), [], 0
        for name in names:
            for part in self.store.read_parts(self.given, name, columns=[FEATURES, *others]):
                vectors[begin : begin + part.num_rows] = feature_matrix(part.column(FEATURES), self.width)
                begin += part.num_rows
                parts.append(part.select(list(others)))
        return vectors, parts

    def _check_labelled(self, unlabelled: int) -> None:
        if unlabelled:
            raise DataError(f"{unlabelled} rows of {self.named} are unlabelled; preprocess leaves them out.")

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
            f"{self.named} {found.get(tuple(classes), f'has the labels {classes}')}; a model needs {needs}.",
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
        import numpy as np

        self._check_labelled(unlabelled)
        found = "has no rows" if least > most else f"has the label {least:g} only" if least == most else None
        if found is None and not -LARGEST <= least <= most <= LARGEST:
            found = f"has labels from {least:g} to {most:g}, beyond what float32 can hold"
        elif found is None and np.float32(least) == np.float32(most):
            found = f"has labels from {least:.12g} to {most:.12g}, which are one number in float32"
        elif found is None and (most - least) ** 2 * self.rows > LARGEST:
            # xgboost adds up squares in float32, and learns nothing from infinities without a word.
            raise DataError(
                f"{self.named} has labels from {least:g} to {most:g} in {self.rows} rows, whose squared differences "
                f"add up to more than float32 can hold.",
                hint="give the label in a larger unit in the prepare SQL, such as seconds for nanoseconds",
            )
        if found is not None:
            raise DataError(
                f"{self.named} {found}; a model needs different numbers.",
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
