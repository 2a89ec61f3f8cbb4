"""The interval by day: its laws, its agreement with resampling whole days, and how often it covers the truth."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from nightshift.evaluate.comparison import compare_scores
from nightshift.evaluate.paired import (
    Difference,
    auc_gain,
    calibration_losses,
    log_losses,
    mean_gain,
    placements,
)
from nightshift.evaluate.tasks.binary import Binary
from nightshift.spec.gates import Gates

pytestmark = pytest.mark.thorough

Array = np.ndarray[Any, Any]
# Few values, so that ties are common.
GRID = st.integers(0, 8).map(lambda number: number / 8)
ROWS = st.lists(st.tuples(st.integers(0, 1), GRID, GRID, st.integers(0, 4)), min_size=0, max_size=120)


def arrays(rows: list[tuple[int, float, float, int]]) -> tuple[Array, Array, Array, Array]:
    """Both classes and two days are always there."""
    labels, ours, theirs, days = zip(*[(0, 0.25, 0.5, 0), (1, 0.5, 0.25, 1), *rows], strict=True)
    return np.array(labels), np.array(ours), np.array(theirs), np.array(days)


def gain(labels: Array, ours: Array, theirs: Array, days: Array, *, confidence: float = 0.95) -> Difference:
    return auc_gain(labels, ours, theirs, days, confidence=confidence)


@given(ROWS)
def test_it_is_the_difference_that_scikit_learn_gives(rows: list[tuple[int, float, float, int]]) -> None:
    labels, ours, theirs, days = arrays(rows)
    expected = roc_auc_score(labels, ours) - roc_auc_score(labels, theirs)
    assert gain(labels, ours, theirs, days).value == pytest.approx(expected, abs=1e-9)
    placed = placements(labels, ours)
    assert placed[labels == 1].mean() == pytest.approx(placed[labels == 0].mean())


@given(ROWS)
def test_turned_around_it_is_the_same_with_the_other_sign(rows: list[tuple[int, float, float, int]]) -> None:
    labels, ours, theirs, days = arrays(rows)
    one, other = gain(labels, ours, theirs, days), gain(labels, theirs, ours, days)
    assert (one.value, one.error) == (-other.value, other.error)
    assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower), abs=1e-9)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_names_of_days_do_not_matter(
    rows: list[tuple[int, float, float, int]], random: Any
) -> None:
    mixed = [(0, 0.25, 0.5, 0), (1, 0.5, 0.25, 1), *rows]
    found = gain(*(np.array(column) for column in zip(*mixed, strict=True)))
    random.shuffle(mixed)
    labels, ours, theirs, days = (np.array(column) for column in zip(*mixed, strict=True))
    again = gain(labels, ours, theirs, 15_000 - days)
    assert (again.value, again.days) == (found.value, found.days)
    assert again.error == pytest.approx(found.error, abs=1e-9)


@given(ROWS)
def test_equal_scores_differ_by_nothing_and_surely(rows: list[tuple[int, float, float, int]]) -> None:
    labels, ours, _, days = arrays(rows)
    found = gain(labels, ours, ours, days)
    assert (found.value, found.error, found.lower, found.upper) == (0, 0, 0, 0)
    assert found.standing(0.0) == "not_worse"


@given(ROWS)
def test_only_the_order_of_scores_counts(rows: list[tuple[int, float, float, int]]) -> None:
    labels, ours, theirs, days = arrays(rows)
    assert gain(labels, ours**3, 5 * theirs, days) == gain(labels, ours, theirs, days)


@given(ROWS)
def test_losses_are_those_of_scikit_learn(rows: list[tuple[int, float, float, int]]) -> None:
    labels, ours, _, _ = arrays(rows)
    ours = np.clip(ours, 0.01, 0.99)
    assert log_losses(labels, ours).mean() == pytest.approx(log_loss(labels, ours, labels=[0, 1]))
    assert calibration_losses(labels, ours).mean() >= 0


def test_a_sure_mistake_costs_much_but_not_everything() -> None:
    losses = log_losses(np.array([1, 0, 1, 0]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert losses.tolist() == [-math.log(2.0**-23)] * 2 + [0.0, 0.0]


def test_each_tenth_of_the_rows_is_a_bin_of_its_own() -> None:
    """Neighbouring bins are off in opposite directions, and the row at the edge is off against its bin: a row that is put
    elsewhere adds with the other sign."""
    scores = np.arange(101.0)
    places = np.minimum(scores // 10, 9).astype(int)
    signs = np.where(places % 2 == 0, 1.0, -1.0)
    at_edge = (scores % 10 == 0) & (scores > 0)
    distances = np.where(at_edge, -0.5, 1.0)
    distances[[30, 60, 70]] = 0.0  # which side of 0.3, 0.6 and 0.7 a row is on, float64 does not say
    assert calibration_losses(scores - signs * distances, scores).tolist() == distances.tolist()


def test_the_calibration_error_of_a_known_case() -> None:
    """Two bins: 0.2 where half are positive, 0.8 where all are: 0.3 and 0.2 off."""
    labels, scores = np.array([0, 1] * 10 + [1] * 20), np.array([0.2] * 20 + [0.8] * 20)
    assert calibration_losses(labels, scores).mean() == pytest.approx(0.25)


@pytest.mark.parametrize(("labels", "days", "words"), [([0, 0], [0, 1], "both classes"), ([0, 1], [3, 3], "two days")])
def test_what_cannot_be_measured_is_an_error(labels: list[int], days: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gain(np.array(labels), np.array([0.1, 0.2]), np.array([0.1, 0.3]), np.array(days))


# -- nights that are made up ------------------------------------------------------------------------------------


def made_up(
    seed: int, *, days: int = 14, rows: int = 150, better: float = 0.0, shared: float = 0.8
) -> tuple[Array, ...]:
    """Two models of equal worth whose errors share a cause within each day.

    Args:
        seed: Of everything.
        days: How many.
        rows: Of a day.
        better: How much less noise the challenger has.
        shared: How much of what sets the models apart is common to a day.
    """
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    truth = random.normal(size=days * rows) + 0.5 * random.normal(size=days)[day]
    labels = (truth + random.normal(size=len(truth)) > 0.8).astype(int)

    def model(noise: float) -> Array:
        of_day = shared * random.normal(size=days)[day] * truth
        return 1 / (1 + np.exp(-(truth + noise * random.normal(size=len(truth)) + 0.3 * of_day)))

    return labels, model(0.7 - better), model(0.7), day


def bootstrapped(measure: Any, days: Array, *, draws: int = 300, seed: int = 5) -> float:
    """The standard deviation of a measure over samples of whole days."""
    random = np.random.default_rng(seed)
    places = [np.flatnonzero(days == day) for day in np.unique(days)]
    values = [
        measure(np.concatenate([places[at] for at in random.integers(len(places), size=len(places))]))
        for _ in range(draws)
    ]
    return float(np.std(values))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_its_error_is_that_of_resampling_whole_days(seed: int) -> None:
    labels, ours, theirs, days = made_up(seed, days=30, rows=60)

    def auc(at: Array) -> float:
        differences = placements(labels[at], ours[at]) - placements(labels[at], theirs[at])
        return float(differences[labels[at] == 1].mean())

    assert gain(labels, ours, theirs, days).error == pytest.approx(bootstrapped(auc, days), rel=0.25)
    losses = log_losses(labels, theirs) - log_losses(labels, ours)
    of_losses = mean_gain(losses, days, confidence=0.95)
    assert of_losses.value == pytest.approx(losses.mean())
    assert of_losses.error == pytest.approx(bootstrapped(lambda at: losses[at].mean(), days), rel=0.25)


def test_its_error_is_that_of_leaving_days_out() -> None:
    labels, ours, theirs, days = made_up(1)
    left = []
    for day in np.unique(days):
        at = days != day
        left.append(roc_auc_score(labels[at], ours[at]) - roc_auc_score(labels[at], theirs[at]))
    count = len(left)
    jackknife = math.sqrt((count - 1) / count * sum((value - np.mean(left)) ** 2 for value in left))
    assert gain(labels, ours, theirs, days).error == pytest.approx(jackknife, rel=0.02)


NIGHTS = 1000


def misses(*, by_row: bool) -> float:
    """How often the 95 % interval of two equally good models does not hold zero."""
    missed = 0
    for seed in range(NIGHTS):
        labels, ours, theirs, days = made_up(seed)
        units = np.arange(len(days)) if by_row else days
        found = gain(labels, ours, theirs, units)
        missed += not found.lower <= 0 <= found.upper
    return missed / NIGHTS


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    """Seeded, so this is one number; 3,000 such nights give 0.049. Of 1,000, 95 % lie within 0.014 of a true 0.05."""
    assert misses(by_row=False) == pytest.approx(0.05, abs=0.014)


def test_rows_as_units_call_noise_a_difference() -> None:
    """Why the day is the unit: the same nights, with rows taken for independent. Of 3,000, it misses 0.151."""
    assert misses(by_row=True) > 0.12


def test_better_by_noise_is_rarely_called_better() -> None:
    """Equal models: better in about 2.5 % of nights, and a real gain most of the time."""
    standings = [gain(*made_up(seed)).standing(0.02) for seed in range(NIGHTS)]
    assert standings.count("better") / NIGHTS < 0.04
    real = [gain(*made_up(seed, better=0.35, shared=0.2)).standing(0.02) for seed in range(60)]
    assert real.count("better") / 60 > 0.9


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.05])
def test_the_expected_share_is_that_of_nights_where_nothing_changed(margin: float) -> None:
    expected, passed = [], 0
    for seed in range(300):
        found = gain(*made_up(seed))
        expected.append(found.share_above(-margin))
        passed += found.standing(margin) in ("better", "not_worse")
    assert passed / 300 == pytest.approx(np.mean(expected), abs=0.08)


# -- what an interval says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "standing"),
    [
        (0.010, 0.004, "better"),
        (0.004, 0.004, "not_worse"),
        (0.000, 0.002, "not_worse"),
        (-0.003, 0.0005, "not_worse"),
        (-0.005, 0.0, "worse"),
        (-0.006, 0.0040, "worse"),
        (-0.004, 0.0015, "worse"),
        (-0.004, 0.0040, "undecided"),
        (0.003, 0.0060, "undecided"),
        (0.000, 0.0, "not_worse"),
    ],
)
def test_standings(value: float, error: float, standing: str) -> None:
    """With 14 days and 95 %, an interval reaches 2.16 errors to each side."""
    found = Difference(value, error, 14, 0.95)
    assert found.quantile == pytest.approx(2.1604, abs=1e-4)
    assert found.standing(0.005) == standing


@given(st.floats(-0.1, 0.1), st.floats(0, 0.1), st.integers(2, 60), st.floats(0, 0.05))
def test_standings_are_ordered(value: float, error: float, days: int, margin: float) -> None:
    """More gain never has a worse standing, and a larger margin neither."""
    order = ["worse", "undecided", "not_worse", "better"]
    here = Difference(value, error, days, 0.95)
    more = Difference(value + 0.01, error, days, 0.95)
    assert order.index(more.standing(margin)) >= order.index(here.standing(margin))
    assert order.index(here.standing(margin + 0.01)) >= order.index(here.standing(margin))
    assert 0 <= here.share_above(-margin) <= 1


def test_rows_of_a_static_source_count_each_for_itself() -> None:
    """They have no ``__time``; each is as good as a day of its own, and the verdict says what was independent."""
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 2, 400)
    ours, theirs = (np.clip(labels * 0.4 + chance.random(400) * 0.6, 0.01, 0.99) for _ in range(2))
    rows = pa.table({"__bucket": chance.integers(0, 2500, 400), "__label": labels})
    found = compare_scores(rows, ours, theirs, Gates(minimum=0.5), Binary(), version=1)
    assert found.gains is not None
    assert (found.unit, found.gains.deciding.days) == ("row", 400)
    assert found.gains.deciding == auc_gain(labels, ours, theirs, np.arange(400), confidence=0.95)
    dated = rows.append_column(
        "__time", pa.array([datetime(2024, 3, 1 + place % 20, tzinfo=UTC) for place in range(400)])
    )
    again = compare_scores(dated, ours, theirs, Gates(minimum=0.5), Binary(), version=1)
    assert again.gains is not None
    assert (again.unit, again.gains.deciding.days) == ("day", 20)
