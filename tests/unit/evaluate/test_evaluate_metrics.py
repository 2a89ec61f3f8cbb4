"""Metrics, curves and baselines on rows whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import DataError, ModelError
from nightshift.evaluate import baselines, metrics
from nightshift.spec.models import Features


def test_metrics_of_a_small_confusion() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    found = metrics.metrics(labels, np.array([0.1, 0.2, 0.8, 0.7, 0.3]), threshold=0.7)
    assert found["confusion"] == {"tn": 2, "fp": 1, "fn": 1, "tp": 1}
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert (found["rows"], found["positives"], found["mean_score"]) == (5, 2, 0.42)
    assert found["roc_auc"] == round(4 / 6, 10)


def test_no_positive_call_is_no_warning() -> None:
    found = metrics.metrics(np.array([0, 1]), np.array([0.1, 0.2]), threshold=0.9)
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.5, -0.1])
def test_a_score_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ModelError, match=r"the challenger .* 1 of 3 rows; the first is row 1"):
        metrics.require_scores(np.array([0.5, bad, 1.0], np.float32), of="the challenger")


@pytest.mark.parametrize(
    ("labels", "words"), [([], "no labelled rows"), ([0, 0], "all of them are negative"), ([1], "positive")]
)
def test_a_degenerate_holdout_is_refused(labels: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        metrics.require_labels(np.array(labels, np.int8), of="the holdout")


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=16)), min_size=2, max_size=400))
def test_curves_hold_for_any_scores(rows: list[tuple[int, float]]) -> None:
    labels = np.array([0, 1, *(label for label, _ in rows)])
    scores = np.array([0.5, 0.5, *(score for _, score in rows)])

    points = metrics.roc_points(labels, scores)
    assert points[0] == [0, 0]
    assert points[-1] == [1, 1]
    assert len(points) <= metrics.ROC_POINTS
    assert points == sorted(points)

    bins = metrics.calibration(labels, scores)
    assert 1 <= len(bins) <= metrics.CALIBRATION_BINS
    assert sum(one["rows"] for one in bins) == len(labels)
    assert all(one["lower"] - 1e-9 <= one["predicted"] <= one["upper"] + 1e-9 for one in bins)

    drawn = metrics.histogram(labels, scores)
    assert sum(drawn["negative"]) + sum(drawn["positive"]) == len(labels)
    assert sum(drawn["positive"]) == labels.sum()


def test_majority_answers_with_the_training_share() -> None:
    found = baselines.majority(np.array([1, 0, 0, 0]), np.array([0, 1]))
    assert found["rate"] == 0.25
    assert found["log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_the_best_single_feature_is_chosen_and_turned_on_the_training_rows() -> None:
    train = frame(
        __label=[1, 1, 0, 0], early=[1.0, 2.0, 3.0, None], noise=[0.0, 1.0, 0.0, 1.0], lane=["a", "b", "a", "b"]
    )
    holdout = frame(__label=[0, 1, 0], early=[1.0, 2.0, 3.0], noise=[0.0, 0.0, 1.0], lane=["a", "c", None])
    features = Features(numeric=("noise", "early"), categorical=("lane",))
    best, ranking = baselines.best_single_feature(train, holdout, features)
    assert (best["feature"], best["orientation"]) == ("early", "lower")
    assert best["train_roc_auc"] == 0.875
    assert best["roc_auc"] == 0.5
    assert ranking.tolist() == [-1.0, -2.0, -3.0]


def test_a_category_ranks_by_its_share_of_positives() -> None:
    train = frame(__label=[1, 1, 0, 0, 1], lane=["a", "a", "b", "b", None])
    holdout = frame(__label=[1, 0, 1], lane=["a", "b", "unseen"])
    best, ranking = baselines.best_single_feature(train, holdout, Features(categorical=("lane",)))
    assert (best["feature"], best["roc_auc"]) == ("lane", 1.0)
    assert ranking.tolist() == [1.0, 0.0, 0.6]


def test_a_feature_without_any_value_ranks_nothing() -> None:
    train = frame(__label=[1, 0], empty=[None, None]).astype({"empty": "float64"})
    holdout = frame(__label=[1, 0], empty=[float("inf"), None])
    best, _ = baselines.best_single_feature(train, holdout, Features(numeric=("empty",)))
    assert best["train_roc_auc"] == 0.5
