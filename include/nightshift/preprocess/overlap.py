"""Rows whose key is both in the training window and in the holdout: the holdout must be new to the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nightshift.ledger.blessings import Check

if TYPE_CHECKING:
    import pyarrow as pa


def check_overlap(train: Iterable[pa.Table], holdout: pa.Table, key: Sequence[str]) -> Check:
    """Count the training rows whose key the holdout has, exactly.

    Args:
        train: The key columns of the training window, in parts: one is held at a time.
        holdout: The key columns of the holdout.
        key: Their names.
    """
    import pyarrow.compute as pc

    shared, rows, example = 0, 0, ""
    known = holdout.select(list(key)).group_by(list(key)).aggregate([])
    for part in train:
        rows += part.num_rows
        found = part.select(list(key)).join(known, keys=list(key), join_type="left semi")
        shared += found.num_rows
        if found.num_rows and not example:
            first = found.take(pc.sort_indices(found, [(name, "ascending") for name in key])[:1]).to_pylist()[0]
            example = ", ".join(f"{name}={value}" for name, value in first.items())
    text = f"{shared:,} of {rows:,} training rows have a key that the holdout has too (none may)"
    if shared:
        text += f", such as {example}: add to key what tells rows apart, or remove the copies from the source"
    return Check("overlap", shared == 0, shared, 0, text)
