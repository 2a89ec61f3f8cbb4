"""Graphs of several classes and of numbers give what the booster gives, whatever the rows hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.booster_graph import booster_graph
from tests.fakes.request_rows import LEVELS, ROWS, TRANSFORMS, requests_of, training_rows, vectors_of

from nightshift.errors import InfraCheckFailed, ModelError
from nightshift.model.booster import predict
from nightshift.model.parity import TOLERANCE, compare
from nightshift.model.scores import from_column, to_column
from nightshift.model.session import CLASSES, TASK, Scorer
from nightshift.spec.values import Task

pytestmark = pytest.mark.thorough

PORTS = ("EWR", "JFK", "LGA", "it's")
OBJECTIVES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")


@dataclass(frozen=True)
class Small:
    """A trained model and its graph."""

    task: Task
    booster: xgboost.Booster
    data: bytes
    classes: tuple[str, ...] = ()

    def sides(self, requests: pa.Table, *, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Scores by the booster and by the graph."""
        return predict(self.booster, vectors_of(requests)), Scorer.load(self.data, threads=threads).score(requests)

    def parity(self, requests: pa.Table, *, threads: int = 1) -> Any:
        return compare(*self.sides(requests, threads=threads), task=self.task)


@cache
def several(**params: Any) -> Small:
    rows, random = training_rows()
    vectors = vectors_of(rows)
    places = (np.nan_to_num(vectors[:, 0], nan=30) // 12 + vectors[:, 2] + random.integers(2, size=2000)) % len(PORTS)
    fixed = {"objective": "multi:softprob", "num_class": len(PORTS), "nthread": 1, "verbosity": 0}
    booster = xgboost.train({**fixed, **params}, xgboost.QuantileDMatrix(vectors, places), 12)
    return Small("multiclass", booster, booster_graph(TRANSFORMS, booster, task="multiclass", classes=PORTS), PORTS)


@cache
def number(objective: str = OBJECTIVES[0], *, scale: float = 1.0, shift: float = 0.0, **params: Any) -> Small:
    rows, random = training_rows()
    vectors = vectors_of(rows)
    values = np.nan_to_num(vectors[:, 0], nan=20) / 10 + 3 * vectors[:, 2] + random.normal(size=2000)
    fixed = {"objective": objective, "nthread": 1, "verbosity": 0, **params}
    booster = xgboost.train(fixed, xgboost.QuantileDMatrix(vectors, scale * values + shift), 100)
    return Small("regression", booster, booster_graph(TRANSFORMS, booster, task="regression"))


# -- parity --------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_several_classes_agree_on_nulls_nan_and_unseen_categories(rows: list[Any]) -> None:
    assert several().parity(requests_of(rows)).require().rows == len(rows)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(OBJECTIVES), st.sampled_from([(1.0, 0.0), (150.0, 100.0), (1e6, -1e5), (1e-4, 0.0)]))
def test_numbers_agree_to_the_last_bit(rows: list[Any], objective: str, unit: tuple[float, float]) -> None:
    ours, theirs = number(objective, scale=unit[0], shift=unit[1]).sides(requests_of(rows))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    "params", [{}, {"gamma": 1e9}, {"base_score": 0.3}, {"min_child_weight": 400}, {"max_depth": 0, "max_leaves": 9, "grow_policy": "lossguide"}], ids=str
)  # fmt: skip
@pytest.mark.parametrize("make", [several, number])
def test_lone_leaves_and_given_base_scores_agree(make: Any, params: dict[str, Any]) -> None:
    assert make(**params).parity(training_rows()[0]).require().rows == 2000


def test_values_near_zero_of_large_labels_do_not_depend_on_threads() -> None:
    requests = requests_of([(value / 40, value % 9, LEVELS[value % 3]) for value in range(-100_000, 40_000)])
    model = number(scale=150.0, shift=-100.0)
    assert model.parity(requests, threads=4).max_diff == 0


# -- the graph -----------------------------------------------------------------------------------------


def test_the_graph_says_what_it_tells() -> None:
    of_classes, of_number = Scorer.load(several().data), Scorer.load(number().data)
    rows = training_rows()[0]
    probabilities = of_classes.score(rows)

    assert (of_classes.task, of_classes.classes, of_number.task, of_number.classes) == (
        "multiclass",
        PORTS,
        "regression",
        (),
    )
    assert (probabilities.shape, probabilities.dtype, of_number.score(rows).shape) == ((2000, 4), np.float32, (2000,))
    assert of_classes.labels(rows).tolist() == [PORTS[place] for place in probabilities.argmax(axis=1)]
    with pytest.raises(ModelError, match="decides between no labels"):
        of_number.labels(rows)


def test_no_rows_have_scores_of_the_same_form() -> None:
    none = training_rows()[0].slice(0, 0)
    assert (Scorer.load(several().data).score(none).shape, Scorer.load(number().data).score(none).shape) == (
        (0, 4),
        (0,),
    )


