"""Whether there is something to learn from: labels that are known, and every class in both windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.errors import ValidationFailed
from nightshift.plan import EVER, Interval, Plan
from nightshift.spec.models import Label
from nightshift.validate.statistics import counted_of

LABEL_KEYS = {"binary": "positive", "multiclass": "classes", "regression": "task"}


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
    """Labels of each window that days tell apart: days, labelled, unlabelled, and by task positives or classes."""
    sums: dict[str, dict[str, int]] = {}
    for name, window in plan.windows.by_time.items():
        inside = [result for day, result in days.items() if day.start in window]
        sums[name] = {
            "days": len(inside),
            **{key: sum(result[key] for result in inside) for key in counted_of(plan.spec.label)},
        }
    return sums


def require_labels(plan: Plan, sums: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Refuse windows that nothing can be learned from, or judged on.

    Args:
        plan: The night.
        sums: What ``window_labels`` gives.

    Returns:
        Warnings of windows that are shorter than they should be.

    Raises:
        ValidationFailed: A window has no days, no labels, or lacks a class.
    """
    problems, warnings = [], []
    for name, window in plan.windows.by_time.items():
        title, place = f"the {name} window {window}", f" in {sums[name]['days']} days"
        if window == EVER:
            title, place = "the source", ""
        problem = _problem(title, place, sums[name], plan.spec.label)
        problems += [problem] if problem else []
        wanted = len(list(window.days()))
        if sums[name]["days"] < wanted:
            warnings.append(f"the {name} window {window} has {sums[name]['days']} of its {wanted} days (source.since)")
    if problems:
        raise ValidationFailed(
            f"night {plan.interval.night}: nothing can be learned from these labels:\n  " + "\n  ".join(problems),
            hint=f"check label.column and label.{LABEL_KEYS[plan.spec.label.task]}, or begin with a later night",
        )
    return warnings


def _problem(title: str, place: str, labels: Mapping[str, int], label: Label) -> str | None:
    labelled = labels["labelled"]
    if not labels["days"]:
        return f"{title} has no days: the source begins later (source.since)"
    if not labelled:
        return f"{title} has no labelled row{place}"
    told = f"{labelled:,} rows{place}"
    if label.task == "binary" and labels["positives"] in (0, labelled):
        only = "negative" if labels["positives"] == 0 else "positive"
        return f"{title} has only {only} labels: {told}, label.positive is {label.positive!r}"
    if absent := [name for name in label.classes if not labels[f"class.{name}"]]:
        return f"{title} has no row of {', '.join(absent)} (label.classes): {told}"
    return None
