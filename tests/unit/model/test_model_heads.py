"""Linear sums and trees as nodes of a graph, against the same worked out by hand in float64; no JVM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import ModelError
from nightshift.model.graph import build_graph
from nightshift.model.heads import Head
from nightshift.model.heads.linear import LinearHead
from nightshift.model.heads.trees import LEAF, Trees, TreesHead
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.spec.values import Task
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Clip

pytestmark = pytest.mark.thorough

LEVELS = ("AA", "B6", "UA")
CLASSES = ("EWR", "JFK", "LGA")
TRANSFORMS = Transforms(
    (NumericColumn("delay", (Clip(-5.0, 60.0),)), NumericColumn("distance")),
    (CategoricalColumn("carrier", "one_hot", 9, LEVELS),),
)
WIDTH = 5
INSTEAD = np.array([12.3, -4.5, 0.25, 0.5, 0.1], np.float32)
LARGEST = float(np.finfo(np.float32).max)
Array = np.ndarray[Any, Any]

# Where trees divide rows, and values at and beside those places.
PLACES = (0.0, 0.1, 1 / 3, 12.5, -4.5, 59.99999, 1e-40, 3e38)
VALUES = sorted(
    {
        float(value)
        for place in map(np.float32, PLACES)
        for value in (np.nextafter(place, np.float32(-np.inf)), place, np.nextafter(place, np.float32(np.inf)))
    }
)
THRESHOLDS = [
    *VALUES,
    *(value for place in VALUES for value in (np.nextafter(place, -np.inf), np.nextafter(place, np.inf))),
    *((low + high) / 2 for low, high in pairwise(VALUES)),
]
NUMBER = st.none() | st.just(float("nan")) | st.sampled_from([*VALUES, -0.0, LARGEST, -LARGEST]) | st.floats(width=32)
TEXT = st.none() | st.sampled_from([*LEVELS, "", "ZZ", "never seen"]) | st.text(max_size=5)
ROWS = st.lists(st.tuples(NUMBER, NUMBER, TEXT), min_size=1, max_size=30)
COEFFICIENT = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-300, 1.0])


def requests_of(rows: list[tuple[Any, Any, Any]]) -> pa.Table:
    kinds = {"delay": pa.float64(), "distance": pa.float64(), "carrier": pa.string()}
    return pa.table(
        {name: pa.array(column, kinds[name]) for name, column in zip(kinds, zip(*rows, strict=True), strict=True)}
    )


def vectors_of(rows: list[tuple[Any, Any, Any]]) -> Array:
    """What the transforms make of the rows, with what is missing filled: float32 numbers in float64."""
    table = requests_of(rows)
    delay, distance = (table.column(name).to_numpy().astype(np.float32) for name in ("delay", "distance"))
    carrier = np.array(table.column("carrier").to_pylist(), object)
    numbers = np.column_stack([np.clip(delay, -5, 60), np.where(np.isfinite(distance), distance, np.nan)])
    vectors = np.column_stack([numbers, *((carrier == level).astype(np.float32) for level in LEVELS)])
    return np.where(np.isnan(vectors), INSTEAD, vectors).astype(np.float64)


def graph_of(head: Head, task: Task) -> Scorer:
    threshold = 0.5 if task == "binary" else None
    classes = CLASSES if task == "multiclass" else ()
    return Scorer.load(build_graph(TRANSFORMS, head, task=task, threshold=threshold, classes=classes))


def logistic(margin: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-margin)))


def softmax(sums: Array) -> Array:
    raised = np.exp(sums - sums.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


# -- sums ----------------------------------------------------------------------------------------------

TOLD: dict[Task, Callable[[Array], Array]] = {
    "binary": lambda sums: logistic(sums[:, 0]),
    "multiclass": softmax,
    "regression": lambda sums: np.clip(sums[:, 0], -LARGEST, LARGEST),
}


def sums_head(task: Task, numbers: list[float]) -> LinearHead:
    rows = len(CLASSES) if task == "multiclass" else 1
    table = np.array(numbers[: rows * (WIDTH + 1)]).reshape(rows, WIDTH + 1)
    return LinearHead(task, table[:, :-1], table[:, -1], INSTEAD)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(list(TOLD)), st.lists(COEFFICIENT, min_size=18, max_size=18), ROWS)
def test_sums_are_those_of_float64(task: Task, numbers: list[float], rows: list[Any]) -> None:
    head = sums_head(task, numbers)
    expected = TOLD[task](vectors_of(rows) @ head.coefficients.T + head.intercepts).astype(np.float32)
    found = graph_of(head, task).score(requests_of(rows))
    assert compare(expected, found, task=task, threshold=0.5 if task == "binary" else None).require().rows == len(rows)


def test_a_sum_beyond_float32_is_the_largest_float32() -> None:
    head = sums_head("regression", [0.0, 1e6, 0.0, 0.0, 0.0, 0.0])
    found = graph_of(head, "regression").score(requests_of([(0, LARGEST, "AA"), (0, -LARGEST, "AA")]))
    assert found.tolist() == [LARGEST, -LARGEST]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coefficients": np.zeros((2, WIDTH))}, "finite coefficients for binary were expected: 2 x 5"),
        ({"coefficients": np.zeros((1, WIDTH - 1))}, "1 x 4 of them, 1 intercepts and 5 features"),
        ({"coefficients": np.full((1, WIDTH), np.nan)}, "finite coefficients"),
        ({"intercepts": np.array([np.inf])}, "finite coefficients"),
        ({"instead": np.full(WIDTH, np.nan, np.float32)}, "one finite float32 for each feature"),
    ],
)
def test_sums_that_do_not_fit_are_refused(changes: dict[str, Array], said: str) -> None:
    given = {"coefficients": np.zeros((1, WIDTH)), "intercepts": np.zeros(1), "instead": INSTEAD, **changes}
    with pytest.raises(ModelError, match=said):
        graph_of(LinearHead("binary", **given), "binary")


# -- trees ---------------------------------------------------------------------------------------------

Node = tuple[int, float, Any, Any] | list[int]
"""Feature, threshold, left and right; or what a leaf adds to each sum."""


def nodes(sums: int) -> st.SearchStrategy[Node]:
    """Trees whose leaves add whole numbers: their sums are the same in any order."""
    leaves = st.lists(st.integers(-999, 999), min_size=sums, max_size=sums)
    grown = partial(st.tuples, st.integers(0, WIDTH - 1), st.sampled_from(THRESHOLDS))
    return st.recursive(leaves, lambda below: grown(below, below), max_leaves=12)


def walked(node: Node, row: Array) -> list[int]:
    while isinstance(node, tuple):
        feature, threshold, left, right = node
        node = left if row[feature] <= threshold else right
    return node


def listed(node: Node) -> list[tuple[int, float, int, int, list[int]]]:
    """The nodes from the root on, left before right: feature, threshold, places of the children, sums."""
    if not isinstance(node, tuple):
        return [(LEAF, 0.0, -1, -1, node)]
    feature, threshold, *below = node
    left, right = map(listed, below)
    moved = [
        (*found[:2], *(child + begin if child >= 0 else child for child in found[2:4]), found[4])
        for begin, part in ((1, left), (1 + len(left), right))
        for found in part
    ]
    blank = [0] * len(moved[-1][4])
    return [(feature, threshold, 1, 1 + len(left), blank), *moved]


def trees_of(forest: list[Node]) -> Trees:
    parts = [listed(tree) for tree in forest]
    features, thresholds, left, right, values = zip(*(node for part in parts for node in part), strict=True)
    whole = [np.array(column, np.int64) for column in ([len(part) for part in parts], features, left, right)]
    return Trees(whole[0], whole[1], np.array(thresholds, np.float64), whole[2], whole[3], np.array(values, np.float64))


def added(forest: list[Node], rows: list[Any]) -> Array:
    return np.array([np.sum([walked(tree, row) for tree in forest], axis=0) for row in vectors_of(rows)], np.float64)


@settings(deadline=None, max_examples=80)
@given(st.data(), st.sampled_from(["multiclass", "regression"]), ROWS)
def test_rows_end_in_the_leaves_that_float64_says(data: st.DataObject, task: Task, rows: list[Any]) -> None:
    sums = len(CLASSES) if task == "multiclass" else 1
    forest = data.draw(st.lists(nodes(sums), min_size=1, max_size=4))
    head = TreesHead(trees_of(forest), "none", task == "multiclass", INSTEAD)
    expected = added(forest, rows).astype(np.float32)
    assert np.array_equal(graph_of(head, task).score(requests_of(rows)), expected if sums > 1 else expected[:, 0])


@settings(deadline=None, max_examples=40)
@given(st.lists(nodes(1), min_size=1, max_size=4), ROWS, st.sampled_from([1.0, 1e-2, 1e-4]))
def test_margins_of_boosted_trees_are_probabilities(forest: list[Node], rows: list[Any], step: float) -> None:
    trees = trees_of(forest)
    weighted = Trees(trees.sizes, trees.features, trees.thresholds, trees.left, trees.right, trees.values * step)
    found = graph_of(TreesHead(weighted, "logistic", False, INSTEAD), "binary").score(requests_of(rows))
    expected = logistic(2 * step * added(forest, rows)[:, 0]).astype(np.float32)
    assert compare(expected, found, threshold=0.5).require().max_diff < 1e-6


def test_a_value_beside_a_threshold_takes_its_own_branch() -> None:
    """Rounded to float32, 0.1 and its upper neighbour in float64 would be one threshold, and it would be below 0.1."""
    value = float(np.float32(0.1))
    for threshold, leaf in ((np.nextafter(value, 0), 7), (value, 5), (np.nextafter(value, 1), 5)):
        head = TreesHead(trees_of([(1, float(threshold), [5], [7])]), "none", False, INSTEAD)
        assert graph_of(head, "regression").score(requests_of([(0, value, "AA")])).tolist() == [leaf]


def broken(**changes: Any) -> Trees:
    tree: dict[str, Any] = {
        "sizes": np.array([3]),
        "features": np.array([1, LEAF, LEAF]),
        "thresholds": np.zeros(3),
        "left": np.array([1, -1, -1]),
        "right": np.array([2, -1, -1]),
        "values": np.zeros((3, 1)),
    }
    return Trees(**{**tree, **{name: np.array(value) for name, value in changes.items()}})


@pytest.mark.parametrize(
    ("trees", "said"),
    [
        (broken(left=[0, -1, -1]), "has a child that does not come after it"),
        (broken(right=[3, -1, -1]), "has a child that does not come after it"),
        (broken(right=[-1, -1, -1]), "has a child that does not come after it"),
        (broken(features=[WIDTH, LEAF, LEAF]), "looks at a feature beyond the 5 that there are"),
        (broken(features=[-2, LEAF, LEAF]), "looks at a feature beyond"),
        (broken(thresholds=[np.nan, 0, 0]), "has a number that is not finite"),
        (broken(values=[[0.0], [np.inf], [0.0]]), "has a number that is not finite"),
        (broken(sizes=[2]), "trees of 2 nodes were given with"),
        (broken(sizes=[3, 0]), "trees of 3 nodes were given with"),
        (broken(thresholds=[0.0]), "trees of 3 nodes were given with"),
        (broken(values=np.zeros((3, 2))), "trees with one sum were expected, not 2"),
    ],
)
def test_trees_that_do_not_fit_are_refused(trees: Trees, said: str) -> None:
    assert graph_of(TreesHead(broken(), "none", False, INSTEAD), "regression").task == "regression"
    with pytest.raises(ModelError, match=said):
        graph_of(TreesHead(trees, "none", False, INSTEAD), "regression")


def test_the_same_head_gives_the_same_bytes() -> None:
    for head in (TreesHead(broken(), "none", False, INSTEAD), sums_head("regression", [0.5] * 6)):
        first, again = (build_graph(TRANSFORMS, head, task="regression") for _ in range(2))
        assert first == again
