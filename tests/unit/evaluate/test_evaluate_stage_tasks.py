"""The evaluate stage on models of numbers and of several classes, trained for real."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.asked_night import CLASSES, answers, asked_night, asked_spec
from tests.fakes.trained_night import FIRST, Night, promote, small_plan, trained_night

from nightshift import evaluate
from nightshift.errors import DataError, ModelError
from nightshift.model.scores import from_column
from nightshift.model.session import Scorer

pytestmark = pytest.mark.thorough

SECOND = FIRST + timedelta(days=1)
TASKS = ("regression", "multiclass")
METRIC = {"regression": "rmse", "multiclass": "accuracy"}


def evaluation_of(night: Night) -> dict[str, Any]:
    return json.loads(night.store.read(night.io.given("evaluate"), "evaluation.json"))


@pytest.mark.parametrize("task", TASKS)
def test_a_first_model_is_held_against_guess_and_single_feature(tmp_path: Path, task: str) -> None:
    night, result = asked_night(tmp_path, task).run(evaluate)
    assert (result.status, result.summary["verdict"], result.summary["metric"]) == ("succeeded", "first", METRIC[task])
    found = evaluation_of(night)
    names = [check["name"] for check in found["checks"]]
    if task == "regression":
        assert names == ["ceiling", "constant", "best_single_feature"]
        assert found["challenger"]["metrics"]["rmse"] < found["baselines"]["best_single_feature"]["rmse"] < 20
        assert sum(found["residuals"]["challenger"]) == 750
    else:
        assert names == ["floor", "majority", "majority_log_loss", "best_single_feature"]
        assert found["classes"] == list(CLASSES)
        assert sum(found["holdout"]["classes"].values()) == np.sum(found["confusion"]["challenger"]) == 750
    assert found["baselines"]["best_single_feature"]["feature"] == "weight"
    assert {one["value"] for one in found["slices"]} == {"air", "road", "sea", "null"}
    assert found["champion"] is None


@pytest.mark.parametrize("task", TASKS)
def test_a_good_challenger_passes_and_a_poisoned_one_is_refused(tmp_path: Path, task: str) -> None:
    promote(asked_night(tmp_path, task), 1)
    night, result = asked_night(tmp_path, task, SECOND).run(evaluate)
    assert result.status == "succeeded", result.reason
    found = evaluation_of(night)["champion"]
    second = "mae" if task == "regression" else "log_loss"
    assert set(found["gains"]) == {"deciding", second, "calibration"}
    ours, theirs = (found[name][METRIC[task]] for name in ("challenger_on_same_rows", "metrics"))
    sign = -1 if task == "regression" else 1
    assert found["gains"]["deciding"]["value"] == pytest.approx(sign * (ours - theirs), abs=1e-9)
    _, refused = asked_night(tmp_path, task, SECOND, shuffled=True).run(evaluate)
    assert (refused.status, refused.summary["verdict"]) == ("refused", "worse")
    assert "Champion v1 stays." in str(refused.reason)


@pytest.mark.parametrize("task", TASKS)
def test_scores_and_golden_rows_keep_their_shape(tmp_path: Path, task: str) -> None:
    promote(asked_night(tmp_path, task), 1)
    night, _ = asked_night(tmp_path, task, SECOND).run(evaluate)
    evaluated = night.io.given("evaluate")
    shape = (750,) if task == "regression" else (750, 3)
    scores = night.store.read_table(evaluated, "scores")
    for name in ("__challenger", "__champion"):
        assert from_column(scores.column(name)).shape == shape
        assert np.isfinite(from_column(scores.column(name))).all()
    golden = night.store.read_table(evaluated, "golden")
    again = Scorer.load(night.store.read(night.io.given("train"), "graph.onnx")).score(golden)
    assert np.array_equal(again, from_column(golden.column("__score")))


def test_rows_that_the_champion_learned_from_have_no_score_of_it(tmp_path: Path) -> None:
    for task in TASKS:
        root = tmp_path / task
        short, long = (
            asked_spec(task).model_copy(update={"window": asked_spec(task).window.model_copy(update={"holdout": days})})
            for days in (timedelta(days=2), timedelta(days=4))
        )
        both = {"holdout": answers(task), "training": answers(task)}
        promote(trained_night(root, plan=small_plan(root, FIRST, spec=short), **both), 1)
        night, _ = trained_night(root, plan=small_plan(root, SECOND, spec=long), **both).run(evaluate)
        scores = night.store.read_table(night.io.given("evaluate"), "scores")
        assert scores.column("__champion").null_count == 250
        assert evaluation_of(night)["champion"]["rows"] == 750


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("regression", "multiclass", "it was made for the task regression, and the spec says multiclass"),
        ("multiclass", "regression", "it was made for the task multiclass, and the spec says regression"),
    ],
)
def test_a_champion_of_another_task_is_not_compared(tmp_path: Path, before: str, after: str, words: str) -> None:
    promote(asked_night(tmp_path, before), 1)
    _, result = asked_night(tmp_path, after, SECOND).run(evaluate)
    assert (result.status, result.summary["verdict"]) == ("refused", "not_comparable")
    assert words in str(result.reason)


def test_a_champion_of_other_classes_is_not_compared(tmp_path: Path) -> None:
    promote(asked_night(tmp_path, "multiclass"), 1)
    spec = asked_spec("multiclass")
    renamed = spec.label.model_copy(update={"classes": ("early", "on_time", "late")})
    plan = small_plan(tmp_path, SECOND, spec=spec.model_copy(update={"label": renamed}))
    both = {"holdout": answers("multiclass"), "training": answers("multiclass")}
    _, result = trained_night(tmp_path, plan=plan, **both).run(evaluate)
    assert "it knows the classes early, planned, late, and the spec says early, on_time, late" in str(result.reason)


def test_a_holdout_without_one_of_the_trained_classes_is_not_compared(tmp_path: Path) -> None:
    promote(asked_night(tmp_path, "multiclass"), 1)

    def nobody_is_late(columns: dict[str, Any]) -> dict[str, Any]:
        told = answers("multiclass")(columns)
        return {**told, "__label": [min(label, 1) for label in told["__label"]]}

    plan = small_plan(tmp_path, SECOND, spec=asked_spec("multiclass"))
    night = trained_night(tmp_path, plan=plan, holdout=nobody_is_late, training=answers("multiclass"))
    _, result = night.run(evaluate)
    assert result.summary["verdict"] == "not_comparable"
    assert "the holdout has 0 rows of class late that neither has learned from, and it takes 30" in str(result.reason)


@pytest.mark.parametrize(("task", "words"), [("regression", "no finite number"), ("multiclass", "no distribution")])
def test_scores_that_are_no_numbers_fail_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, words: str
) -> None:
    night, score = asked_night(tmp_path, task), Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, data: score(self, data) * np.nan)
    with pytest.raises(ModelError, match=f"the challenger gives .*{words}.* for 750 of 750 rows"):
        night.run(evaluate)


@pytest.mark.parametrize(
    ("task", "words"), [("regression", "all of them are 3"), ("multiclass", "all of them are late")]
)
def test_a_holdout_of_one_value_fails_the_night(tmp_path: Path, task: str, words: str) -> None:
    plan, value = small_plan(tmp_path, spec=asked_spec(task)), 3.0 if task == "regression" else 2
    night = trained_night(
        tmp_path, plan=plan, holdout=lambda columns: {**columns, "__label": [value] * 750}, training=answers(task)
    )
    with pytest.raises(DataError, match=words):
        night.run(evaluate)


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_has_the_same_digest_wherever_it_is_made(tmp_path: Path, task: str) -> None:
    made = [asked_night(tmp_path / place, task).run(evaluate)[1].ref for place in ("here", "there")]
    assert made[0] == made[1]
