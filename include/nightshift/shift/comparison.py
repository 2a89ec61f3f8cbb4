"""One day of one column against the days before it: units, sentinels, nulls, categories.

Everything here is judged by how large a change is, never by a p-value: with a million rows every change is
significant. The defaults were chosen by replaying a year of flights (docs/data.md).

A change of unit multiplies *every* quantile by the same number, and that tells it from weather: on a stormy day
the long delays become longer, and the short ones stay. So the shift of a column is the smallest among the shifts
of its quantiles, and nothing where they disagree about the direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nightshift.ledger.blessings import Check
from nightshift.shift.summary import SENTINELS, Summary
from nightshift.spec.data_checks import DataChecks

TRAILING = 14
"""How many days before it a day is compared with."""
NEEDED = 10
"""Fewest of them that make a comparison."""
FILLED = 0.25
"""Least share of values, not 0, in a column whose units can be told."""
LEAST_FACTOR, MOST_FACTOR = 0.25, 1.25
"""Bounds of the bound of a unit's shift, as logarithms: a factor of 1.28 always passes, one of 3.5 never."""
FEWEST_ROWS = 30
ANY_VALUE = 0.5
"""How far the share of a value that is no usual sentinel may rise."""
MORE_LEVELS = 10


def compare(day: str, column: str, now: Summary, before: Sequence[Summary], dials: DataChecks) -> list[Check]:
    """Every check of a day's column that can be made.

    Args:
        day: Its key.
        column: Its name.
        now: The day's summary.
        before: Summaries of the days before it, oldest first; only the newest count.
        dials: Of the spec; what the column is let off is left out.

    Returns:
        Checks named ``<kind>.<column>``; none where there are too few days or rows.
    """
    trailing = [summary for summary in before if summary["rows"]][-TRAILING:]
    if len(trailing) < NEEDED or now["rows"] < FEWEST_ROWS:
        return []
    off = dials.relaxed.get(column, ())
    made = {
        "unit_shift": _unit_shift,
        "sentinel": _sentinel,
        "nulls": _nulls,
        "dominance": _dominance,
        "explosion": _explosion,
    }
    return [
        check for kind, make in made.items() if kind not in off for check in make(day, column, now, trailing, dials)
    ]


def held(name: str, value: float, bound: float, told: str, *, question: str, answer: str = "") -> Check:
    """A check that passes where the value is not above the bound; only a failed one says what to do.

    Args:
        name: ``<kind>.<column>``.
        value: What was found.
        bound: The most there may be.
        told: The numbers in words.
        question: What may have happened.
        answer: What to write into the spec when the change is meant; by default, to let the column off the check.
    """
    kind, _, column = name.partition(".")
    passed = value <= bound
    todo = answer or (
        f"if that is right, write data_checks.relaxed: {{{column.rpartition('.')[2]}: [{kind}]}}, or begin after it "
        "with source.since"
    )
    text = told if passed else f"{told}: {question} {todo[0].upper()}{todo[1:]}"
    return Check(name, passed, round(value, 4), round(bound, 4), text)


def shift(now: Sequence[float], usual: Sequence[float]) -> float:
    """By how much all quantiles moved at least, with its sign; 0 where they disagree about the direction."""
    moved = [new - old for new, old in zip(now, usual, strict=True)]
    if all(step > 0 for step in moved):
        return min(moved)
    return max(moved) if all(step < 0 for step in moved) else 0.0


def _unit_shift(day: str, column: str, now: Summary, trailing: Sequence[Summary], dials: DataChecks) -> Iterator[Check]:
    import numpy as np

    usable = [old["magnitudes"] for old in trailing if old.get("magnitudes") and old["filled"] >= FILLED]
    if len(usable) < NEEDED or not now.get("magnitudes"):
        return
    usual = np.median(np.array(usable), axis=0)
    if usual[1] == usual[3]:
        return  # half of the rows hold one value: a date's part, a batch's number; those move from day to day
    largest = float(np.max(np.abs(np.array(usable) - usual)))
    moved = shift(now["magnitudes"], usual.tolist())
    bound = min(max(dials.unit_shift * largest, LEAST_FACTOR), MOST_FACTOR)
    yield held(
        f"unit_shift.{column}",
        math.exp(abs(moved)),
        math.exp(bound),
        f"{column}: on {day} all its quantiles are {math.exp(moved):.3g} times those of the {len(usable)} days before "
        f"({math.exp(-bound):.3g} to {math.exp(bound):.3g} may be)",
        question="has its unit changed?",
    )


