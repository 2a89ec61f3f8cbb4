"""A network's graph says what its layers say, whatever the rows hold. The layers are multiplied out by hand here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import ModelError
from nightshift.model.graph import build_graph
from nightshift.model.heads.network import LIMIT, NetworkHead, Standard
from nightshift.model.session import Scorer
from nightshift.spec.values import Task
from nightshift.transforms import Transforms
from nightshift.transforms.columns import NumericColumn

NAMES = ("delay", "distance", "constant")
TRANSFORMS = Transforms(tuple(NumericColumn(name) for name in NAMES), ())
CLASSES = ("EWR", "JFK", "LGA")
STANDARD = Standard(np.array([12.5, 1000.0, 3.0]), np.array([1 / 30, 1 / 700, 0.0]))
FLOATS = st.floats(width=32, allow_subnormal=False)


def head_of(task: Task, *, hidden: int = 2, width: int = 16) -> NetworkHead:
    random = np.random.default_rng(4)
    sizes = [len(NAMES), *[width] * hidden, len(CLASSES) if task == "multiclass" else 1]
    layers = [
        (random.normal(size=(out, into)).astype(np.float32), random.normal(size=out).astype(np.float32))
        for into, out in pairwise(sizes)
    ]
    unit = {"label_mean": 150.0, "label_scale": 95.0} if task == "regression" else {}
    return NetworkHead(task, STANDARD, layers, **unit)


def by_hand(head: NetworkHead, vectors: np.ndarray) -> np.ndarray:
    """The network in float64, with one dot product for each number."""
    with np.errstate(invalid="ignore"):
        value = (vectors.astype(np.float64) - head.standard.means) * head.standard.scales
    value = np.clip(np.where(np.isnan(value), 0.0, value), -LIMIT, LIMIT)
    for place, (weights, biases) in enumerate(head.layers):
        wide = np.array([[np.dot(row, weight) for weight in weights.astype(np.float64)] for row in value])
        value = wide + biases
        if place < len(head.layers) - 1:
            value = np.maximum(value, 0)
    if head.task == "multiclass":
        shifted = np.exp(value - value.max(1, keepdims=True))
        return shifted / shifted.sum(1, keepdims=True)
    value = value[:, 0]
    return 1 / (1 + np.exp(-value)) if head.task == "binary" else value * head.label_scale + head.label_mean


def scorer_of(head: NetworkHead) -> Scorer:
    classes = CLASSES if head.task == "multiclass" else ()
    threshold = 0.5 if head.task == "binary" else None
    return Scorer.load(build_graph(TRANSFORMS, head, task=head.task, threshold=threshold, classes=classes))


def told(task: Task, vectors: np.ndarray) -> np.ndarray:
    return SCORERS[task].score(pa.table(dict(zip(NAMES, vectors.T.copy(), strict=True))))


HEADS: dict[Task, NetworkHead] = {task: head_of(task) for task in ("binary", "multiclass", "regression")}
SCORERS = {task: scorer_of(head) for task, head in HEADS.items()}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=6))
def test_the_graph_is_the_network(task: Task, rows: list[tuple[float, float, float]]) -> None:
    """Missing, infinite and the largest numbers of float32 included, to the last bit but one of float32."""
    vectors = np.array(rows, np.float32)
    # The transforms take what is infinite for missing.
    expected = by_hand(HEADS[task], np.where(np.isfinite(vectors), vectors, np.nan))
    found = told(task, vectors)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 1e-7 * max(1.0, np.abs(expected).max())


def test_what_does_not_vary_and_what_is_missing_say_nothing() -> None:
    """A feature that was constant in training has weights that nothing ever taught."""
    middle = np.array([[12.5, 1000, 3]], np.float32)
    others = np.array([[12.5, 1000, 1e30], [np.nan, 1000, 3], [12.5, np.nan, np.nan]], np.float32)
    assert (told("regression", others) == told("regression", middle)).all()


def test_the_same_layers_give_the_same_bytes() -> None:
    one, two = (build_graph(TRANSFORMS, head_of("regression"), task="regression") for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": [(np.zeros((1, 4), np.float32), np.zeros(1, np.float32))]}, "reads 4 numbers, and is given 3"),
        ({"layers": [(np.full((1, 3), np.nan, np.float32), np.zeros(1, np.float32))]}, "not finite"),
    ],
)
def test_layers_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    head = NetworkHead("regression", STANDARD, **change)
    with pytest.raises(ModelError, match=words):
        build_graph(TRANSFORMS, head, task="regression")
