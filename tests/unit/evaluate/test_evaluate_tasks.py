"""What each kind of label measures: agreement with scikit-learn, laws of the gains, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nightshift.errors import DataError, ModelError
from nightshift.evaluate.gate import judge
from nightshift.evaluate.paired import Difference
from nightshift.evaluate.task import Judged, Task
from nightshift.evaluate.tasks import Binary, Multiclass, Regression, task_of
from nightshift.spec.gate_metrics import METRICS, allowed_for
from nightshift.spec.gates import Gates
from nightshift.spec.models import Features, Label

pytestmark = pytest.mark.thorough

Array = np.ndarray[Any, Any]
UNTIMED = settings(deadline=None)
CLASSES = ("red", "green", "blue")
MULTICLASS, REGRESSION = Multiclass(CLASSES), Regression()
SHARES = st.lists(st.integers(1, 6), min_size=3, max_size=3)
ROWS = st.lists(st.tuples(st.integers(0, 2), SHARES, SHARES, st.integers(0, 4)), max_size=80)
NUMBERS = st.floats(-50, 50, width=16)
MEASURED = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 4)), max_size=80)


def of_classes(rows: list[Any]) -> tuple[Array, Array, Array, Array]:
    """Labels, challenger, champion, days; every class and two days are always there."""
    all_ = [(0, [1, 2, 3], [3, 1, 1], 0), (1, [1, 1, 2], [1, 5, 1], 1), (2, [2, 1, 2], [1, 1, 6], 1), *rows]
    labels, ours, theirs, days = zip(*all_, strict=True)

    def even(shares: Any) -> Array:
        return np.array(shares, float) / np.sum(shares, axis=1, keepdims=True)

    return np.array(labels), even(ours), even(theirs), np.array(days)


def of_numbers(rows: list[Any]) -> tuple[Array, Array, Array, Array]:
    labels, ours, theirs, days = zip(*[(1.0, 2.0, 0.0, 0), (4.0, 2.5, 1.0, 1), *rows], strict=True)
    return np.array(labels), np.array(ours), np.array(theirs), np.array(days)


def gain_of(task: Task, metric: str, given_: tuple[Array, Array, Array, Array]) -> Difference:
    return task.gain(metric, *given_, confidence=0.95)


def direction(metric: str) -> int:
    return 1 if METRICS[metric].higher_is_better else -1


# -- gains ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc_ovr"])
@UNTIMED
@given(rows=ROWS)
def test_a_gain_of_classes_is_the_difference_that_scikit_learn_gives(metric: str, rows: list[Any]) -> None:
    labels, ours, theirs, days = of_classes(rows)

    def measured(scores: Array) -> float:
        if metric == "accuracy":
            return float(sk.accuracy_score(labels, scores.argmax(axis=1)))
        if metric == "log_loss":
            return float(sk.log_loss(labels, scores, labels=[0, 1, 2]))
        return float(sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro"))

    assert MULTICLASS.value(metric, labels, ours) == pytest.approx(measured(ours), abs=1e-9)
    expected = direction(metric) * (measured(ours) - measured(theirs))
    assert gain_of(MULTICLASS, metric, (labels, ours, theirs, days)).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
@UNTIMED
@given(rows=MEASURED)
def test_a_gain_of_numbers_is_the_difference_that_scikit_learn_gives(metric: str, rows: list[Any]) -> None:
    labels, ours, theirs, days = of_numbers(rows)
    measure = sk.root_mean_squared_error if metric == "rmse" else sk.mean_absolute_error
    expected = measure(labels, theirs) - measure(labels, ours)
    assert gain_of(REGRESSION, metric, (labels, ours, theirs, days)).value == pytest.approx(expected, abs=1e-9)
    assert REGRESSION.value(metric, labels, ours) == pytest.approx(measure(labels, ours), abs=1e-9)


@pytest.mark.parametrize("metric", ["rmse", "mae", "accuracy", "log_loss", "roc_auc_ovr"])
@UNTIMED
@given(data=st.data())
def test_turned_around_a_gain_is_a_loss_and_equal_scores_gain_nothing(metric: str, data: st.DataObject) -> None:
    numbers = metric in allowed_for("regression")
    task: Task = REGRESSION if numbers else MULTICLASS
    labels, ours, theirs, days = of_numbers(data.draw(MEASURED)) if numbers else of_classes(data.draw(ROWS))
    one, other = (gain_of(task, metric, (labels, *pair, days)) for pair in ((ours, theirs), (theirs, ours)))
    assert (one.value, one.error) == pytest.approx((-other.value, other.error), abs=1e-9)
    same = gain_of(task, metric, (labels, ours, ours, days))
    assert (same.value, same.error, same.standing(0.0)) == (0, 0, "not_worse")


@UNTIMED
@given(rows=MEASURED, shift=NUMBERS, scale=st.sampled_from([0.5, 2.0, 60.0]))
def test_a_gain_of_numbers_moves_with_the_unit_and_not_with_the_origin(
    rows: list[Any], shift: float, scale: float
) -> None:
    labels, ours, theirs, days = of_numbers(rows)
    for metric in ("rmse", "mae"):
        here = gain_of(REGRESSION, metric, (labels, ours, theirs, days))
        moved = [scale * array + shift for array in (labels, ours, theirs)]
        there = gain_of(REGRESSION, metric, (moved[0], moved[1], moved[2], days))
        assert (there.value, there.error) == pytest.approx((scale * here.value, scale * here.error), abs=1e-6)


def test_a_perfect_model_has_no_influence() -> None:
    labels, days = np.array([1.0, 2.0, 3.0, 5.0]), np.array([0, 0, 1, 1])
    found = REGRESSION.gain("rmse", labels, labels, labels + 1, days, confidence=0.95)
    assert (found.value, found.error) == (1.0, 0.0)


# -- nights that are made up -------------------------------------------------------------------------------------


def made_up_numbers(
    seed: int, *, days: int = 14, rows: int = 60, spread: float = 1.0
) -> tuple[Array, Array, Array, Array]:
    """Two models of equal worth; a cause of each day moves the errors of each of them, and their size.

    Args:
        seed: Of everything.
        days: How many.
        rows: Of a day.
        spread: How far a day moves all errors, whose own deviation is about 3.
    """
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    truth = 10 * random.normal(size=len(day))

    def model() -> Array:
        size = np.exp(0.15 * random.normal(size=days))[day]
        return truth + spread * random.normal(size=days)[day] + 3 * size * random.normal(size=len(day))

    return truth, model(), model(), day


def made_up_classes(
    seed: int, *, days: int = 14, rows: int = 60, spread: float = 0.8
) -> tuple[Array, Array, Array, Array]:
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    truth = random.normal(size=(len(day), 3)) * [1.0, 1.2, 0.8]
    labels = truth.argmax(axis=1)

    def model() -> Array:
        odds = np.exp(truth + spread * random.normal(size=(days, 3))[day] + random.normal(size=truth.shape))
        return odds / odds.sum(axis=1, keepdims=True)

    return labels, model(), model(), day


MADE_UP = [
    (REGRESSION, "rmse", made_up_numbers),
    (REGRESSION, "mae", made_up_numbers),
    (MULTICLASS, "accuracy", made_up_classes),
    (MULTICLASS, "log_loss", made_up_classes),
    (MULTICLASS, "roc_auc_ovr", made_up_classes),
]


@pytest.mark.parametrize(("task", "metric", "made_up"), MADE_UP)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_its_error_is_that_of_leaving_days_out(task: Task, metric: str, made_up: Any, seed: int) -> None:
    labels, ours, theirs, days = made_up(seed)
    left = []
    for day in np.unique(days):
        at = days != day
        one, other = (task.value(metric, labels[at], scores[at]) for scores in (ours, theirs))
        left.append(direction(metric) * (one - other))
    count = len(left)
    jackknife = math.sqrt((count - 1) / count * sum((value - np.mean(left)) ** 2 for value in left))
    assert gain_of(task, metric, (labels, ours, theirs, days)).error == pytest.approx(jackknife, rel=0.1)


@pytest.mark.parametrize(
    ("task", "metric", "made_up"), [one for one in MADE_UP if one[1] in ("rmse", "mae", "accuracy")]
)
def test_its_error_is_that_of_resampling_whole_days(task: Task, metric: str, made_up: Any) -> None:
    labels, ours, theirs, days = made_up(3, days=40)
    random, places = np.random.default_rng(5), [np.flatnonzero(days == day) for day in np.unique(days)]
    values = []
    for _ in range(200):
        at = np.concatenate([places[day] for day in random.integers(len(places), size=len(places))])
        values.append(task.value(metric, labels[at], ours[at]) - task.value(metric, labels[at], theirs[at]))
    assert gain_of(task, metric, (labels, ours, theirs, days)).error == pytest.approx(float(np.std(values)), rel=0.25)


NIGHTS = 1000


@pytest.mark.parametrize(("task", "metric", "made_up"), [one for one in MADE_UP if one[1] in ("rmse", "accuracy")])
def test_it_covers_the_truth_about_as_often_as_it_says(task: Task, metric: str, made_up: Any) -> None:
    """Seeded, so this is one number; 3,000 nights give 0.055 of RMSE and 0.054 of accuracy, and by row 0.31 and 0.13."""
    missed = {"day": 0, "row": 0}
    for seed in range(NIGHTS):
        labels, ours, theirs, days = made_up(seed)
        for unit, units in (("day", days), ("row", np.arange(len(days)))):
            found = task.gain(metric, labels, ours, theirs, units, confidence=0.95)
            missed[unit] += not found.lower <= 0 <= found.upper
    assert missed["day"] / NIGHTS == pytest.approx(0.05, abs=0.016)
    assert missed["row"] / NIGHTS > 0.1


# -- calibration and bias ----------------------------------------------------------------------------------------


def test_the_bias_of_a_known_case() -> None:
    """Two bins, one 2 too low and one 1 too high: it is 1.5 on average, though the mean error is small."""
    labels = np.concatenate([np.zeros(500), np.full(500, 10.0)])
    worse, days = np.concatenate([np.full(500, -2.0), np.full(500, 11.0)]), np.arange(1000) % 7
    found = REGRESSION.calibration_gain(labels, labels, worse, days, confidence=0.95)
    assert found.value == pytest.approx(1.5)
    assert REGRESSION.measure(labels, worse, None)["bias"] == pytest.approx(-0.5)


def test_the_calibration_of_classes_is_that_of_the_most_probable_one() -> None:
    """Says 0.9 and is right half of the time: 0.4 off; the other says 0.5 and is right half of the time."""
    labels, days = np.tile([0, 1], 500), np.arange(1000) % 7
    sure, fair = (np.tile([p, (1 - p) / 2, (1 - p) / 2], (1000, 1)) for p in (0.9, 0.5))
    assert MULTICLASS.calibration_gain(labels, fair, sure, days, confidence=0.95).value == pytest.approx(0.4)


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_finite_number_is_refused(bad: float) -> None:
    with pytest.raises(ModelError, match=r"the challenger .* no finite number for 1 of 3 rows; the first is row 1"):
        REGRESSION.require_scores(np.array([0.5, bad, 1e9], np.float32), of="the challenger")
    assert REGRESSION.require_scores(np.array([-1e9, 3], np.float32), of="x").dtype == np.float64


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.5, 0.5, 0.1], r"its probabilities sum to 1\.1"),
        ([0.5, 0.2, 0.1], r"its probabilities sum to 0\.8"),
        ([1.5, -0.25, -0.25], r"it has 1\.5 for class number 1"),
        ([0.5, np.nan, 0.5], "it has nan for class number 2"),
        ([0.5, 0.5, np.inf], "it has inf for class number 3"),
    ],
)
def test_rows_that_are_no_distribution_are_refused(row: list[float], words: str) -> None:
    scores = np.array([[0.2, 0.3, 0.5], row], np.float32)
    with pytest.raises(
        ModelError, match=rf"no distribution over the classes for 1 of 2 rows; the first is row 1: {words}"
    ):
        MULTICLASS.require_scores(scores, of="the challenger")


@pytest.mark.parametrize(("task", "shape"), [(MULTICLASS, (4,)), (MULTICLASS, (4, 2)), (REGRESSION, (4, 2))])
def test_scores_of_another_shape_are_refused(task: Task, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="scores of shape"):
        task.require_scores(np.full(shape, 0.5, np.float32), of="the challenger")


@UNTIMED
@given(st.lists(st.integers(0, 20).map(float), min_size=3, max_size=3).filter(any))
def test_probabilities_of_float32_sum_to_one_afterwards(shares: list[float]) -> None:
    given_ = (np.array([shares]) / sum(shares)).astype(np.float32)
    assert MULTICLASS.require_scores(given_, of="x").sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        (REGRESSION, [], "no labelled rows"),
        (REGRESSION, [2.5, 2.5], "all of them are 2.5"),
        (MULTICLASS, [], "no labelled rows"),
        (MULTICLASS, [1, 1, 1], "all of them are green"),
    ],
)
def test_a_degenerate_holdout_is_refused(task: Task, labels: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        task.require_labels(np.array(labels, float if task is REGRESSION else int), of="the holdout")


# -- baselines ---------------------------------------------------------------------------------------------------


def test_guesses_are_learned_from_the_training_window() -> None:
    found = REGRESSION.guess(np.array([0.0, 0.0, 9.0]), np.array([1.0, 5.0]))
    assert (found["mean"], found["median"], found["mae"]) == (3.0, 0.0, 3.0)
    assert found["rmse"] == pytest.approx(2.0)
    classes = MULTICLASS.guess(np.array([0, 0, 1, 1, 1, 2]), np.array([1, 0, 1]))
    assert (classes["class"], classes["roc_auc_ovr"]) == ("green", 0.5)
    assert classes["accuracy"] == pytest.approx(2 / 3)
    assert classes["log_loss"] == pytest.approx(-(2 * math.log(1 / 2) + math.log(1 / 3)) / 3)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_the_best_that_can_be_known_of_a_skewed_label_is_no_worse_than_a_guess(metric: str) -> None:
    """Few visitors buy anything. What each buys on average has a larger MAE than "nobody buys"."""
    random = np.random.default_rng(3)
    share = np.repeat([0.1, 0.3, 0.6], 2000)
    labels = np.where(random.random(len(share)) < share, random.exponential(100, len(share)), 0.0)
    middle = 100 * np.log(np.maximum(2 * share, 1))  # half of all labels are below
    answers = 100 * share if metric == "rmse" else middle
    challenger = REGRESSION.measure(labels, answers, None)
    guess = REGRESSION.guess(labels, labels)
    if metric == "rmse":
        assert challenger["mae"] > guess["mae"], "and yet it is as good as a model can be"
    single = {"feature": "visits", "rmse": 1000.0, "mae": 1000.0}
    gates = Gates.model_validate({"metric": metric, "maximum": 100, "versus_champion": {"margin": 1}})
    found = judge(challenger, {"majority": guess, "best_single_feature": single}, None, gates)
    assert (found.status, [check.name for check in found.checks]) == (
        "succeeded", ["ceiling", "constant", "best_single_feature"],
    )  # fmt: skip


def frame(seed: int, rows: int) -> pd.DataFrame:
    """A number that says most, a text that says less, a number of nothing; with nulls."""
    random = np.random.default_rng(seed)
    near, level = random.normal(size=rows), random.choice(["a", "b", "c"], rows)
    score = 3 * near + (level == "b") + 0.5 * random.normal(size=rows)
    near[::50], level = np.nan, np.where(np.arange(rows) % 40 == 0, None, level)
    label = np.where(score < -1.5, 0, np.where(score < 1.5, 1, 2))
    return pd.DataFrame(
        {"near": near, "noise": random.normal(size=rows), "level": level, "__label": label, "score": score}
    )


FEATURES = Features(numeric=("noise", "near"), categorical=("level",))


def test_the_best_single_feature_of_classes() -> None:
    train, holdout = frame(1, 2000), frame(2, 500)
    for metric in allowed_for("multiclass"):
        found = MULTICLASS.single_feature(train, holdout, FEATURES, metric)
        assert found.evidence["feature"] == "near"
        assert found.evidence["accuracy"] > 0.8
        assert found.answers.shape == (500, 3)
        assert found.evidence[metric] == MULTICLASS.value(metric, holdout["__label"].to_numpy(), found.answers)


def test_the_best_single_feature_of_numbers() -> None:
    train, holdout = (rows.assign(__label=rows["score"]) for rows in (frame(1, 2000), frame(2, 500)))
    found = REGRESSION.single_feature(train, holdout, FEATURES, "rmse")
    assert found.evidence["feature"] == "near"
    assert 0.4 < found.evidence["rmse"] < 1.2
    by_level = REGRESSION.single_feature(train, holdout.assign(level="new"), Features(categorical=("level",)), "mae")
    assert by_level.answers == pytest.approx(train["__label"].mean())


# -- rows that it takes ------------------------------------------------------------------------------------------


def test_rows_of_every_class_that_training_has_are_required() -> None:
    labels, trained = np.array([0] * 300 + [1] * 10), np.array([0, 0, 2, 0])
    assert list(MULTICLASS.required_rows(labels, 200, trained)) == [
        (300, 200, "rows of class red"),
        (0, 200, "rows of class blue"),
    ]
    assert list(REGRESSION.required_rows(labels, 200, trained)) == []
    assert [found for found, _, _ in Binary().required_rows(labels, 200, trained)] == [10, 300]


def test_which_slices_are_large() -> None:
    assert [REGRESSION.is_large(np.zeros(rows)) for rows in (499, 500)] == [False, True]
    for sizes, large in (((450, 50, 0), True), ((450, 49, 1), False), ((400, 49, 0), False), ((600, 0, 0), False)):
        assert MULTICLASS.is_large(np.repeat([0, 1, 2], sizes)) is large


def test_a_handful_of_rows_does_not_sway_the_mean_auc() -> None:
    """In a slice, a class of three rows does not count as much as one of hundreds."""
    labels = np.repeat([0, 1, 2], (300, 300, 3))
    scores = np.eye(3)[np.repeat([0, 1, 0], (300, 300, 3))] * 0.8 + 0.2 / 3
    assert MULTICLASS.value("roc_auc_ovr", labels, scores) > 0.99


def test_the_task_is_that_of_the_label() -> None:
    assert isinstance(task_of(Label(column="late", positive=">= 1")), Binary)
    assert isinstance(task_of(Label(column="late", task="regression")), Regression)
    assert task_of(Label(column="late", task="multiclass", classes=CLASSES)) == MULTICLASS


# -- what is drawn -----------------------------------------------------------------------------------------------


@UNTIMED
@given(rows=ROWS)
def test_confusions_count_every_row(rows: list[Any]) -> None:
    labels, ours, theirs, _ = of_classes(rows)
    drawn = MULTICLASS.drawings(Judged(labels, ours), Judged(labels[1:], theirs[1:]), ours)
    assert np.sum(drawn["confusion"]["challenger"]) == len(labels)
    assert np.sum(drawn["confusion"]["champion"]) == len(labels) - 1
    assert np.trace(drawn["confusion"]["challenger"]) == round(MULTICLASS.value("accuracy", labels, ours) * len(labels))
    assert sum(one["rows"] for one in drawn["calibration"]["challenger"]) == len(labels)


@UNTIMED
@given(rows=MEASURED)
def test_residuals_and_bins_count_every_row(rows: list[Any]) -> None:
    labels, ours, theirs, _ = of_numbers(rows)
    drawn = REGRESSION.drawings(Judged(labels, ours), Judged(labels[1:], theirs[1:]), ours)
    assert sum(drawn["residuals"]["challenger"]) == len(labels)
    assert sum(drawn["residuals"]["champion"]) == len(labels) - 1
    assert drawn["residuals"]["edges"][0] == -drawn["residuals"]["edges"][-1]
    bins = drawn["calibration"]["challenger"]
    assert sum(one["rows"] for one in bins) == len(labels)
    assert all(one["low"] <= one["high"] for one in bins)
    assert REGRESSION.drawings(Judged(labels, ours), None, ours)["residuals"]["champion"] is None