def _sentinel(day: str, column: str, now: Summary, trailing: Sequence[Summary], dials: DataChecks) -> Iterator[Check]:
    """The value whose share rose most beyond what it may."""
    bounded = [old for old in trailing if old.get("values")]
    if not now.get("values") or not bounded:
        return
    seen = [dict(map(tuple, old["values"])) for old in bounded]
    low, high = min(old["low"] for old in bounded), max(old["high"] for old in bounded)
    parted = _is_parted(seen)
    found = []
    for value, share in map(tuple, now["values"]):
        most = max(shares.get(value, 0.0) for shares in seen)
        if value in SENTINELS:
            bound = dials.sentinel / 10 if _is_strange(value, low, high) else dials.sentinel
        elif parted:
            continue
        else:
            bound = max(ANY_VALUE, dials.sentinel)
        found.append((share - most - bound, share - most, bound, value, share, most))
    if not found:
        return
    _, risen, bound, value, share, most = max(found)
    yield held(
        f"sentinel.{column}",
        max(risen, 0.0),
        bound,
        f"{column}: on {day} {share:.1%} of the values are exactly {value:g}, on the {len(seen)} days before "
        f"{most:.1%} at most ({bound:.0%} more may be)",
        question="does it stand for a missing value? Then make it null in the source.",
    )


def _is_strange(value: float, low: float, high: float) -> bool:
    """Whether a sentinel lies far from all values of before. 999 is a pressure too, and a mild day has 99 degrees."""
    if value < 0 <= low:
        return True
    beyond = (high - low) / 2
    return value != 0 and not low - beyond <= value <= high + beyond


def _is_parted(seen: Sequence[dict[float, float]]) -> bool:
    """Whether most days have a value that half of their rows hold: such as the day of the month."""
    days = sum(max(shares.values(), default=0.0) >= 0.5 for shares in seen)
    return 2 * days > len(seen)


def _nulls(day: str, column: str, now: Summary, trailing: Sequence[Summary], dials: DataChecks) -> Iterator[Check]:
    share = now["nulls"] / now["rows"]
    most = max(old["nulls"] / old["rows"] for old in trailing)
    yield held(
        f"nulls.{column}",
        max(share - most, 0.0),
        dials.nulls,
        f"{column}: on {day} {share:.1%} are null, on the {len(trailing)} days before {most:.1%} at most "
        f"({dials.nulls:.0%} more may be)",
        question="did an export or a join lose it?",
    )


def _dominance(day: str, column: str, now: Summary, trailing: Sequence[Summary], dials: DataChecks) -> Iterator[Check]:
    if not now.get("top") or not (seen := [dict(map(tuple, old["top"])) for old in trailing if "top" in old]):
        return
    # Only the largest levels are kept of a day: one that is not among them had a share of almost nothing.
    risen, level, share, most = max(
        (share - most, level, share, most)
        for level, share in map(tuple, now["top"])
        for most in [max(shares.get(level, 0.0) for shares in seen)]
    )
    yield held(
        f"dominance.{column}",
        max(risen, 0.0),
        dials.dominance,
        f"{column}: on {day} {share:.1%} of the rows are {level!r}, on the {len(seen)} days before {most:.1%} at most "
        f"({dials.dominance:.0%} more may be)",
        question="did the other sources fall silent?",
    )


def _explosion(day: str, column: str, now: Summary, trailing: Sequence[Summary], dials: DataChecks) -> Iterator[Check]:
    if "levels" not in now or not (seen := [old for old in trailing if "levels" in old]):
        return
    most = max(old["levels"] for old in seen)
    # An identifier has as many levels as rows: twice the rows are twice the levels, and no explosion.
    per_row = max(old["levels"] / old["rows"] for old in seen)
    allowed = max(dials.explosion * most, most + MORE_LEVELS, dials.explosion / 2 * per_row * now["rows"])
    yield held(
        f"explosion.{column}",
        now["levels"],
        allowed,
        f"{column}: on {day} it has {now['levels']:,} categories, on the {len(seen)} days before {most:,} at most "
        f"({allowed:,.0f} may be)",
        question="is it free text by now, or an identifier?",
    )
