"""Every engine's head behind every transform: the graph says of a row what the engine says of the row's vector.

What heads say of vectors is held against the engines' own arithmetic, worked out by hand, in the tests of the heads; the
forest of another library stands in ``test_onnx_model_head.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.request_rows import EVERY_TRANSFORM, ROWS, requests_of, training_rows, vectors_by_graph
from tests.unit.model.test_model_heads import CLASSES, TOLD, trees_of
from tests.unit.model.test_model_network import by_hand

from nightshift.model.booster import predict
from nightshift.model.graph import build_graph
from nightshift.model.heads import Head
from nightshift.model.heads.booster import BoosterHead
from nightshift.model.heads.linear import LinearHead
from nightshift.model.heads.network import NetworkHead, Standard
from nightshift.model.heads.trees import TreesHead
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.spec.values import Task

pytestmark = pytest.mark.thorough

Array = np.ndarray[Any, Any]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
OBJECTIVES = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}
Told = Callable[[Array], Array]
"""What an engine says of vectors ``[N, F]`` float32."""


@cache
def training_vectors(number: int) -> tuple[Array, Array]:
    rows, random = training_rows()
    vectors = vectors_by_graph(EVERY_TRANSFORM[number], rows)
    return vectors, np.nan_to_num(vectors[:, 0], nan=30) + 3 * vectors[:, 2] + random.normal(size=len(vectors))


def sums_of(task: Task) -> int:
    return len(CLASSES) if task == "multiclass" else 1


def booster(task: Task, number: int) -> tuple[Head, Told]:
    vectors, value = training_vectors(number)
    places = np.searchsorted(np.quantile(value, [0.5] if task == "binary" else [0.3, 0.7]), value)
    params = {"objective": OBJECTIVES[task], "max_depth": 4, "nthread": 1, "verbosity": 0}
    if task == "multiclass":
        params["num_class"] = len(CLASSES)
    matrix = xgboost.QuantileDMatrix(vectors, value if task == "regression" else places)
    model = xgboost.train(params, matrix, 10)
    head = BoosterHead(model, task, vectors.shape[1], len(CLASSES) if task == "multiclass" else 0)
    return head, lambda asked: predict(model, asked)


def filled(vectors: Array, instead: Array) -> Array:
    return np.where(np.isnan(vectors), instead, vectors).astype(np.float64)


def middles(vectors: Array) -> Array:
    return np.nan_to_num(np.nanmean(vectors, axis=0)).astype(np.float32)


def linear(task: Task, number: int) -> tuple[Head, Told]:
    vectors, _ = training_vectors(number)
    random, instead = np.random.default_rng(number), middles(vectors)
    coefficients = random.normal(size=(sums_of(task), vectors.shape[1]))
    intercepts = random.normal(size=sums_of(task))
    head = LinearHead(task, coefficients, intercepts, instead)
    return head, lambda asked: TOLD[task](filled(asked, instead) @ coefficients.T + intercepts).astype(np.float32)


def trees(task: Task, number: int) -> tuple[Head, Told]:
    """Trees of two levels that divide at values of the training rows; of two classes their mean is a probability."""
    vectors, _ = training_vectors(number)
    random, instead, width = np.random.default_rng(number), middles(vectors), vectors.shape[1]
    known, sums = filled(vectors, instead), sums_of(task)

    def split(below: Callable[[], Any]) -> Any:
        feature = int(random.integers(width))
        return feature, float(random.choice(known[:, feature])), below(), below()

    def leaf() -> list[float]:
        return (random.integers(1, 9, sums) / 64).tolist()

    forest = [split(lambda: split(leaf)) for _ in range(6)]
    several = task == "multiclass"
    head = TreesHead(trees_of(forest), "none", several, instead)

    def walked(node: Any, row: Array) -> list[float]:
        while isinstance(node, tuple):
            node = node[2] if row[node[0]] <= node[1] else node[3]
        return node

    def told(asked: Array) -> Array:
        added = np.array([np.sum([walked(tree, row) for tree in forest], axis=0) for row in filled(asked, instead)])
        return added.astype(np.float32) if several else added[:, 0].astype(np.float32)

    return head, told


def network(task: Task, number: int) -> tuple[Head, Told]:
    vectors, _ = training_vectors(number)
    random = np.random.default_rng(number)
    deviations = np.nan_to_num(np.nanstd(vectors, axis=0)).astype(np.float64)
    scales = np.divide(1, deviations, out=np.zeros_like(deviations), where=deviations > 0)
    standard = Standard(middles(vectors).astype(np.float64), scales)
    sizes = [vectors.shape[1], 16, 16, sums_of(task)]
    layers = [
        (random.normal(size=(out, into)).astype(np.float32) / 4, random.normal(size=out).astype(np.float32))
        for into, out in pairwise(sizes)
    ]
    unit = {"label_mean": 150.0, "label_scale": 95.0} if task == "regression" else {}
    head = NetworkHead(task, standard, layers, **unit)
    return head, lambda asked: by_hand(head, asked).astype(np.float32)


ENGINES = {"xgboost": booster, "spark_ml_linear": linear, "spark_ml_trees": trees, "torch": network}


@cache
def made(engine: str, task: Task, number: int) -> tuple[Scorer, Told]:
    head, told = ENGINES[engine](task, number)
    threshold = 0.5 if task == "binary" else None
    classes = CLASSES if task == "multiclass" else ()
    graph = build_graph(EVERY_TRANSFORM[number], head, task=task, threshold=threshold, classes=classes)
    return Scorer.load(graph), told


def require_parity(engine: str, task: Task, number: int, requests: pa.Table) -> None:
    scorer, told = made(engine, task, number)
    expected = told(vectors_by_graph(EVERY_TRANSFORM[number], requests))
    threshold = 0.5 if task == "binary" else None
    compare(expected, scorer.score(requests), task=task, threshold=threshold).require()


@pytest.mark.parametrize("engine", ENGINES)
@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(TASKS), st.integers(0, len(EVERY_TRANSFORM) - 1))
def test_the_graph_says_of_a_row_what_the_engine_says_of_its_vector(
    engine: str, rows: list[Any], task: Task, number: int
) -> None:
    require_parity(engine, task, number, requests_of(rows))


@pytest.mark.parametrize("number", range(len(EVERY_TRANSFORM)))
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("engine", ENGINES)
def test_none_of_them_is_left_to_chance(engine: str, task: Task, number: int) -> None:
    """Every engine, task and transform at least once, on rows as they come; and they do not all get one answer."""
    rows, _ = training_rows()
    require_parity(engine, task, number, rows.slice(0, 200))
    scores = made(engine, task, number)[0].score(rows.slice(0, 200))
    assert len(np.unique(scores.round(6), axis=0)) > 5
