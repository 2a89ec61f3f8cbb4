"""Two models' scores of the same rows, measured as the gate needs it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from nightshift.evaluate.gate import Anchor, Comparison, Gains
from nightshift.evaluate.paired import Difference
from nightshift.evaluate.slices import left_out, slice_gains, slices_of
from nightshift.evaluate.task import Task
from nightshift.model.reach import Reach
from nightshift.spec.gates import Gates

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]


TIME = "__time"


def compare_scores(
    rows: pa.Table,
    challenger: Scores,
    champion: Scores,
    gates: Gates,
    task: Task,
    *,
    version: int,
    age: timedelta = timedelta(0),
    anchor: Anchor | None = None,
) -> Comparison:
    """Everything that is judged about two models, on rows that neither has learned from.

    Args:
        rows: ``__time``, unless the source is static, ``__label`` and the columns of ``gates.slices``; enough of them
            (see ``obstacle_to``).
        challenger: Its scores, float64, as of ``Judged``.
        champion: The champion's scores, likewise.
        gates: The spec's section.
        task: Whose labels these are.
        version: The champion's.
        age: The champion's, by the nights' clock.
        anchor: The champion of some time ago.
    """
    labels, days, metric = rows.column("__label").to_numpy(), days_of(rows), gates.decider
    confidence, slices = gates.versus_champion.confidence, slices_of(rows, gates.slices)

    def gain(of: str) -> Difference:
        return task.gain(of, labels, challenger, champion, days, confidence=confidence)

    gains = Gains(
        deciding=gain(metric.name),
        second=None if metric.second is None else gain(metric.second),
        calibration=task.calibration_gain(labels, challenger, champion, days, confidence=confidence),
        slices=slice_gains(
            slices, labels, challenger, champion, days, task=task, metric=metric.name, confidence=confidence
        ),
        slices_left_out=left_out(rows, gates.slices, labels, task),
    )
    ours, theirs = (task.value(metric.name, labels, scores) for scores in (challenger, champion))
    unit: Literal["day", "row"] = "day" if TIME in rows.column_names else "row"
    return Comparison(version, len(rows), ours, theirs, gains, age, anchor, unit=unit)


def obstacle_to(rows: pa.Table, gates: Gates, task: Task, *, trained: NDArray[Any], fitted_until: Reach) -> str | None:
    """Why nothing can be said on these rows, or None.

    Args:
        rows: Those that neither model may have learned from.
        gates: The spec's section.
        task: Whose labels these are.
        trained: Labels of the training window.
        fitted_until: Up to where the older model learned, for the message.
    """
    least, labels = gates.versus_champion.least, rows.column("__label").to_numpy()
    if not len(labels):
        if isinstance(fitted_until, datetime):
            return f"no rows lie after {fitted_until:%Y-%m-%d}, up to which it learned"
        return f"no rows were held out from it; it learned from {fitted_until}"
    counts = (
        (len(set(days_of(rows).tolist())), least.days, "days with rows"),
        (len(labels), least.rows, "rows"),
        *task.required_rows(labels, gates.of_each_class, trained),
    )
    for found, needed, what in counts:
        if found < needed:
            return (
                f"the holdout has {found:,} {what} that neither has learned from, and it takes {needed:,}; "
                "make window.holdout longer, or see gates.versus_champion.least"
            )
    return None


def days_of(rows: pa.Table) -> NDArray[np.integer[Any]]:
    """The UTC day of each row, as a number, shape [rows].

    Rows of a static source have no day. They can be exchanged for one another, so each is as good as a day of its own.
    """
    import numpy as np
    import pyarrow as pa

    if TIME not in rows.column_names:
        return np.arange(len(rows))
    times = rows.column("__time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(times.to_numpy() // 86_400_000_000)
