"""Challengers that must not ship, and challengers that must, each made from real flights and real training.

A candidate is a function of a night; it gives scores of the night's holdout. What is bad about it is bad in the way
it goes wrong in practice: in the labels, in the training data, in the parameters, or in what reaches the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tests.fakes.flights import FlightsNight, Scores, fit

Make = Callable[[FlightsNight], Scores]


@dataclass(frozen=True)
class Bad:
    """A candidate that must be refused.

    Attributes:
        name: What went wrong.
        make: Gives its scores.
        check: Name of the check that must refuse it; others may do so as well.
        trains: It trains a model of its own, which takes seconds.
    """

    name: str
    make: Make
    check: str
    trains: bool = True


@dataclass(frozen=True)
class Good:
    """A candidate that may be promoted; other attributes as of ``Bad``."""

    name: str
    make: Make
    trains: bool = True


def tonight(night: FlightsNight) -> Scores:
    """What the night itself would train."""
    return night.model("tonight", lambda it: fit(it.train)).scores(night.holdout)


def changed(name: str, **how: Any) -> Make:
    """Tonight's rows with other parameters."""
    return lambda night: night.model(name, lambda it: fit(it.train, **how)).scores(night.holdout)


def shuffled_labels(night: FlightsNight) -> Scores:
    labels = np.random.default_rng(1).permutation(night.train["__label"].to_numpy())
    return fit(night.train, labels=labels).scores(night.holdout)


def flipped_labels(night: FlightsNight) -> Scores:
    labels = night.train["__label"].to_numpy()
    wrong = np.random.default_rng(2).random(len(labels)) < 0.2
    return fit(night.train, labels=np.where(wrong, 1 - labels, labels)).scores(night.holdout)


def another_label(night: FlightsNight) -> Scores:
    """Late by a minute or more: somebody has edited label.positive on one side only."""
    return fit(night.train, labels=(night.train["arr_delay"] >= 1).astype("int8").to_numpy()).scores(night.holdout)


def inverted_labels(night: FlightsNight) -> Scores:
    return 1 - tonight(night)


def without_best_feature(night: FlightsNight) -> Scores:
    return night.model("blind", lambda it: fit(it.train, without=("dep_delay",))).scores(night.holdout)


def best_feature_is_missing_when_asked(night: FlightsNight) -> Scores:
    tonight(night)
    return night.models["tonight"].scores(night.holdout.assign(dep_delay=np.nan))


def hours_instead_of_minutes(night: FlightsNight) -> Scores:
    """The unit changed after training, so that only what is asked has the new one."""
    tonight(night)
    return night.models["tonight"].scores(night.holdout.assign(dep_delay=night.holdout["dep_delay"] / 60))


def rows_of_another_flight(night: FlightsNight) -> Scores:
    """A join that went wrong: every flight has the delay of the one before it."""
    tonight(night)
    return night.models["tonight"].scores(night.holdout.assign(dep_delay=night.holdout["dep_delay"].shift(1)))


def constant(night: FlightsNight) -> Scores:
    return np.full(len(night.holdout), night.train["__label"].mean())


def overfit(night: FlightsNight) -> Scores:
    deep = {"max_depth": 16, "learning_rate": 0.7, "min_child_weight": 0, "subsample": 1.0, "n_estimators": 20}
    return fit(night.train, **deep).scores(night.holdout)


def one_day_of_data(night: FlightsNight) -> Scores:
    last = night.train["__time"].dt.date == night.train["__time"].dt.date.max()
    return fit(night.train[last], min_child_weight=1).scores(night.holdout)


def far_too_confident(night: FlightsNight) -> Scores:
    return odds_times(tonight(night), power=3.0)


def far_too_many(night: FlightsNight) -> Scores:
    """Every odds three times too high, as after training on a sample with too many positives."""
    return odds_times(tonight(night), factor=3.0)


def ranks_only(night: FlightsNight) -> Scores:
    """Somebody serves ranks for probabilities: not one pair of rows changes its order."""
    return tonight(night) ** 4


def one_slice_destroyed(night: FlightsNight) -> Scores:
    """The answers for one carrier's flights go to other flights of that carrier; the others are as they should be."""
    scores, carrier = tonight(night).copy(), night.holdout["carrier"].to_numpy() == "MQ"
    scores[carrier] = np.random.default_rng(3).permutation(scores[carrier])
    return scores


def odds_times(scores: Scores, *, factor: float = 1.0, power: float = 1.0) -> Scores:
    odds = factor * (scores / (1 - scores)) ** power
    return odds / (1 + odds)


def blurred(scores: Scores, scale: float, random: np.random.Generator) -> Scores:
    """The same model with noise on its log odds: neither better nor worse than another one like it."""
    odds = np.log(scores / (1 - scores)) + random.normal(scale=scale, size=len(scores))
    blurred_scores: Scores = 1 / (1 + np.exp(-odds))
    return blurred_scores


def subset(night: FlightsNight, days: int) -> pd.DataFrame:
    return night.earlier(0, length=days)


BAD = (
    Bad("shuffled labels", shuffled_labels, "floor"),
    Bad("20 % of the labels flipped", flipped_labels, "log_loss"),
    Bad("trained for another label", another_label, "log_loss"),
    Bad("labels inverted", inverted_labels, "majority", trains=False),
    Bad("best feature dropped", without_best_feature, "champion"),
    Bad("best feature missing when asked", best_feature_is_missing_when_asked, "champion", trains=False),
    Bad("unit of the best feature changed after training", hours_instead_of_minutes, "champion", trains=False),
    Bad("values of the wrong rows", rows_of_another_flight, "champion", trains=False),
    Bad("constant", constant, "majority", trains=False),
    Bad("overfit deep trees", overfit, "champion"),
    Bad("trained on one day", one_day_of_data, "champion"),
    Bad("far too confident", far_too_confident, "log_loss", trains=False),
    Bad("odds three times too high", far_too_many, "calibration", trains=False),
    Bad("ranks instead of probabilities", ranks_only, "log_loss", trains=False),
)
GOOD = (
    Good("the night's own model", tonight, trains=False),
    Good("the champion again", lambda night: night.champion, trains=False),
    Good("another seed", changed("seed", seed=7)),
    Good("two weeks more data", lambda night: fit(subset(night, 74)).scores(night.holdout)),
    Good("two days less data", lambda night: fit(subset(night, 58)).scores(night.holdout)),
    Good("more and slower trees", changed("slower", n_estimators=300, learning_rate=0.035)),
    Good("a little smaller", changed("smaller", n_estimators=150)),
    Good("another sample of rows", changed("sampled", subsample=0.6)),
    Good("a feature less that says little", changed("no_age", without=("plane_age",))),
    Good("probabilities a little too low", lambda night: odds_times(tonight(night), factor=0.9), trains=False),
)
