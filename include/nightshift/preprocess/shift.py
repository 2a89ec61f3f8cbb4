"""Training window against holdout, and both against earlier nights: strong features, categories, the past itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from nightshift.ledger.blessings import Check
from nightshift.preprocess.label_shift import FEWEST_DAYS
from nightshift.shift.comparison import held, shift
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.values import Task

if TYPE_CHECKING:
    import pyarrow as pa

Magnitudes = Mapping[str, Sequence[float]]

STRONG = 0.7
"""AUC from which a feature alone is strong enough for its changes to mean something."""
WIDER = 4 / 3
"""How much further a strong feature may rise in a holdout of few days than from night to night."""
LEAST_RISE = 0.002
"""A rise that never matters: AUCs are kept with four decimals."""
SHARED_DAYS = 7
"""Fewest days that two nights must have in common to compare what they say about them."""
SEEN_BEFORE = 30


@dataclass(frozen=True)
class Strength:
    """What one feature alone says about the label in one window.

    Attributes:
        auc: Its AUC, at least 0.5; None where rows are few. For regression (1 + |r|) / 2 of the rank correlation r.
        days: How many days the window has.
        task: What the labels are.
    """

    auc: float | None
    days: int
    task: Task = "binary"

    def told(self, value: float) -> tuple[float, str]:
        """A number on the scale of ``auc`` as people know it, and its name."""
        if self.task == "regression":
            return 2 * value - 1, "a rank correlation"
        return value, "a mean AUC over the classes" if self.task == "multiclass" else "an AUC"


def check_strength(
    column: str,
    windows: tuple[Strength, Strength],
    earlier: Sequence[float],
    dials: DataChecks,
    *,
    known_strong: bool,
) -> Iterator[Check]:
    """Whether one feature tells the label alone, or tells much more or less of it than it did.

    Rows of a day share their causes: in a few days, the weekday alone can look strong. So a window of less than
    10 days is held against a bound half way to 1, and changes between such windows are not judged.

    Args:
        column: The feature.
        windows: What it says in the training window and in the holdout.
        earlier: Its AUC alone in the training windows of earlier nights.
        dials: Of the spec.
        known_strong: A person said that it may be strong.
    """
    if not known_strong:
        yield from _leak(column, windows, dials)
    train, holdout = windows
    if "association" in dials.relaxed.get(column, ()) or train.auc is None or train.days < FEWEST_DAYS:
        return
    here = ("the training window", train.auc)
    if holdout.auc is not None and holdout.days >= FEWEST_DAYS:
        yield from _changed(("the holdout", holdout.auc), here, f"holdout.{column}", dials, train, wider=WIDER)
    if earlier:
        usual = (f"{len(earlier)} earlier night{'s' * (len(earlier) > 1)}", median(earlier))
        yield from _changed(here, usual, f"history.{column}", dials, train)


def _leak(column: str, windows: tuple[Strength, Strength], dials: DataChecks) -> Iterator[Check]:
    """The window in which the feature comes nearest to its bound."""
    found = [
        (window.auc / bound, window.auc, bound)
        for window in windows
        if window.auc is not None
        for bound in [dials.leakage if window.days >= FEWEST_DAYS else (1 + dials.leakage) / 2]
    ]
    if not found:
        return
    _, value, bound = max(found)
    (value, name), (bound, _) = windows[0].told(value), windows[0].told(bound)
    yield held(
        f"leakage.{column}",
        value,
        bound,
        f"{column}: alone it has {name} of {value:.3f} ({bound:g} may be)",
        question="does it hold what is known only after the prediction?",
        answer=f"leave it out, or, if you know why it is that strong, write features.known_strong: [{column}]",
    )


def _changed(
    here: tuple[str, float],
    there: tuple[str, float],
    name: str,
    dials: DataChecks,
    scale: Strength,
    *,
    wider: float = 1.0,
) -> Iterator[Check]:
    """Whether a feature says much more or less here than there.

    From 0.9 nothing can rise by 0.15, and a feature that begins to hold the outcome would never be seen. So a rise may
    take from what is missing to 1 no larger a share than the bound is of what a feature of 0.7 lacks.
    """
    (place, now), (other, usual) = here, there
    if max(now, usual) < STRONG:
        return
    risen, most = now > usual, dials.association
    if risen:
        most = min(most, max(wider * most / (1 - STRONG) * (1 - usual), LEAST_RISE))
    (now, measure), (usual, _) = scale.told(now), scale.told(usual)
    most = 2 * most if scale.task == "regression" else most
    yield held(
        f"association.{name}",
        abs(now - usual),
        most,
        f"{name.partition('.')[2]}: alone it has {measure} of {now:.3f} in {place}, {usual:.3f} in {other} "
        f"({most:.2g} {'more' if risen else 'less'} may be)",
        question="did it begin to hold the outcome?" if risen else "were labels mixed up, or its values?",
    )


def check_unseen(column: str, train: pa.ChunkedArray, holdout: pa.ChunkedArray, dials: DataChecks) -> Iterator[Check]:
    """Whether the holdout's categories are those of the training window."""
    import pyarrow as pa
    import pyarrow.compute as pc

    there = len(holdout) - holdout.null_count
    if there < SEEN_BEFORE or "unseen" in dials.relaxed.get(column, ()):
        return
    levels = pc.unique(train.cast(pa.string())).drop_null()
    new = holdout.cast(pa.string()).drop_null()
    new = new.filter(pc.invert(pc.is_in(new, levels)))
    share = len(new) / there
    examples = ", ".join(repr(level)[:40] for level in sorted(pc.unique(new).to_pylist())[:3])
    yield held(
        f"unseen.{column}",
        share,
        dials.unseen,
        f"{column}: {share:.1%} of the holdout's rows have a category that the training window does not have "
        f"({dials.unseen:.0%} may)" + (f", such as {examples}" if examples else ""),
        question="are categories written in another way by now?",
    )


def check_past(column: str, now: Magnitudes, earlier: Magnitudes, night: str, dials: DataChecks) -> Iterator[Check]:
    """Whether a feature still says the same about days that an earlier night used too.

    Its unit may have been changed in a side table, or in all stored days at once: then no day stands out.

    Args:
        column: The feature.
        now: Logarithms of its quantiles by day.
        earlier: The same, as the earlier night saw them.
        night: The earlier night.
        dials: Of the spec.
    """
    if "past" in dials.relaxed.get(column, ()):
        return
    moved = [abs(shift(now[day], old)) for day, old in earlier.items() if day in now]
    if len(moved) < SHARED_DAYS:
        return
    factor = math.exp(median(moved))
    yield held(
        f"past.{column}",
        factor,
        1 + dials.past,
        f"{column}: on {len(moved)} days that the night {night} used too, all its quantiles are other ones now, by a "
        f"factor of {factor:.3g} ({1 + dials.past:g} may be)",
        question="has its unit changed on all days at once?",
    )
