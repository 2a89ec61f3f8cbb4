"""``search.json`` as the page needs it: the best trials, and what became of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.plan import DAY
from nightshift.report.measure import short_name
from nightshift.spec.gate_metrics import METRICS
from nightshift.train.search.reasons import reasons_of

SHOWN = 10
LONGEST_REASON = 160


@dataclass(frozen=True)
class Line:
    """One complete trial.

    Attributes:
        number: Its number in the study, from 1.
        engine: Name of its family.
        params: All of its parameters, in words.
        mean: The metric, mean of the folds.
        spread: Standard deviation of the folds; None of a single one.
        values: The metric on each fold, oldest first.
        seconds: How long it took.
        chosen: The model was trained with it.
    """

    number: int
    engine: str
    params: str
    mean: float
    spread: float | None
    values: tuple[float, ...]
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class Leaderboard:
    """A search.

    Attributes:
        measure: Short name of the metric.
        better: Which way is good.
        counts: ``30 trials: 24 complete, 5 pruned, 1 failed``.
        folds: First and last day that trials were judged on, and in how many folds.
        lines: The best, best first.
        failures: Reasons of failed trials and how often, the commonest first; of numbers in them, those of the first.
    """

    measure: str
    better: str
    counts: str
    folds: str
    lines: tuple[Line, ...]
    failures: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Leaderboard | None:
        """None where nothing was searched."""
        if not raw:
            return None
        metric, trials = METRICS[raw["metric"]], raw["trials"]
        sign = -1 if metric.higher_is_better else 1
        complete = [one for one in trials if one["state"] == "complete"]
        ranked = sorted(complete, key=lambda one: (sign * one["mean"], one["number"]))
        states = Counter(one["state"] for one in trials)
        told = [f"{states[state]} {state}" for state in ("complete", "pruned", "failed") if states[state]]
        reasons = reasons_of(one["error"] for one in trials if one["error"])
        judged = [fold["judged"] for fold in raw["folds"]]
        last = datetime.fromisoformat(judged[-1]["to"]) - DAY
        period = f"{judged[0]['from'][:10]} to {last.date()}"
        return cls(
            measure=short_name(metric),
            better=metric.better,
            counts=f"{len(trials)} trials: {', '.join(told)}",
            folds=f"{period}, in {len(judged)} folds" if len(judged) > 1 else period,
            lines=tuple(_line(one, chosen=one["number"] == raw["best"]) for one in ranked[:SHOWN]),
            failures=tuple((one.first[:LONGEST_REASON], one.often) for one in reasons),
        )


def _line(raw: Mapping[str, Any], *, chosen: bool) -> Line:
    params = ", ".join(f"{name} {_shown(value)}" for name, value in raw["params"].items())
    return Line(
        raw["number"] + 1,
        raw["family"],
        params or "defaults",
        raw["mean"],
        raw["spread"],
        tuple(raw["values"]),
        raw["seconds"],
        chosen,
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
