"""The page of models that tell numbers or several classes, from the evidence of real small ones."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.asked_night import CLASSES, asked_night
from tests.fakes.trained_night import FIRST, Night, promote
from tests.unit.report.test_report_page import Page

from nightshift import evaluate
from nightshift.report import charts_by_task
from nightshift.report.charts_by_task import Confusion, Interval, Residuals
from nightshift.report.evaluation import Evaluation
from nightshift.report.evidence import Evidence
from nightshift.report.measure import Measure
from nightshift.report.nights import metrics_of, nights
from nightshift.report.page import html
from nightshift.stage import StageResult

pytestmark = pytest.mark.thorough

UNTIMED = settings(deadline=None)
SECOND = FIRST + timedelta(days=1)
Evaluated = tuple[Night, StageResult]


@pytest.fixture(scope="module", params=["regression", "multiclass"])
def judged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Evaluated, Evaluated]:
    """A first night and the one after it."""
    task, root = request.param, tmp_path_factory.mktemp(request.param)
    first = asked_night(root, task).run(evaluate)
    promote(first[0], 1)
    return task, first, asked_night(root, task, SECOND).run(evaluate)


def page_of(night: Night, result: StageResult) -> Page:
    return Page(html(Evidence.collect(night.plan, night.store, {"evaluate": result})))


def evaluation_of(night: Night) -> dict[str, Any]:
    return json.loads(night.store.read(night.io.given("evaluate"), "evaluation.json"))


def test_the_page_of_a_second_night(judged: tuple[str, Evaluated, Evaluated]) -> None:
    task, _, (night, result) = judged
    page = page_of(night, result)
    assert page.open == []
    looked = {"regression": "in units of the label", "multiclass": "on average over the classes"}[task]
    always = (
        looked,
        "the SHAP values of 500 held-out rows",
        "What it gains over champion v1",
        "champion v1",
        "weight alone",
        "Too few rows to judge: air (",
    )
    own = {
        "regression": (
            "RMSE of the challenger",
            "(lower is better)",
            "lower is better; may lose 3 at most",
            "Prediction and label",
            "How far off",
            "Median error",
            "R²",
            "Bias",
            "labels of 1",
            "days_late, a number",
        ),
        "multiclass": (
            "Accuracy of the challenger",
            "Which is taken for which",
            "Class by class",
            "champion's recall",
            "Of rows whose likeliest class has 80 %",
            "Balanced accuracy",
            "days_late, one of early, planned, late",
        ),
    }[task]
    for expected in (*always, *own):
        assert expected in page.words, expected
    assert ("ROC AUC" in page.words) == (task == "multiclass")
    assert "of them positive" not in page.words


def test_the_page_of_a_first_night(judged: tuple[str, Evaluated, Evaluated]) -> None:
    task, (night, result), _ = judged
    words = page_of(night, result).words
    assert ("Below the ceiling" if task == "regression" else "Above the floor") in words
    assert "What it gains over" not in words
    assert "champion's recall" not in words


def test_history_knows_the_metric(judged: tuple[str, Evaluated, Evaluated]) -> None:
    task, _, (night, result) = judged
    first, second = nights(night.store)
    assert (first.champion, second.metric) == (None, "rmse" if task == "regression" else "accuracy")
    assert second.challenger == result.summary["challenger"][str(second.metric)]
    assert second.champion == result.summary["champion"][str(second.metric)]
    assert [metric.better for metric in metrics_of([first, second])] == [
        "lower is better" if task == "regression" else "higher is better"
    ]


def test_classes_are_told_in_their_own_order(judged: tuple[str, Evaluated, Evaluated]) -> None:
    task, _, (night, _) = judged
    found = Evaluation.read(evaluation_of(night))
    if task == "multiclass":
        assert [line.name for line in found.classes] == list(CLASSES)
        assert [found.labels.index(name) for name in CLASSES] == sorted(found.labels.index(name) for name in CLASSES)
        assert found.confusion is not None
        assert sum(map(sum, found.confusion.counts)) == 750
    else:
        assert found.classes == ()
        assert sum(one.count for one in found.agreement) == 750


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({}, "no AUC"),
        ({"challenger": {"roc_auc": 0.9214}, "champion": {"roc_auc": 0.918}}, "AUC 0.9214 against 0.9180"),
        ({"metric": "rmse", "challenger": {"rmse": 15.96}, "champion": None}, "RMSE 15.960"),
        (
            {"metric": "rmse", "challenger": {"rmse": 15960.4}, "champion": {"rmse": 16000}},
            "RMSE 15,960 against 16,000 (lower is better)",
        ),
        (
            {"metric": "accuracy", "challenger": {"accuracy": 0.7}, "champion": {"accuracy": 0.6}},
            "Accuracy 0.7000 against 0.6000",
        ),
    ],
)
def test_a_measure_in_words(summary: dict[str, Any], said: str) -> None:
    assert str(Measure.of(summary)) == said


# -- pictures ----------------------------------------------------------------------------------------------------


def test_only_the_largest_classes_are_drawn() -> None:
    names = [f"class {number}" for number in range(14)]
    counts = [[number if row == column else 1 for column in range(14)] for row, number in enumerate(range(14))]
    found = Confusion.read(names, counts)
    assert (found.classes, found.left_out) == (tuple(names[4:]), 4)
    drawn = Page(str(charts_by_task.confusion(found)))
    assert drawn.open == []
    assert drawn.tags.count("rect") == 100
    assert "1 of 26 class 13 are called class 4" in drawn.words


def test_a_class_without_rows_and_a_name_in_angle_brackets() -> None:
    drawn = str(charts_by_task.confusion(Confusion(("<b>", "x"), ((0, 0), (1, 3)), (0, 4))))
    assert "<b>" not in drawn
    assert "&lt;b&gt;" in drawn
    assert Page(drawn).open == []


NUMBERS = st.floats(-1e6, 1e6)


@UNTIMED
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(1, 9)), min_size=1, max_size=12))
def test_any_bins_can_be_drawn(rows: list[tuple[float, float, int]]) -> None:
    bins = [Interval(one, other, min(one, other), max(one, other), count) for one, other, count in rows]
    drawn = Page(str(charts_by_task.agreement(bins, bins[:1])))
    assert drawn.open == []
    assert drawn.tags.count("circle") == len(bins)


@UNTIMED
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.floats(0.001, 1e6), st.booleans())
def test_any_residuals_can_be_drawn(counts: list[int], reach: float, champion: bool) -> None:
    edges = tuple(-reach + 2 * reach * place / len(counts) for place in range(len(counts) + 1))
    told = Residuals(edges, tuple(counts), tuple(counts) if champion else ())
    drawn = str(charts_by_task.residuals(told))
    assert Page(drawn).tags.count("rect") == len(counts)
    assert ("curve champion" in drawn) == champion
    assert "nan" not in drawn


def test_colours_are_those_of_the_style_sheet(judged: tuple[str, Evaluated, Evaluated]) -> None:
    """Nothing but its own style sheet: no colours in the drawings, so that light and dark both read well."""
    _, _, (night, result) = judged
    attributes = page_of(night, result).attributes
    assert {"style", "fill", "stroke"}.isdisjoint(name for name, _ in attributes)