def test_equally_probable_classes_are_the_first_of_them() -> None:
    fixed = {"objective": "multi:softprob", "num_class": 4, "gamma": 1e9, "learning_rate": 1e-9, "nthread": 1}
    even = xgboost.QuantileDMatrix(vectors_of(training_rows()[0]), np.arange(2000) % 4)
    scorer = Scorer.load(booster_graph(TRANSFORMS, xgboost.train(fixed, even, 1), task="multiclass", classes=PORTS))
    assert set(scorer.labels(training_rows()[0])) == {"EWR"}


def test_the_same_booster_gives_the_same_bytes() -> None:
    for made in (several(), number()):
        again = xgboost.Booster(model_file=bytearray(made.booster.save_raw("ubj")))
        assert booster_graph(TRANSFORMS, again, task=made.task, classes=made.classes) == made.data


def test_a_booster_of_few_rows_is_not_taken_for_a_regression() -> None:
    """Rows that weigh a quarter each make nodes of whole weights, by which the converter guesses a bare booster's task."""
    vectors = np.zeros((8, 5), np.float32)
    booster = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1}, xgboost.QuantileDMatrix(vectors, [0, 1] * 4), 1
    )
    scorer = Scorer.load(booster_graph(TRANSFORMS, booster, threshold=0.5))
    assert scorer.score(requests_of([(0, 0, "AA")])).tolist() == [0.5]


def test_a_booster_of_another_task_or_of_other_classes_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"multi:softprob and 5 features was expected, not reg:squarederror and 5, .*4 classes, not 0"
    ):
        booster_graph(TRANSFORMS, number().booster, task="multiclass", classes=PORTS)
    with pytest.raises(ModelError, match="one for 3 classes, not 4"):
        booster_graph(TRANSFORMS, several().booster, task="multiclass", classes=PORTS[:3])
    with pytest.raises(ModelError, match=r"reg:squarederror or reg:absoluteerror or .*, not multi:softprob"):
        booster_graph(TRANSFORMS, several().booster, task="regression")


def told_otherwise(data: bytes, **metadata: str) -> bytes:
    model = onnx.load_model_from_string(data)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, **metadata})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({TASK: "ranking"}, "made for the task 'ranking'; known are binary, multiclass, regression"),
        ({TASK: "binary"}, "gives label, probabilities; probability and label were expected"),
        ({CLASSES: '["EWR"]'}, "gives 4 probabilities, and its metadata do not name as many classes"),
        ({CLASSES: "[1, 2, 3, 4]"}, "do not name as many"),
        ({CLASSES: "EWR"}, "do not name as many"),
    ],
)  # fmt: skip
def test_metadata_that_do_not_fit_the_graph_are_refused(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(InfraCheckFailed, match=said):
        Scorer.load(told_otherwise(several().data, **metadata))


def test_classes_stand_in_the_metadata_as_they_are_written() -> None:
    metadata = {entry.key: entry.value for entry in onnx.load_model_from_string(several().data).metadata_props}
    assert (metadata[TASK], json.loads(metadata[CLASSES])) == ("multiclass", list(PORTS))


# -- the rule of parity, and scores as columns ---------------------------------------------------------


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30), st.data())
def test_numbers_may_differ_by_a_share_of_themselves(values: list[float], data: st.DataObject) -> None:
    ours, row = np.array(values), data.draw(st.integers(0, len(values) - 1))
    allowed = TOLERANCE * max(1.0, abs(ours[row]))
    for share, beyond in ((0.9, 0), (1.1, 1)):
        theirs = ours.copy()
        theirs[row] += share * allowed
        found = compare(ours, theirs, task="regression")
        assert (found.beyond, found.label_mismatches, found.worst_row) == (beyond, 0, row)


def test_a_class_may_differ_only_next_to_a_tie() -> None:
    tie = np.array([[0.4, 0.4, 0.2]])
    near = tie + np.array([[TOLERANCE / 4, -TOLERANCE / 4, 0]])
    far = tie + np.array([[0.1, -0.1, 0]])

    assert compare(near, tie - (near - tie), task="multiclass").holds
    assert compare(far, far[:, [1, 0, 2]], task="multiclass").label_mismatches == 1
    assert compare(far, far[:, [1, 0, 2]], task="multiclass").beyond == 1


@given(st.integers(0, 5), st.integers(1, 4), st.randoms(use_true_random=False))
def test_scores_survive_being_a_column(rows: int, classes: int, chance: Any) -> None:
    values = np.array([[chance.random() for _ in range(classes)] for _ in range(rows)], np.float32)
    for scores in (values.reshape(rows, classes), values.reshape(-1)):
        column = pa.chunked_array([to_column(scores)])
        assert np.array_equal(from_column(column), scores)
