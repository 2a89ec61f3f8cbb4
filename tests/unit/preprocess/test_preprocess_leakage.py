"""The AUC of one feature alone: the library's number, whatever the column holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nightshift.preprocess.label_shift import Labels, check_labels, cohens_h
from nightshift.preprocess.leakage import FEWEST, Window, auc, strength, strengths
from nightshift.preprocess.shift import Strength, check_strength, check_unseen
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.models import Label

LATE = Label(column="late", positive="== yes")
ROWS = 4 * FEWEST


def drawn(seed: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    positive = np.arange(ROWS) % 3 == 0
    return chance.integers(0, levels, ROWS).astype(float) + positive * chance.integers(0, 2, ROWS), positive


@given(st.integers(0, 1000), st.integers(1, 50))
def test_it_is_the_librarys_auc(seed: int, levels: int) -> None:
    values, positive = drawn(seed, levels)
    assert auc(values, positive) == pytest.approx(roc_auc_score(positive, values))


@given(st.integers(0, 1000), st.integers(1, 50))
def test_ranks_alone_count_and_turning_round_mirrors(seed: int, levels: int) -> None:
    values, positive = drawn(seed, levels)
    found = auc(values, positive)
    assert found is not None
    assert auc(np.exp(values / 10) + 5, positive) == pytest.approx(found)
    assert auc(-values, positive) == pytest.approx(1 - found)


def test_whichever_way_it_points_it_is_as_strong() -> None:
    values, positive = drawn(3, 9)
    expected = pytest.approx(roc_auc_score(positive, values))
    assert strength("binary", values, positive) == strength("binary", -values, positive) == expected
    assert strength("regression", values, values) == strength("regression", values, -values) == pytest.approx(1)
    classes = np.arange(6 * FEWEST) % 3
    # Of three classes in a row, the values tell the outer ones from the rest and the middle one not at all.
    assert strength("multiclass", classes.astype(float), classes) == pytest.approx((1 + 0.5 + 1) / 3)


def test_few_rows_of_a_class_say_nothing() -> None:
    positive = np.arange(FEWEST + 40) < FEWEST - 1
    assert auc(np.arange(len(positive)).astype(float), positive) is None


COLUMNS: st.SearchStrategy[list[Any]] = st.one_of(
    st.lists(st.none() | st.integers(-5, 5), min_size=ROWS, max_size=ROWS),
    st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), min_size=ROWS, max_size=ROWS),
    st.lists(st.none() | st.sampled_from(["a", "b", ""]), min_size=ROWS, max_size=ROWS),
    st.just([None] * ROWS),
)


@settings(max_examples=40)
@given(COLUMNS, st.randoms(use_true_random=False))
def test_every_column_has_a_strength_between_a_half_and_one(values: list[Any], chance: Any) -> None:
    kind = pa.string() if any(isinstance(value, str) for value in values) else pa.float64()
    positive = np.array([chance.random() < 0.5 for _ in range(ROWS)])
    positive[: 2 * FEWEST] = np.arange(2 * FEWEST) % 2 == 0
    window = Window(pa.chunked_array([pa.array(values, kind)]), positive, np.arange(ROWS) % 4)
    for found in strengths(window, window):
        assert found is None or 0.5 <= found <= 1


def test_the_label_itself_is_seen_whole_in_numbers_texts_and_nulls() -> None:
    positive = np.arange(ROWS) % 2 == 0
    days = np.arange(ROWS) // 2 % 4
    for values in (
        pa.array(positive.astype(float)),
        pa.array(np.where(positive, "late", "early")),
        pa.array(np.where(positive, np.nan, 1.0), from_pandas=True),
        pa.array(np.where(positive, 0.0, np.where(days > 1, -1.0, 1.0))),
    ):
        window = Window(pa.chunked_array([values]), positive, days)
        assert min(value or 0 for value in strengths(window, window)) > 0.95


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_distance_of_shares_is_a_distance(one: float, other: float) -> None:
    assert cohens_h(one, other) == pytest.approx(cohens_h(other, one))
    assert cohens_h(one, one) == 0
    assert cohens_h(one, other) == pytest.approx(cohens_h(1 - one, 1 - other), abs=1e-6)


def test_labels_are_compared_only_where_there_are_enough() -> None:
    assert list(check_labels(Labels(49, (10,), 60), Labels(1000, (900,), 14), [[0.9]], DataChecks(), LATE)) == []
    [check] = check_labels(Labels(1000, (100,), 60), Labels(1000, (900,), 14), [], DataChecks(), LATE)
    assert not check.passed
    assert check.text.startswith(
        "late: 90.0% of the holdout are positive, 10.0% of the training window, which is 1.85 as Cohen's h"
    )


def test_labels_of_short_windows_may_move_further() -> None:
    train = Labels(1000, (120,), 60)
    for days, passed in ((14, False), (3, True)):
        [check] = check_labels(train, Labels(1000, (430,), days), [], DataChecks(), LATE)
        assert check.passed == passed
    [holdout, history] = check_labels(Labels(1000, (430,), 7), Labels(1000, (430,), 14), [[0.12]], DataChecks(), LATE)
    assert (holdout.passed, history.passed, history.bound) == (True, True, 0.9)


def names(train: Strength, holdout: Strength, earlier: list[float], *, known: bool = False) -> dict[str, bool]:
    found = check_strength("x", (train, holdout), earlier, DataChecks(), known_strong=known)
    return {check.name: check.passed for check in found}


def test_short_windows_are_held_against_a_wider_bound() -> None:
    assert names(Strength(0.81, 10), Strength(None, 3), []) == {"leakage.x": False}
    assert names(Strength(0.81, 9), Strength(0.89, 3), []) == {"leakage.x": True}
    assert names(Strength(0.91, 9), Strength(None, 3), []) == {"leakage.x": False}
    assert names(Strength(None, 60), Strength(None, 14), [0.9]) == {}


def test_a_strong_feature_is_held_against_its_past() -> None:
    assert names(Strength(0.9, 60), Strength(0.74, 14), [0.9], known=True) == {
        "association.holdout.x": False,
        "association.history.x": True,
    }
    assert names(Strength(0.9, 60), Strength(0.6, 9), [0.6], known=True) == {"association.history.x": False}
    assert names(Strength(0.6, 60), Strength(0.69, 14), [0.5], known=True) == {}
    assert names(Strength(0.9, 9), Strength(0.6, 14), [0.6], known=True) == {}


def test_unseen_categories_are_named() -> None:
    train, holdout = pa.chunked_array([["a", "b", None] * 20]), pa.chunked_array([["a", "x", "y", None] * 20])
    [check] = check_unseen("kind", train, holdout, DataChecks())
    assert (check.passed, check.value) == (False, pytest.approx(2 / 3, abs=1e-4))
    assert "such as 'x', 'y'" in check.text
    assert list(check_unseen("kind", train, holdout.slice(0, 20), DataChecks())) == []
