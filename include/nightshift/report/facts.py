"""A stage's result in a few words, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nightshift.plan import Plan
from nightshift.report.measure import Measure
from nightshift.spec.values import format_duration
from nightshift.stage import OUTCOME

Summary = Mapping[str, Any]


def facts(stage: str, summary: Summary) -> str:
    """The main numbers of a stage; empty where it left none."""
    tell = _TELL.get(stage)
    return tell(summary) if tell else ""


def counted(summary: Summary, *parts: tuple[str, str]) -> str:
    """``12,345 rows, 3 quarantined``: those of the named numbers that are there."""
    there = [(summary[key], words) for key, words in parts if summary.get(key) is not None]
    return ", ".join(f"{value:,} {words}" for value, words in there)


def _ingest(summary: Summary) -> str:
    days = () if OUTCOME in summary else (("days_added", "days added"),)  # a static source has none
    return counted(summary, ("rows_in", "rows in"), ("quarantined", "quarantined"), *days)


def _validate(summary: Summary) -> str:
    parts = (("rows_in", "rows in"), ("quarantined", "quarantined"), ("unlabelled", "unlabelled"))
    return counted(summary, *parts)


def _preprocess(summary: Summary) -> str:
    rows = counted(summary, ("train_rows", "to train on"), ("holdout_rows", "held out"))
    if summary.get("blessing") != "waived":
        return rows
    # A night of before waivers named checks has their number only.
    names = ", ".join(summary.get("checks_waived") or [f"{summary['checks_failed']} failed checks"])
    return f"{rows}; waived: {names}"


def _train(summary: Summary) -> str:
    told = (summary.get("size"), counted(summary, ("features", "features")), summary.get("search"))
    return ", ".join(filter(None, told))


def _evaluate(summary: Summary) -> str:
    measure = Measure.of(summary)
    return "" if measure.challenger is None else str(measure)


def _register(summary: Summary) -> str:
    version = summary.get("model_version")
    parity = summary.get("parity_max_diff")
    told = [f"v{version}"] if version is not None else []
    if parity is not None:
        told.append(f"largest difference to the trained model {float(parity):.1e}")
    return ", ".join(told)


def _deploy(summary: Summary) -> str:
    version = summary.get("champion_version")
    return f"the champion is v{version}" if version is not None else ""


def held_out(plan: Plan) -> list[tuple[str, str]]:
    """What was learned from, what judged it, and the label."""
    spec, windows = plan.spec, plan.windows
    if spec.window is not None:
        return [
            ("Training window", f"{windows.train}, {format_duration(spec.window.train)}"),
            ("Holdout", f"{windows.holdout}, {format_duration(spec.window.holdout)}"),
            ("Label", f"{spec.label.asked}, known after {format_duration(spec.label.delay)}"),
        ]
    share = spec.split.holdout if spec.split is not None else 0.0
    by = ", ".join(spec.key)
    return [("Holdout", f"{share:.0%} of a static source's rows, by a hash of {by}"), ("Label", spec.label.asked)]


_TELL: dict[str, Callable[[Summary], str]] = {
    "ingest": _ingest,
    "validate": _validate,
    "preprocess": _preprocess,
    "train": _train,
    "evaluate": _evaluate,
    "register": _register,
    "deploy": _deploy,
}
