"""The AUC of one feature alone: the library's number, whatever the column holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nightshift.ledger.blessings import Check
from nightshift.preprocess.label_shift import Labels, check_labels, cohens_h
from nightshift.preprocess.leakage import FEWEST, Window, auc, strength, strengths
from nightshift.preprocess.shift import Strength, check_strength, check_unseen
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.models import Label

pytestmark = pytest.mark.thorough

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


@pytest.mark.parametrize(
    ("usual", "now", "passed"),
    [
        (0.70, 0.8499, True),
        (0.70, 0.8501, False),
        (0.60, 0.7501, False),
        (0.90, 0.9499, True),
        (0.90, 0.9501, False),
        (0.99, 0.9951, False),
        (0.9999, 1.0, True),
        (0.9981, 1.0, True),
        (0.997, 1.0, False),
        (0.95, 0.8001, True),
        (0.95, 0.7999, False),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_strong_feature_may_win_half_of_what_it_lacks_from_night_to_night(
    usual: float, now: float, passed: bool, known: bool
) -> None:
    dials = DataChecks(leakage=1.0)
    [*_, check] = check_strength("x", (Strength(now, 60), Strength(None, 14)), [usual], dials, known_strong=known)
    assert (check.name, check.passed) == ("association.history.x", passed)


@pytest.mark.parametrize(
    ("train", "holdout", "passed"),
    [(0.7, 0.8499, True), (0.7, 0.8501, False), (0.91, 0.9699, True), (0.91, 0.9701, False)],
)
def test_a_holdout_of_few_days_may_rise_a_little_further(train: float, holdout: float, passed: bool) -> None:
    assert names(Strength(train, 60), Strength(holdout, 14), [], known=True) == {"association.holdout.x": passed}


def test_a_rise_is_told_with_what_may_be_and_follows_the_dial() -> None:
    given = (Strength(0.97, 60), Strength(None, 14))
    [check] = check_strength("x", given, [0.9], DataChecks(), known_strong=True)
    assert (check.passed, check.value, check.bound) == (False, 0.07, 0.05)
    assert check.text.startswith(
        "x: alone it has an AUC of 0.970 in the training window, 0.900 in 1 earlier night (0.05 more may be): did it "
        "begin to hold the outcome?"
    )
    [wide] = check_strength("x", given, [0.9], DataChecks(association=0.3), known_strong=True)
    assert wide.passed
    relaxed = DataChecks(relaxed={"x": ("association",)})
    assert [*check_strength("x", given, [0.9], relaxed, known_strong=True)] == []


def test_a_rise_of_a_rank_correlation_is_judged_on_its_own_scale() -> None:
    def check(usual: float, now: float) -> Check:
        given = (Strength((1 + now) / 2, 60, "regression"), Strength(None, 14, "regression"))
        [found] = check_strength("x", given, [(1 + usual) / 2], DataChecks(), known_strong=True)
        return found

    assert (check(0.8, 0.899).passed, check(0.8, 0.901).passed, check(0.8, 0.91).bound) == (True, False, 0.1)
    assert (check(0.4, 0.699).passed, check(0.4, 0.701).passed) == (True, False)


def test_unseen_categories_are_named() -> None:
    train, holdout = pa.chunked_array([["a", "b", None] * 20]), pa.chunked_array([["a", "x", "y", None] * 20])
    [check] = check_unseen("kind", train, holdout, DataChecks())
    assert (check.passed, check.value) == (False, pytest.approx(2 / 3, abs=1e-4))
    assert "such as 'x', 'y'" in check.text
    assert list(check_unseen("kind", train, holdout.slice(0, 20), DataChecks())) == []
