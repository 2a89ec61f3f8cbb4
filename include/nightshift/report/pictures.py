"""Which pictures a page has: those that its evidence can fill."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from nightshift.report import charts, charts_by_task
from nightshift.report.evaluation import Evaluation
from nightshift.report.evidence import Evidence

NAMES = ("days", "roc", "calibration", "scores", "confusion", "agreement", "residuals")


def pictures(evidence: Evidence, evaluation: Evaluation | None) -> Mapping[str, Markup]:
    """By name; empty where there is nothing to draw."""
    made = dict.fromkeys(NAMES, Markup(""))
    if evidence.days and not evidence.plan.spec.source.static:
        made["days"] = charts.days(evidence.days)
    if evaluation is not None:
        made |= _of_labels(evaluation)
    return made


def _of_labels(evaluation: Evaluation) -> dict[str, Markup]:
    made = {}
    if evaluation.curves:
        made["roc"] = charts.roc(evaluation.curves)
    if evaluation.calibration:
        axes = (
            ("confidence", "share that is right") if evaluation.classes else ("predicted probability", "observed share")
        )
        made["calibration"] = charts.calibration(evaluation.calibration, evaluation.champion_calibration, axes=axes)
    if evaluation.scores:
        made["scores"] = charts.scores(evaluation.scores, threshold=evaluation.threshold)
    if evaluation.confusion is not None:
        made["confusion"] = charts_by_task.confusion(evaluation.confusion)
    if evaluation.agreement:
        made["agreement"] = charts_by_task.agreement(evaluation.agreement, evaluation.champion_agreement)
    if evaluation.residuals is not None:
        made["residuals"] = charts_by_task.residuals(evaluation.residuals)
    return made
