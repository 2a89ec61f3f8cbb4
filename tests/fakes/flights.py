"""Real nights of the demo model without a JVM: xgboost as the spec says, and the gate by the stage's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost
from scipy.sparse import csr_matrix
from tests.fakes.flight_nights import SPEC, joined_flights

from nightshift.evaluate.comparison import compare_scores
from nightshift.evaluate.gate import Anchor, Comparison, Judgement, judge
from nightshift.evaluate.slices import fairness_gap
from nightshift.evaluate.tasks import Binary
from nightshift.plan import Interval, Windows
from nightshift.spec.gates import Gates
from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec

THRESHOLD = 0.31
Scores = np.ndarray[Any, Any]
Change = Callable[[pd.DataFrame], pd.DataFrame]


@lru_cache(maxsize=1)
def spec() -> ModelSpec:
    return load_spec(SPEC)


@lru_cache(maxsize=1)
def prepared() -> pd.DataFrame:
    """Every labelled flight, in the order of time: ``__time``, ``__label``, ``arr_delay``, the request columns."""
    features = spec().features
    columns = ["__time", "__label", "arr_delay", "flight", *features.numeric, *features.categorical]
    return joined_flights().select(columns).to_pandas()


@dataclass(frozen=True)
class Fitted:
    """A trained model: how it turns rows into vectors, and its trees."""

    numeric: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    booster: xgboost.Booster

    def vectors(self, rows: pd.DataFrame) -> Scores:
        return vectors(rows, self.numeric, self.levels)

    def scores(self, rows: pd.DataFrame) -> Scores:
        """Probabilities, float64, shape [rows]."""
        return self.scores_of(self.vectors(rows)).astype(np.float64)

    def scores_of(self, made: Scores) -> Scores:
        """Probabilities of vectors, float32, shape [rows]."""
        scores: Scores = self.booster.inplace_predict(sparse_of(made, len(self.numeric)))
        return scores


def vectors(rows: pd.DataFrame, numeric: tuple[str, ...], levels: Mapping[str, tuple[str, ...]]) -> Scores:
    encoded = [rows[name].to_numpy() == level for name, known in levels.items() for level in known]
    return np.column_stack([*(rows[name].to_numpy(np.float32) for name in numeric), *encoded]).astype(np.float32)


def sparse_of(made: Scores, numeric: int) -> csr_matrix:
    """The same without the zeros of one_hot, which makes the same trees four times as fast."""
    kept = made != 0
    kept[:, :numeric] = True
    rows, columns = np.nonzero(kept)
    return csr_matrix((made[rows, columns], columns, np.append(0, np.cumsum(kept.sum(axis=1)))), shape=made.shape)


def numeric_of(without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in spec().features.numeric if name not in without)


def levels_of(rows: pd.DataFrame, without: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    names = [name for name in spec().features.categorical if name not in without]
    return {name: tuple(sorted(rows[name].dropna().unique())) for name in names}


def fit(
    rows: pd.DataFrame, *, seed: int = 0, without: tuple[str, ...] = (), labels: Scores | None = None, **params: Any
) -> Fitted:
    """Train as the spec says, but for what is given.

    Args:
        rows: The training window.
        seed: Of everything random.
        without: Features to leave out.
        labels: Instead of the rows' own.
        params: Instead of the spec's own.
    """
    numeric, levels = numeric_of(without), levels_of(rows, without)
    chosen = {"objective": "binary:logistic", **spec().training.params, **params}
    trees = int(chosen.pop("n_estimators"))
    truth = rows["__label"].to_numpy() if labels is None else labels
    matrix = xgboost.QuantileDMatrix(sparse_of(vectors(rows, numeric, levels), len(numeric)), truth, nthread=1)
    fixed = {"tree_method": "hist", "seed": seed, "nthread": 1, "verbosity": 0}
    return Fitted(numeric, levels, xgboost.train({**chosen, **fixed}, matrix, num_boost_round=trees))


@dataclass
class FlightsNight:
    """One night of the demo: its windows, and the gate on them.

    Attributes:
        night: The date on which it would run.
        models: Models that were trained once, by name.
    """

    night: date
    models: dict[str, Fitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.windows = Windows.of(spec(), Interval.of_day(self.night - timedelta(days=1)))
        self.train = self.rows(self.windows.train)
        self.holdout = self.rows(self.windows.holdout)
        self.labels = self.holdout["__label"].to_numpy()

    def rows(self, window: Interval) -> pd.DataFrame:
        everything = prepared()
        first, last = everything["__time"].searchsorted([pd.Timestamp(window.start), pd.Timestamp(window.end)])
        return everything.iloc[first:last]

    def earlier(self, days: int, *, length: int = 60) -> pd.DataFrame:
        """The training window of so many nights before, of another length."""
        end = self.windows.train.end - timedelta(days=days)
        return self.rows(Interval(end - timedelta(days=length), end))

    def model(self, name: str, make: Callable[[FlightsNight], Fitted]) -> Fitted:
        """A model that several cases use; trained by the first of them."""
        if name not in self.models:
            self.models[name] = make(self)
        return self.models[name]

    @property
    def champion(self) -> Scores:
        """What the model of the night before says of this night's holdout."""
        return self.model("champion", lambda night: fit(night.earlier(1))).scores(self.holdout)

    def judged(
        self,
        challenger: Scores,
        champion: Scores | None,
        *,
        gates: Gates | None = None,
        age: timedelta = timedelta(days=1),
        anchor: Anchor | None = None,
        keep: Change = lambda rows: rows,
    ) -> tuple[Judgement, Comparison | None]:
        """The gate's judgement, by the functions that the stage calls, and what it was made from.

        Args:
            challenger: Scores of the holdout.
            champion: Scores of the holdout; None for a first model.
            gates: Instead of the spec's.
            age: The champion's.
            anchor: The champion of 30 days ago.
            keep: Which rows of the holdout neither has learned from.
        """
        gates, task = gates or spec().gates, Binary()
        kept = keep(self.holdout.reset_index(drop=True))
        ours = task.require_scores(challenger, of="the challenger")[kept.index]
        labels = kept["__label"].to_numpy()
        table = pa.Table.from_pandas(kept, preserve_index=False)
        measured = task.measure(labels, ours, THRESHOLD)
        found = {"majority": task.guess(self.train["__label"].to_numpy(), labels)}
        if champion is None:  # later models are not held against it, and it takes longer than all the rest
            single = task.single_feature(self.train, kept, spec().features, gates.metric)
            found["best_single_feature"] = single.evidence
        gap = None if gates.fairness is None else fairness_gap(table, labels, ours >= THRESHOLD, gates.fairness)
        comparison = None
        if champion is not None:
            theirs = task.require_scores(champion, of="the champion")[kept.index]
            comparison = compare_scores(table, ours, theirs, gates, task, version=1, age=age, anchor=anchor)
        return judge(measured, found, comparison, gates, fairness=gap), comparison

    def judge(self, challenger: Scores, champion: Scores | None, **how: Any) -> Judgement:
        """The judgement alone; arguments as for ``judged``."""
        return self.judged(challenger, champion, **how)[0]


@lru_cache(maxsize=8)
def flights_night(day: date) -> FlightsNight:
    """One per process: what it trains, several tests use."""
    return FlightsNight(day)
