"""The section ``gates``: what a version must prove before it ships."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from nightshift.spec.base import SpecModel
from nightshift.spec.gate_metrics import (
    CALIBRATION_MARGIN,
    LOG_LOSS_MARGIN,
    METRICS,
    OF_EACH_CLASS,
    Margins,
    Metric,
    MetricName,
)
from nightshift.spec.values import Column, Duration


class Least(SpecModel):
    """What the shared holdout must have before anything may be said about two models."""

    days: Annotated[int, Field(ge=2)] = 14
    """Fewest UTC days with rows; the interval takes days, not rows, for independent."""
    rows: Annotated[int, Field(ge=1)] = 2000
    """Fewest rows."""
    of_each_class: Annotated[int, Field(ge=1)] | None = None
    """Fewest rows of each class that occurs in training; null: 200. A number has no classes."""


class VersusChampion(SpecModel):
    """The comparison with the champion, on the rows that neither has learned from."""

    rule: Literal["not_worse", "better"] = "not_worse"
    """What replaces the champion: not_worse, which keeps it fresh, or better, which freezes most models."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """How much worse than the champion the challenger may be, in units of the metric; null: 0.005, and for log_loss
    0.01. It must be written for rmse and mae, whose unit is the label's, and holds for both of them."""
    log_loss_margin: Annotated[float, Field(ge=0)] | None = None
    """How much more log loss than the champion's is not worse, where another metric decides; null: 0.01."""
    calibration_margin: Annotated[float, Field(ge=0)] | None = None
    """How much more calibration error than the champion's is not worse; null: 0.02, and for a number, where it is the
    bias in units of the label, the margin."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Of the interval around each difference, with the day as the unit."""
    least: Least = Least()
    """With less than this on the shared holdout they are not comparable, and the champion stays."""


class Fairness(SpecModel):
    """One parity between the groups of an attribute."""

    attribute: Column = Field(examples=["age_group"])
    """Column of prepare's result whose values are the groups."""
    metric: Literal["true_positive_rate", "false_positive_rate", "positive_rate"] = "true_positive_rate"
    """Which rate must be alike, at the model's threshold."""
    bound: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest allowed difference between any two groups with enough rows."""


class Gates(SpecModel):
    """What a version must prove before it ships."""

    metric: MetricName = "roc_auc"
    """The metric that decides: roc_auc for a binary label; accuracy, log_loss or roc_auc_ovr for multiclass; rmse or
    mae for regression."""
    minimum: Annotated[float, Field(ge=0, examples=[0.8])] | None = None
    """Floor, for a metric of which more is better: below it nothing ships."""
    maximum: Annotated[float, Field(gt=0, examples=[12.5])] | None = None
    """Ceiling, for an error: above it nothing ships."""
    versus_champion: VersusChampion = VersusChampion()
    """Comparison with the champion on the same holdout rows."""
    max_age: Duration | None = Field(default=timedelta(days=30), json_schema_extra={"default": "30d"})
    """From this age on, an undecided challenger replaces the champion if it lies within the margin; null: never."""
    slices: tuple[Column, ...] = ()
    """Columns of prepare's result; no large enough slice by one of their values may be significantly worse."""
    fairness: Fairness | None = None
    """A rate that must be alike between groups; for a binary label."""

    @property
    def decider(self) -> Metric:
        """What is known of the metric that decides."""
        return METRICS[self.metric]

    @property
    def bound(self) -> float:
        """The floor, or the ceiling: a loaded spec has the one that fits its metric."""
        given = self.minimum if self.decider.higher_is_better else self.maximum
        if given is None:
            raise ValueError(f"gates have no {'minimum' if self.decider.higher_is_better else 'maximum'}")
        return given

    @property
    def margins(self) -> Margins:
        """The losses that do not matter: what the spec says, else the defaults."""
        rule, metric = self.versus_champion, self.decider
        deciding = metric.margin if rule.margin is None else rule.margin
        if deciding is None:
            raise ValueError(f"gates.versus_champion has no margin, and {self.metric} has no default")
        of_log_loss = LOG_LOSS_MARGIN if rule.log_loss_margin is None else rule.log_loss_margin
        usual = deciding if metric.in_label_units else CALIBRATION_MARGIN
        return Margins(
            deciding,
            second=of_log_loss if metric.second == "log_loss" else deciding,
            calibration=usual if rule.calibration_margin is None else rule.calibration_margin,
        )

    @property
    def of_each_class(self) -> int:
        """Fewest rows of each class."""
        least = self.versus_champion.least.of_each_class
        return OF_EACH_CLASS if least is None else least
