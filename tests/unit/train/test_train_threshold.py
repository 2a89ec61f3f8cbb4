"""The threshold with the largest F1 score, against trying them all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.train.threshold import Ranking, as_float32, max_f1

ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=40).filter(
    lambda rows: any(positive for positive, _ in rows)
)


def f1(labels: np.ndarray, called: np.ndarray) -> float:
    return 2 * (labels & called).sum() / (labels.sum() + called.sum())


@given(ROWS)
def test_no_other_threshold_has_a_larger_f1(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([positive for positive, _ in rows])
    probabilities = np.array([probability for _, probability in rows], np.float32)

    threshold = max_f1(Ranking.of(labels.astype(np.int8), probabilities))

    assert 0 < threshold <= 1
    assert threshold == float(np.float32(threshold))
    inside = np.unique(probabilities[probabilities > 0])
    best = max((f1(labels, probabilities >= value) for value in inside), default=0.0)
    assert f1(labels, probabilities >= np.float32(threshold)) >= best - 1e-12


def test_threshold_lies_halfway_between_two_probabilities() -> None:
    labels = np.array([0, 0, 1, 1], np.int8)

    assert max_f1(Ranking.of(labels, np.array([0.1, 0.25, 0.75, 0.9], np.float32))) == 0.5


def test_equal_scores_choose_the_highest_threshold() -> None:
    labels = np.array([1, 0, 0, 1], np.int8)  # called 1: F1 2/3, called all: F1 2/3

    assert max_f1(Ranking.of(labels, np.array([0.75, 0.5, 0.375, 0.25], np.float32))) == 0.625


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_threshold_stays_between_zero_and_one(value: float) -> None:
    assert 0 < max_f1(Ranking.of(np.array([1, 0], np.int8), np.array([value, value], np.float32))) < 1


def test_a_threshold_of_the_spec_is_rounded_to_what_the_graph_compares_with() -> None:
    assert as_float32(0.3) == float(np.float32(0.3)) != 0.3


@given(ROWS, st.sampled_from([10, 1000]))
def test_groups_of_neighbours_cost_no_more_than_the_thresholds_inside_them(
    rows: list[tuple[bool, float]], steps: int
) -> None:
    labels = np.array([positive for positive, _ in rows], np.int64)
    probabilities = np.array([probability for _, probability in rows], np.float32)
    step = np.floor(probabilities.astype(np.float64) * steps)
    groups = [step == value for value in sorted(set(step), reverse=True)]
    ranking = Ranking(
        np.array([probabilities[group].max() for group in groups]),
        np.array([probabilities[group].min() for group in groups]),
        np.array([group.sum() for group in groups]),
        np.array([labels[group].sum() for group in groups]),
    )

    threshold = np.float32(max_f1(ranking))

    assert 0 < threshold <= 1
    between = [probabilities[group].min() for group in groups if probabilities[group].min() > 0]
    best = max((f1(labels == 1, probabilities >= value) for value in between), default=0.0)
    assert f1(labels == 1, probabilities >= threshold) >= best - 1e-12
    # A threshold must be above 0, so only a group that has a probability of 0 can be divided.
    for group in groups:
        if probabilities[group].min() > 0:
            assert len(set(probabilities[group] >= threshold)) == 1
