"""What ``nightshift predict`` tells, and what MLflow is told of the outputs, by task."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightshift.cli.predict import tell
from nightshift.registry.model_folder import outputs_of, signature
from nightshift.spec.values import Task


class Told:
    """Gives scores that are known beforehand."""

    def __init__(self, task: Task, scores: Any, labels: Any = (), classes: tuple[str, ...] = ()) -> None:
        self.task, self.classes = task, classes
        self._scores, self._labels = np.array(scores, np.float32), np.array(labels)

    def score(self, _: pd.DataFrame) -> np.ndarray:
        return self._scores

    def labels(self, _: pd.DataFrame) -> np.ndarray:
        assert self.task != "regression"
        return self._labels


@pytest.mark.parametrize(
    ("scorer", "told"),
    [
        (Told("binary", [0.12345678, 1], [0, 1]), [{"probability": 0.123457, "label": 0}, {"probability": 1.0, "label": 1}]),
        (
            Told("multiclass", [[0.25, 0.5, 0.25]], ["JFK"], ("EWR", "JFK", "LGA")),
            [{"label": "JFK", "probabilities": {"EWR": 0.25, "JFK": 0.5, "LGA": 0.25}}],
        ),
        (Told("regression", [147.123456789, -1e-9, 16777217]), [{"air_time": 147.12346}, {"air_time": -1e-9}, {"air_time": 16777216.0}]),
    ],
)  # fmt: skip
def test_rows_are_told_by_task(scorer: Any, told: list[dict[str, Any]]) -> None:
    found = tell(scorer, pd.DataFrame(), {"label": {"column": "air_time"}})
    assert found == told
    assert json.loads(json.dumps(found)) == told


@pytest.mark.parametrize(
    ("task", "classes", "outputs"),
    [
        ("binary", (), [("probability", "float32", (-1,)), ("label", "int64", (-1,))]),
        ("multiclass", ("a", "b", "c"), [("label", "str", (-1,)), ("probabilities", "float32", (-1, 3))]),
        ("regression", (), [("prediction", "float32", (-1,))]),
    ],
)
def test_the_signature_has_the_outputs_of_the_graph(task: Any, classes: tuple[str, ...], outputs: list[Any]) -> None:
    assert list(outputs_of(task, classes)) == outputs
    told = signature([("x", "numeric")], outputs_of(task, classes)).outputs
    assert [(one.name, one.shape) for one in told.inputs] == [(name, shape) for name, _, shape in outputs]
