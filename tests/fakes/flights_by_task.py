"""The demo's flights with other questions: how many minutes late, and which of three classes of lateness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tests.fakes.flights import Fitted, FlightsNight, Scores, fit, flights_night, spec

from nightshift.evaluate.comparison import compare_scores
from nightshift.evaluate.gate import Anchor, Judgement, judge
from nightshift.evaluate.tasks import Multiclass, Regression, Task
from nightshift.spec.gates import Gates

CLASSES = ("early", "as_planned", "late")


@dataclass(frozen=True)
class Question:
    """What is asked of a flight.

    Attributes:
        task: How models are judged.
        gates: What they must prove.
        labels: Labels of rows, as preprocess stores them.
        params: Of xgboost, beside the spec's.
    """

    task: Task
    gates: Gates
    labels: Callable[[pd.DataFrame], Scores]
    params: dict[str, Any]


def _gates(**raw: Any) -> Gates:
    return Gates.model_validate({"slices": ["carrier", "origin"], **raw})


def minutes(rows: pd.DataFrame) -> Scores:
    return rows["arr_delay"].to_numpy(np.float64)


def lateness(rows: pd.DataFrame) -> Scores:
    """Ten minutes early or more, fifteen late or more, or between."""
    delay = rows["arr_delay"].to_numpy(np.float64)
    return np.where(delay <= -10, 0, np.where(delay < 15, 1, 2)).astype(np.int64)


MINUTES = Question(
    Regression(),
    _gates(metric="rmse", maximum=25, versus_champion={"margin": 0.5}),
    minutes,
    {"objective": "reg:squarederror"},
)
LATENESS = Question(
    Multiclass(CLASSES),
    _gates(metric="accuracy", minimum=0.6, versus_champion={"margin": 0.01}),
    lateness,
    {"objective": "multi:softprob", "num_class": 3, "n_estimators": 100, "learning_rate": 0.1},
)


@dataclass
class AskedNight:
    """One night of flights with another question.

    Attributes:
        flights: Its rows.
        question: What is asked.
        models: Models that were trained once, by name.
    """

    flights: FlightsNight
    question: Question
    models: dict[str, Fitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.train, self.holdout = self.flights.train, self.flights.holdout
        self.labels = self.question.labels(self.holdout)

    def fit(self, rows: pd.DataFrame, *, labels: Scores | None = None, **how: Any) -> Fitted:
        """Train as the question asks, but for what is given."""
        truth = self.question.labels(rows) if labels is None else labels
        return fit(rows, labels=truth, **{**self.question.params, **how})

    def model(self, name: str, make: Callable[[], Fitted]) -> Fitted:
        if name not in self.models:
            self.models[name] = make()
        return self.models[name]

    @property
    def tonight(self) -> Scores:
        """What the night itself would train says of its holdout."""
        return self.model("tonight", lambda: self.fit(self.train)).scores(self.holdout)

    @property
    def champion(self) -> Scores:
        """What the model of the night before says of this night's holdout."""
        return self.model("champion", lambda: self.fit(self.flights.earlier(1))).scores(self.holdout)

    def judge(
        self,
        challenger: Scores,
        champion: Scores | None,
        *,
        gates: Gates | None = None,
        anchor: Anchor | None = None,
        age: timedelta = timedelta(days=1),
    ) -> Judgement:
        """The gate's judgement, by the functions that the stage calls; arguments as of ``FlightsNight.judged``."""
        gates, task = gates or self.question.gates, self.question.task
        trained, rows = (self._told(frame) for frame in (self.train, self.holdout))
        ours = task.require_scores(challenger, of="the challenger")
        metric = gates.decider
        found = {"majority": task.guess(trained["__label"].to_numpy(), self.labels)}
        if champion is None:
            found["best_single_feature"] = task.single_feature(trained, rows, spec().features, metric.name).evidence
        comparison = None
        if champion is not None:
            theirs = task.require_scores(champion, of="the champion")
            table = pa.Table.from_pandas(rows, preserve_index=False)
            comparison = compare_scores(table, ours, theirs, gates, task, version=1, age=age, anchor=anchor)
        return judge(task.measure(self.labels, ours, None), found, comparison, gates)

    def _told(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(__label=self.question.labels(rows))


@lru_cache(maxsize=4)
def asked_night(day: date, name: str) -> AskedNight:
    """One per process and question (``minutes`` or ``lateness``): what it trains, several tests use."""
    return AskedNight(flights_night(day), {"minutes": MINUTES, "lateness": LATENESS}[name])
