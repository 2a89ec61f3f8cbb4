"""The metrics that may decide about a version: whose they are, which way is good, what else must not be worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nightshift.spec.values import Task

MetricName = Literal["roc_auc", "accuracy", "log_loss", "roc_auc_ovr", "rmse", "mae"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: As in ``gates.metric``, and in a stage's metrics.
        words: For people.
        task: Whose label it is for, when it decides.
        higher_is_better: Such as an accuracy; else it is an error.
        second: The metric that must not be worse either; None where this one sees all that another would.
        margin: The loss that does not matter where the spec names none; None: it must name one.
        told_by: Name of the metric that says whether a model is too good to be true.
    """

    name: MetricName
    words: str
    task: Task
    higher_is_better: bool
    second: MetricName | None
    margin: float | None
    told_by: str

    @property
    def better(self) -> str:
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def guess(self) -> str:
        """What the baseline is called that always gives the same answer."""
        return "constant" if self.task == "regression" else "majority"

    @property
    def in_label_units(self) -> bool:
        """Whether only the spec's author knows what is much and what is little."""
        return self.margin is None


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", "ROC AUC", "binary", True, "log_loss", 0.005, "roc_auc"),
        Metric("accuracy", "Accuracy", "multiclass", True, "log_loss", 0.005, "accuracy"),
        Metric("log_loss", "Log loss", "multiclass", False, None, 0.01, "accuracy"),
        Metric("roc_auc_ovr", "ROC AUC of the classes", "multiclass", True, "log_loss", 0.005, "roc_auc_ovr"),
        Metric("rmse", "RMSE", "regression", False, "mae", None, "r2"),
        Metric("mae", "MAE", "regression", False, "rmse", None, "r2"),
    )
}
LOG_LOSS_MARGIN = 0.01
CALIBRATION_MARGIN = 0.02
OF_EACH_CLASS = 200


@dataclass(frozen=True)
class Margins:
    """The losses that do not matter; each in units of what it is a loss of.

    Attributes:
        deciding: Of the metric that decides.
        second: Of the metric that must not be worse either.
        calibration: Of the calibration error, or of the bias.
    """

    deciding: float
    second: float
    calibration: float


def allowed_for(task: Task) -> tuple[MetricName, ...]:
    """The metrics that may decide about a task, the usual one first."""
    return tuple(metric.name for metric in METRICS.values() if metric.task == task)
