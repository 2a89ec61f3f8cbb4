"""Bad and good challengers for a number (minutes late) and for three classes of lateness, from real flights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.fakes.flights import Scores
from tests.fakes.flights_by_task import AskedNight

Make = Callable[[AskedNight], Scores]


@dataclass(frozen=True)
class Bad:
    """A candidate that must be refused.

    Attributes:
        question: ``minutes`` or ``lateness``.
        name: What went wrong.
        make: Gives its scores.
        check: Name of the check that must refuse it; others may do so as well.
        trains: It trains a model of its own, which takes seconds.
    """

    question: str
    name: str
    make: Make
    check: str
    trains: bool = False


@dataclass(frozen=True)
class Good:
    """A candidate that may be promoted; other attributes as of ``Bad``."""

    question: str
    name: str
    make: Make
    trains: bool = True


def changed(**how: Any) -> Make:
    """Tonight's rows with other parameters."""
    return lambda night: night.fit(night.train, **how).scores(night.holdout)


def shuffled_labels(night: AskedNight) -> Scores:
    labels = np.random.default_rng(1).permutation(night.question.labels(night.train))
    return night.fit(night.train, labels=labels).scores(night.holdout)


def wrong_labels(night: AskedNight) -> Scores:
    """A fifth of the rows have the label of another row."""
    labels, random = night.question.labels(night.train), np.random.default_rng(2)
    wrong = random.random(len(labels)) < 0.2
    return night.fit(night.train, labels=np.where(wrong, random.permutation(labels), labels)).scores(night.holdout)


def asked_with(**columns: Callable[[Any], Any]) -> Make:
    """Tonight's model, asked with other values than it learned from."""

    def make(night: AskedNight) -> Scores:
        night.tonight  # noqa: B018 trains it, if nobody has
        rows = night.holdout.assign(**{name: change(night.holdout[name]) for name, change in columns.items()})
        return night.models["tonight"].scores(rows)

    return make


def more_data(night: AskedNight) -> Scores:
    return night.fit(night.flights.earlier(0, length=74)).scores(night.holdout)


def less_data(night: AskedNight) -> Scores:
    return night.fit(night.flights.earlier(0, length=58)).scores(night.holdout)


def blind(night: AskedNight) -> Scores:
    return night.model("blind", lambda: night.fit(night.train, without=("dep_delay",))).scores(night.holdout)


# -- numbers -----------------------------------------------------------------------------------------------------------


def mean_of_training(night: AskedNight) -> Scores:
    return np.full(len(night.holdout), night.question.labels(night.train).mean())


def one_carrier_destroyed(scores: Scores, night: AskedNight) -> Scores:
    """One carrier's flights get the answers of each other; classes go around in a circle."""
    scores, rows = scores.copy(), np.flatnonzero(night.holdout["carrier"].to_numpy() == "MQ")
    mixed = np.random.default_rng(3).permutation(rows)
    scores[rows] = scores[mixed] if scores.ndim == 1 else np.roll(scores[rows], 1, axis=1)
    return scores


# -- classes -----------------------------------------------------------------------------------------------------------


def shares_of_training(night: AskedNight) -> Scores:
    shares = np.bincount(night.question.labels(night.train), minlength=3) / len(night.train)
    return np.tile(shares, (len(night.holdout), 1))


def sharpened(night: AskedNight) -> Scores:
    """The order of the classes of every row stays; the probabilities mean nothing."""
    powered = night.tonight.astype(np.float64) ** 4
    return powered / powered.sum(axis=1, keepdims=True)


def late_is_forgotten(night: AskedNight) -> Scores:
    """Somebody renamed the third class in the source: training has never seen it."""
    labels = np.minimum(night.question.labels(night.train), 1)
    return night.fit(night.train, labels=labels).scores(night.holdout)


def too_many_late(night: AskedNight) -> Scores:
    odds = night.tonight.astype(np.float64) * np.array([1, 1, 4])
    return odds / odds.sum(axis=1, keepdims=True)


BAD = (
    Bad("minutes", "constant", mean_of_training, "constant"),
    Bad("minutes", "shuffled labels", shuffled_labels, "ceiling", trains=True),
    Bad("minutes", "a fifth of the labels from other rows", wrong_labels, "champion", trains=True),
    Bad("minutes", "10 % too much", lambda night: 1.1 * night.tonight, "calibration"),
    Bad("minutes", "ten minutes too much", lambda night: night.tonight + 10, "champion"),
    Bad("minutes", "hours instead of minutes", lambda night: night.tonight / 60, "ceiling"),
    Bad("minutes", "sign turned around", lambda night: -night.tonight, "ceiling"),
    Bad("minutes", "best feature dropped", blind, "champion", trains=True),
    Bad("minutes", "best feature missing when asked", asked_with(dep_delay=lambda values: values * np.nan), "champion"),
    Bad("minutes", "unit of the best feature changed", asked_with(dep_delay=lambda values: values / 60), "champion"),
    Bad("minutes", "values of the wrong rows", asked_with(dep_delay=lambda values: values.shift(1)), "champion"),
    Bad("minutes", "cut off at an hour", lambda night: np.minimum(night.tonight, 60), "champion"),
    Bad("lateness", "constant", shares_of_training, "majority"),
    Bad("lateness", "shuffled labels", shuffled_labels, "floor", trains=True),
    Bad("lateness", "classes in another order", lambda night: np.roll(night.tonight, 1, axis=1), "floor"),
    Bad("lateness", "two classes changed places", lambda night: night.tonight[:, [1, 0, 2]], "floor"),
    Bad("lateness", "one class forgotten", late_is_forgotten, "champion", trains=True),
    Bad("lateness", "far too confident", sharpened, "log_loss"),
    Bad("lateness", "one class four times too likely", too_many_late, "log_loss"),
    Bad("lateness", "best feature dropped", blind, "champion", trains=True),
    Bad("lateness", "unit of the best feature changed", asked_with(dep_delay=lambda values: values / 60), "champion"),
    Bad("lateness", "values of the wrong rows", asked_with(dep_delay=lambda values: values.shift(1)), "champion"),
)
GOOD = tuple(
    Good(question, name, make, trains)
    for question in ("minutes", "lateness")
    for name, make, trains in (
        ("the night's own model", lambda night: night.tonight, False),
        ("the champion again", lambda night: night.champion, False),
        ("another seed", changed(seed=7), True),
        ("two weeks more data", more_data, True),
        ("two days less data", less_data, True),
        ("another sample of rows", changed(subsample=0.6), True),
        ("a feature less that says little", changed(without=("plane_age",)), True),
    )
)
