"""From which rows a model has learned, and so which may judge it: those after a moment, or those held out by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightshift.plan import Plan

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FITTED_UNTIL, HELD_OUT = "fitted_until", "held_out"


@dataclass(frozen=True)
class HeldOut:
    """What a model of a static source has not learned from.

    Attributes:
        key: The columns whose hash gives a row its bucket.
        columns: Digest of the names of the columns that a row's digest is made of; None where the key has no such.
        below: The buckets below this one were held out.
    """

    key: tuple[str, ...]
    columns: str | None
    below: int

    def __str__(self) -> str:
        return f"buckets from {self.below:,} on, by {', '.join(self.key)}"


Reach = datetime | HeldOut
"""Up to when a model has learned, or what was held out from it."""


def reach_of(plan: Plan, columns: str | None) -> Reach:
    """The reach of the model that a night trains.

    Args:
        plan: The night.
        columns: As of ``HeldOut``.
    """
    if plan.spec.split is None:
        return plan.windows.train.end
    return HeldOut(plan.spec.key, columns, plan.spec.split.first_trained)


def in_card(reach: Reach) -> dict[str, Any]:
    """What ``model.json`` says of it."""
    return {FITTED_UNTIL: reach.isoformat()} if isinstance(reach, datetime) else {HELD_OUT: asdict(reach)}


def read_card(card: Mapping[str, Any]) -> Reach:
    """What ``in_card`` wrote."""
    if HELD_OUT not in card:
        return datetime.fromisoformat(card[FITTED_UNTIL])
    told = card[HELD_OUT]
    return HeldOut(tuple(told["key"]), told["columns"], told["below"])


def unseen(table: pa.Table, reach: Reach) -> NDArray[np.bool_]:
    """Which rows a model has not learned from, shape [rows].

    Args:
        table: Has ``__time`` or ``__bucket``, whichever the reach is about.
        reach: The model's.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(reach, HeldOut):
        return np.asarray(table.column("__bucket").to_numpy() < reach.below, dtype=bool)
    times = table.column("__time").cast(pa.timestamp("us", tz="UTC"))
    after = pc.greater_equal(times, pa.scalar(reach, pa.timestamp("us", tz="UTC")))
    return np.asarray(after.to_numpy(), dtype=bool)


def incomparable(one: Reach, other: Reach) -> str | None:
    """Why nobody can say which rows are new to both of two models, or None.

    Args:
        one: Of the older model.
        other: Of the newer one.
    """
    if isinstance(one, HeldOut) and isinstance(other, HeldOut):
        if (one.key, one.columns) == (other.key, other.columns):
            return None
        if one.key == other.key:
            return "the rows' digests are made of other columns by now, so what was held out from it is not known"
        return f"what was held out from it was chosen by {', '.join(one.key)}, and the key is {', '.join(other.key)}"
    if isinstance(one, HeldOut) or isinstance(other, HeldOut):
        return "one of the two learned from a static source, and the other from days"
    return None
