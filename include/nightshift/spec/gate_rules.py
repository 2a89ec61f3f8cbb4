"""What the task of a label and the length of the holdout demand of the gates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from nightshift.spec.gate_metrics import Metric, allowed_for
from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.gates import Gates
    from nightshift.spec.models import ModelSpec

DEFAULT_METRIC = "roc_auc"
FEWEST_DAYS = 2


def gates_fit_the_task(spec: ModelSpec) -> Iterator[Problem]:
    """Where the metric is another task's, nothing else can be said about the section."""
    gates, task, metric = spec.gates, spec.label.task, spec.gates.decider
    if metric.task != task:
        named = f"{metric.name}, the default," if metric.name == DEFAULT_METRIC else metric.name
        yield Problem(
            f"{named} is for {metric.task} labels, and label.task is {task}.",
            ("gates", "metric"),
            allowed=f"for {task}: {', '.join(allowed_for(task))}",
            hint=f"write metric: {allowed_for(task)[0]} below gates",
        )
        return
    yield from _bound(gates, metric)
    yield from _margins(gates, metric)
    if gates.fairness is not None and task != "binary":
        yield Problem(
            f"fairness compares rates of positive answers, and label.task is {task}.",
            ("gates", "fairness"),
            hint="drop the key; gates.slices keeps groups from getting worse",
            is_key=True,
        )
    if task == "regression" and gates.versus_champion.least.of_each_class is not None:
        yield Problem(
            "a regression has no classes.",
            ("gates", "versus_champion", "least", "of_each_class"),
            hint="drop the key",
            is_key=True,
        )


def _bound(gates: Gates, metric: Metric) -> Iterator[Problem]:
    fits, other = ("minimum", "maximum") if metric.higher_is_better else ("maximum", "minimum")
    if getattr(gates, other) is not None:
        yield Problem(
            f"of {metric.name} {metric.better}, and {other} asks for the contrary.",
            ("gates", other),
            hint=f"write {fits}: the {'least' if metric.higher_is_better else 'largest'} {metric.name} that may ship",
            is_key=True,
        )
    elif metric.higher_is_better and (gates.minimum or 0) > 1:
        yield Problem(f"{gates.minimum:g} is not allowed.", ("gates", "minimum"), allowed="a number from 0 to 1")
    elif getattr(gates, fits) is None:
        unit = ", in units of the label" if metric.in_label_units else ""
        what = "floor: below" if metric.higher_is_better else "ceiling: above"
        yield Problem(
            f"{fits} is missing.",
            ("gates",),
            hint=f"add {fits} below gates, the {what} that {metric.name} nothing ships{unit}",
        )


def _margins(gates: Gates, metric: Metric) -> Iterator[Problem]:
    rule, at = gates.versus_champion, ("gates", "versus_champion")
    if metric.in_label_units and rule.margin is None:
        yield Problem(
            f"{metric.name} is in units of the label, so how much of it does not matter must be written.",
            at,
            hint="add versus_champion: {margin: 0.5} below gates, with a number of your own",
        )
    if not metric.in_label_units:
        for key, value in (("margin", rule.margin), ("calibration_margin", rule.calibration_margin)):
            if value is not None and value >= 1 and (key != "margin" or metric.higher_is_better):
                yield Problem(
                    f"{value:g} is not allowed.", (*at, key), allowed="a number from 0 to below 1, such as 0.005"
                )
    if rule.log_loss_margin is not None and metric.second != "log_loss":
        why = "margin is the one of log loss" if metric.name == "log_loss" else "a regression has no log loss"
        yield Problem(f"{why}.", (*at, "log_loss_margin"), hint="drop the key", is_key=True)


def holdout_is_long_enough(spec: ModelSpec) -> Iterator[Problem]:
    """With fewer days than the comparison takes, no night after the first could ever promote."""
    if spec.window is None:
        return
    days, least = spec.window.holdout // timedelta(days=1), spec.gates.versus_champion.least.days
    if days < least:
        yield Problem(
            f"the holdout has {days} days, and a comparison with the champion takes {least} "
            "(gates.versus_champion.least.days): after the first model nothing could ever be promoted.",
            ("window", "holdout"),
            allowed=f"{least}d or more",
            hint="lengthen the holdout"
            + (f", or write versus_champion: {{least: {{days: {days}}}}} below gates" if days >= FEWEST_DAYS else ""),
        )


BETWEEN_SECTIONS = (
    (gates_fit_the_task, {"gates", "label"}),
    (holdout_is_long_enough, {"gates", "window"}),
)
