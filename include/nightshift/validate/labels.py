"""Whether there is something to learn from: labels that are known, and both classes in both windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.plan import Interval, Plan


def unknown_labels(plan: Plan, day: Interval, counts: Mapping[str, Any]) -> str | None:
    """The problem of a day whose labels should be known and of which no row has one.

    Args:
        plan: The night.
        day: The day.
        counts: Its ``labelled`` and ``unlabelled`` rows.
    """
    known = day.end + plan.spec.label.delay
    if known > plan.interval.end or counts["labelled"]:
        return None
    return (
        f"label column {plan.spec.label.column} is null in all {counts['unlabelled']:,} rows, and should be known "
        f"since {known:%Y-%m-%d %H:%M}Z (label.delay)"
    )


def window_labels(plan: Plan, days: Mapping[Interval, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Labels of the training and the holdout window: days, labelled, unlabelled, positives."""
    windows = {"train": plan.windows.train, "holdout": plan.windows.holdout}
    sums: dict[str, dict[str, int]] = {}
    for name, window in windows.items():
        inside = [result for day, result in days.items() if day.start in window]
        sums[name] = {
            "days": len(inside),
            **{key: sum(result[key] for result in inside) for key in ("labelled", "unlabelled", "positives")},
        }
    return sums


def window_problems(plan: Plan, sums: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Windows that nothing can be learned from or judged on, in words."""
    found = []
    for name, window in (("train", plan.windows.train), ("holdout", plan.windows.holdout)):
        labels = sums[name]
        labelled, positives = labels["labelled"], labels["positives"]
        if not labels["days"]:
            found.append(f"the {name} window {window} has no days: the source begins later (source.since)")
        elif not labelled:
            found.append(f"the {name} window {window} has no labelled row in {labels['days']} days")
        elif positives in (0, labelled):
            only = "negative" if positives == 0 else "positive"
            found.append(
                f"the {name} window {window} has only {only} labels: {labelled:,} rows in {labels['days']} days, "
                f"label.positive is {plan.spec.label.positive!r}"
            )
    return found
