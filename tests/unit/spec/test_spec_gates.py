"""What the gates must say for each kind of label, and the errors with the line where it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nightshift.errors import SpecError
from nightshift.spec.gate_metrics import METRICS, Margins, allowed_for
from nightshift.spec.models import ModelSpec

Load = Callable[..., ModelSpec]
LABEL = 'label: {column: late, positive: "== yes", delay: 2d}'
NUMBER = (LABEL, "label: {column: late, task: regression, delay: 2d}")
CLASSES = (LABEL, "label: {column: late, task: multiclass, classes: [never, a_little, much], delay: 2d}")
GATES = "gates:\n  minimum: 0.7\n"


def gates(text: str) -> tuple[str, str]:
    return GATES, f"gates:\n{text}"


@pytest.mark.parametrize(
    ("label", "text", "metric", "bound", "margins"),
    [
        (None, "  minimum: 0.7\n", "roc_auc", 0.7, Margins(0.005, 0.01, 0.02)),
        (None, "  minimum: 0.7\n  versus_champion: {margin: 0.01}\n", "roc_auc", 0.7, Margins(0.01, 0.01, 0.02)),
        (CLASSES, "  metric: accuracy\n  minimum: 0.6\n", "accuracy", 0.6, Margins(0.005, 0.01, 0.02)),
        (CLASSES, "  metric: log_loss\n  maximum: 1.2\n", "log_loss", 1.2, Margins(0.01, 0.01, 0.02)),
        (CLASSES, "  metric: roc_auc_ovr\n  minimum: 0.6\n", "roc_auc_ovr", 0.6, Margins(0.005, 0.01, 0.02)),
        (NUMBER, "  metric: rmse\n  maximum: 25\n  versus_champion: {margin: 2}\n", "rmse", 25, Margins(2, 2, 2)),
        (
            NUMBER,
            "  metric: mae\n  maximum: 9\n  versus_champion: {margin: 2, calibration_margin: 3}\n",
            "mae",
            9,
            Margins(2, 2, 3),
        ),
    ],
)
def test_what_fits(
    load: Load, label: tuple[str, str] | None, text: str, metric: str, bound: float, margins: Margins
) -> None:
    found = load(*([label] if label else []), gates(text)).gates
    assert (found.metric, found.bound, found.margins) == (metric, bound, margins)


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        (
            NUMBER,
            "  maximum: 25\n",
            [
                "gates",
                "roc_auc, the default, is for binary labels, and label.task is regression",
                "for regression: rmse, mae",
            ],
        ),
        (NUMBER, "  metric: accuracy\n  minimum: 1\n", ["23: gates.metric: accuracy is for multiclass labels"]),
        (
            None,
            "  metric: rmse\n  maximum: 1\n",
            ["23: gates.metric: rmse is for regression labels", "for binary: roc_auc"],
        ),
        (CLASSES, "  metric: roc_auc\n  minimum: 0.7\n", ["for multiclass: accuracy, log_loss, roc_auc_ovr"]),
        (
            NUMBER,
            "  metric: rmse\n  minimum: 25\n  versus_champion: {margin: 1}\n",
            [
                "24: gates.minimum: of rmse lower is better, and minimum asks for the contrary",
                "write maximum: the largest rmse",
            ],
        ),
        (
            None,
            "  maximum: 0.7\n",
            ["23: gates.maximum: of roc_auc higher is better", "write minimum: the least roc_auc"],
        ),
        (
            CLASSES,
            "  metric: accuracy\n",
            ["22: gates: minimum is missing", "floor: below that accuracy nothing ships"],
        ),
        (
            NUMBER,
            "  metric: mae\n  versus_champion: {margin: 1}\n",
            ["gates: maximum is missing", "ceiling: above that mae nothing ships, in units of the label"],
        ),
        (
            NUMBER,
            "  metric: rmse\n  maximum: 25\n",
            [
                "gates",
                "rmse is in units of the label, so how much of it does not matter must be written",
                "versus_champion: {margin: 0.5}",
            ],
        ),
        (NUMBER, "  metric: rmse\n  maximum: 9\n  versus_champion: {rule: better}\n", ["must be written"]),
        (
            NUMBER,
            "  metric: rmse\n  maximum: 9\n  versus_champion: {margin: 1, log_loss_margin: 1}\n",
            ["gates.versus_champion.log_loss_margin: a regression has no log loss"],
        ),
        (
            CLASSES,
            "  metric: log_loss\n  maximum: 1\n  versus_champion: {log_loss_margin: 0.1}\n",
            ["gates.versus_champion.log_loss_margin: margin is the one of log loss"],
        ),
        (
            None,
            "  minimum: 0.7\n  versus_champion: {margin: 1.5}\n",
            ["gates.versus_champion.margin: 1.5 is not allowed"],
        ),
        (
            CLASSES,
            "  metric: accuracy\n  minimum: 0.6\n  versus_champion: {calibration_margin: 1}\n",
            ["gates.versus_champion.calibration_margin: 1 is not allowed"],
        ),
        (
            CLASSES,
            "  metric: accuracy\n  minimum: 0.6\n  fairness: {attribute: country}\n",
            ["25: gates.fairness: fairness compares rates of positive answers, and label.task is multiclass"],
        ),
        (
            NUMBER,
            "  metric: rmse\n  maximum: 9\n  versus_champion: {margin: 1, least: {of_each_class: 5}}\n",
            ["gates.versus_champion.least.of_each_class: a regression has no classes"],
        ),
    ],
)
def test_what_does_not_fit(load: Load, label: tuple[str, str] | None, text: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        load(*([label] if label else []), gates(text))
    told = " ".join(str(raised.value).split())
    for expected in words:
        assert expected in told


def test_a_holdout_that_could_never_promote_is_refused(load: Load) -> None:
    window = "window: {train: 30d, holdout: 14d}"
    with pytest.raises(SpecError) as raised:
        load((window, "window: {train: 30d, holdout: 7d}"))
    told = str(raised.value)
    assert "orders.yaml:18: window.holdout: the holdout has 7 days, and a comparison with the champion takes 14" in told
    assert "write versus_champion: {least: {days: 7}} below gates" in told
    short = gates("  minimum: 0.7\n  versus_champion: {least: {days: 7}}\n")
    assert load((window, "window: {train: 30d, holdout: 7d}"), short).gates.versus_champion.least.days == 7
    with pytest.raises(SpecError, match=r"lengthen the holdout$"):
        load((window, "window: {train: 30d, holdout: 1d}"))


def test_every_metric_belongs_to_a_task_and_says_which_way_is_good() -> None:
    assert [allowed_for(task) for task in ("binary", "multiclass", "regression")] == [
        ("roc_auc",),
        ("accuracy", "log_loss", "roc_auc_ovr"),
        ("rmse", "mae"),
    ]
    assert {name for name, metric in METRICS.items() if metric.better == "lower is better"} == {
        "log_loss",
        "rmse",
        "mae",
    }
    assert {name for name, metric in METRICS.items() if metric.in_label_units} == {"rmse", "mae"}
    assert all(metric.second != name for name, metric in METRICS.items())
