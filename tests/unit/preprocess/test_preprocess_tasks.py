"""Leaks and moved labels where a class of several, or a number, is the label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from nightshift.preprocess.label_shift import Labels, check_labels
from nightshift.preprocess.leakage import FEWEST, Window, concordance, strength, strengths
from nightshift.preprocess.shift import Strength, check_strength
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.models import Label

pytestmark = pytest.mark.thorough

ROWS = 8 * FEWEST
PORT = Label(column="port", task="multiclass", classes=("EWR", "JFK", "LGA"))
MINUTES = Label(column="minutes", task="regression")


def window(values: Any, labels: np.ndarray, task: Any) -> Window:
    return Window(pa.chunked_array([pa.array(values, from_pandas=True)]), labels, np.arange(len(labels)) // 2 % 4, task)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 50))
def test_the_correlation_is_the_librarys(seed: int, levels: int, others: int) -> None:
    chance = np.random.default_rng(seed)
    values, labels = chance.integers(0, levels, ROWS).astype(float), chance.integers(0, others, ROWS).astype(float)
    found = concordance(values, labels)
    if len(set(values)) == 1 or len(set(labels)) == 1:
        assert found == 0.5
        return
    assert found == pytest.approx((1 + spearmanr(values, labels).statistic) / 2)
    assert concordance(-values, labels) == pytest.approx(1 - found)
    assert concordance(np.exp(values / 10), labels) == pytest.approx(found)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_several_classes_count_alike(seed: int) -> None:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 3, ROWS)
    values = labels + chance.normal(size=ROWS)
    of_each = [roc_auc_score(labels == place, values) for place in range(3)]
    assert strength("multiclass", values, labels) == pytest.approx(np.mean([max(auc, 1 - auc) for auc in of_each]))


def test_few_rows_say_nothing() -> None:
    labels = np.arange(2 * FEWEST - 1)
    assert strength("regression", labels.astype(float), labels) is None
    assert strength("multiclass", np.arange(60.0), np.arange(60) % 3) is None


@settings(deadline=None)
@given(st.sampled_from(["multiclass", "regression"]), st.integers(0, 100), st.floats(0, 1))
def test_a_strength_lies_between_a_half_and_one(task: Any, seed: int, missing: float) -> None:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 4, ROWS)
    values = np.where(chance.random(ROWS) < missing, np.nan, chance.normal(size=ROWS) + labels)
    for column in (values, np.where(np.isnan(values), None, chance.choice(["a", "b"], ROWS))):
        for found in strengths(window(column, labels, task), window(column, labels, task)):
            assert found is None or 0.5 <= found <= 1


@pytest.mark.parametrize(("task", "classes"), [("multiclass", 3), ("regression", 100)])
def test_the_label_itself_is_seen_in_numbers_and_texts(task: Any, classes: int) -> None:
    chance = np.random.default_rng(1)
    labels = chance.integers(0, classes, ROWS)
    groups = labels if task == "multiclass" else labels // 10
    turned = (labels + 50.0) % 100  # no rank tells it: half of the values lie on the wrong side
    for values in (labels.astype(float), np.array([f"<{group}>" for group in groups]), turned):
        there = window(values, labels, task)
        assert min(value or 0 for value in strengths(there, there)) > 0.9
    noise = (window(chance.normal(size=ROWS), labels, task) for _ in range(2))
    assert max(value or 0 for value in strengths(*noise)) < 0.65


def only(checks: Any) -> Any:
    [check] = checks
    return check


def test_a_leak_is_told_in_the_words_of_the_task() -> None:
    for task, told in (
        ("regression", "alone it has a rank correlation of 0.900 (0.6 may be)"),
        ("multiclass", "alone it has a mean AUC over the classes of 0.950 (0.8 may be)"),
    ):
        strong = Strength(0.95, 60, task)  # type: ignore[arg-type]
        check = only(check_strength("x", (strong, Strength(None, 3, task)), [], DataChecks(), known_strong=False))  # type: ignore[arg-type]
        assert (check.name, check.passed) == ("leakage.x", False)
        assert told in check.text


def test_a_strong_feature_that_says_less_is_seen() -> None:
    given = (Strength(0.95, 60, "regression"), Strength(0.7, 14, "regression"))
    check = only(check_strength("x", given, [], DataChecks(), known_strong=True))
    assert (check.name, check.passed, check.bound) == ("association.holdout.x", False, 0.3)
    assert "a rank correlation of 0.400 in the holdout, 0.900 in the training window" in check.text


def test_the_share_that_moved_most_is_named() -> None:
    train, holdout = Labels(1000, (500, 300, 200), 60), Labels(1000, (500, 50, 450), 14)
    check = only(check_labels(train, holdout, [], DataChecks(), PORT))
    assert (check.name, check.passed) == ("label_shift.holdout.port", False)
    assert "5.0% of the holdout are JFK, 30.0% of the training window" in check.text
    assert only(check_labels(train, train, [], DataChecks(), PORT)).passed


def test_a_class_of_earlier_nights_is_held_against_their_median() -> None:
    train = Labels(1000, (500, 300, 200), 60)
    earlier = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]]
    found = list(check_labels(train, train, earlier, DataChecks(), PORT))
    assert [(check.name, check.passed) for check in found] == [
        ("label_shift.holdout.port", True), ("label_shift.history.port", True),
    ]  # fmt: skip


def test_a_mean_that_moved_is_seen_in_its_own_unit() -> None:
    chance = np.random.default_rng(2)
    usual = Labels.of(chance.normal(150, 90, 5000), 60, MINUTES)
    assert only(
        check_labels(usual, Labels.of(chance.normal(160, 90, 2000), 14, MINUTES), [], DataChecks(), MINUTES)
    ).passed
    in_hours = Labels.of(chance.normal(150, 90, 2000) / 60, 14, MINUTES)
    check = only(check_labels(usual, in_hours, [], DataChecks(), MINUTES))
    assert not check.passed
    assert "its mean is 2." in check.text
    assert "standard deviations (0.6 may be)" in check.text


@given(st.floats(-1e6, 1e6), st.floats(0.1, 1e6), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_the_distance_of_numbers_does_not_know_their_unit(
    mean: float, spread: float, shift: float, unit: float
) -> None:
    def moved(factor: float) -> float:
        train = Labels(1000, (factor * mean, factor * spread), 60)
        there = Labels(1000, (factor * (mean + shift), factor * spread), 60)
        return float(only(check_labels(train, there, [], DataChecks(), MINUTES)).value)

    assert moved(unit) == pytest.approx(moved(1.0), rel=1e-3, abs=1e-3)


def test_means_over_different_classes_are_not_held_against_each_other() -> None:
    chance = np.random.default_rng(4)
    labels = chance.integers(0, 4, ROWS)
    values = chance.normal(size=ROWS) + 3 * (labels == 0)  # strong for one class, noise for the others
    few = np.where(labels == 0, chance.random(ROWS) < 1, chance.random(ROWS) < 0.2)
    train, holdout = window(values, labels, "multiclass"), window(values[few], labels[few], "multiclass")
    inside, outside = strengths(train, holdout)
    assert inside is not None
    assert outside is None
    assert strengths(train, train)[1] is not None
