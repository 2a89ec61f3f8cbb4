"""The metric that decides, as the report, the tables and the sentences name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.evaluate.wording import decimals_for
from nightshift.spec.gate_metrics import METRICS, Metric

# Evaluations that do not name their metric are older than the other ones.
OLDEST = "roc_auc"


@dataclass(frozen=True)
class Measure:
    """What evaluate measured of challenger and champion.

    Attributes:
        metric: The one that decides.
        challenger, champion: Its value of each; None where there is none.
    """

    metric: Metric
    challenger: float | None
    champion: float | None

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Measure:
        """Of evaluate's small result; of an empty one, nothing."""
        metric = METRICS[summary.get("metric", OLDEST)]
        return cls(metric, *(_value(summary.get(who), metric.name) for who in ("challenger", "champion")))

    def __str__(self) -> str:
        """``AUC 0.9214 against 0.9180``; says which way is good where it is not the usual one."""
        name = short_name(self.metric)
        if self.challenger is None:
            return f"no {name}"
        shown = f"{name} {plain(self.challenger)}"
        if self.champion is not None:
            shown += f" against {plain(self.champion)}"
        return shown if self.metric.higher_is_better or self.champion is None else f"{shown} ({self.metric.better})"


def short_name(metric: Metric) -> str:
    return "AUC" if metric.name == "roc_auc" else metric.words


def plain(value: float) -> str:
    """Four decimals, fewer of large numbers."""
    return f"{value:,.{decimals_for(value)}f}"


def _value(metrics: Any, name: str) -> float | None:
    return float(metrics[name]) if isinstance(metrics, Mapping) and metrics.get(name) is not None else None
