"""Explanations of real graphs: what the columns add is what the graph gives, whatever the rows hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skl2onnx
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, compose, helper
from scipy import special
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from tests.unit.model.conftest import small_model
from tests.unit.model.test_model_tasks import PORTS, TRANSFORMS, number, requests_of, several, training_rows, vectors_of

from nightshift.errors import DataError, IntegrityError, ModelError
from nightshift.model.attributions import TOLERANCE, Attributions, Explainer, background_of, explainer_of
from nightshift.model.graph import build_graph
from nightshift.model.session import Scorer
from nightshift.spec.values import Task
from nightshift.transforms import OnnxGraph

pytestmark = pytest.mark.thorough

PLACES = TRANSFORMS.columns_of_features
INSTEAD = (11.3, 4.4, 0.1, 0.2, 0.3)
FLOAT = (
    st.none() | st.just(float("nan")) | st.floats(width=32) | st.sampled_from([-5.0, 60.0, 0.0, -0.0, 3.4e38, 1e-45])
)
TEXT = st.none() | st.sampled_from(["AA", "B6", "UA", "", "ZZ", "never seen"])
ROWS = st.lists(st.tuples(FLOAT, FLOAT, TEXT), min_size=1, max_size=30)


@dataclass(frozen=True)
class Head:
    """What is learned as a few lines of nodes; everything else of the graph is made as for every model."""

    nodes: Callable[[OnnxGraph, str], str]

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        return graph.add("Cast", self.nodes(graph, features), to=TensorProto.FLOAT, output=output)


def graph_of(nodes: Callable[[OnnxGraph, str], str], task: Task) -> bytes:
    classes = PORTS if task == "multiclass" else ()
    return build_graph(TRANSFORMS, Head(nodes), task=task, threshold=0.5, classes=classes)


def filled(graph: OnnxGraph, features: str) -> str:
    """The vector in float64, with a number where it is missing."""
    known = graph.add("Where", graph.add("IsNaN", features), graph.float32(*INSTEAD), features)
    return graph.cast(known, "DOUBLE")


def told(graph: OnnxGraph, sums: str, task: Task) -> str:
    """Scores of sums ``[N, K]``."""
    if task == "multiclass":
        return graph.add("Softmax", sums, axis=1)
    alone = graph.add("Squeeze", sums, graph.int64(1))
    return graph.add("Sigmoid", alone) if task == "binary" else alone


@cache
def linear(task: Task = "binary") -> bytes:
    """Coefficients and intercepts; nothing leaves float32."""
    weights = np.array([[0.05], [-0.2], [1.5], [0.0], [-0.3]])
    if task == "multiclass":
        weights = weights * np.array([1.0, -1.0, 0.5, 0.0])

    def nodes(graph: OnnxGraph, features: str) -> str:
        product = graph.add("MatMul", filled(graph, features), graph.constant(weights))
        scores = told(graph, graph.add("Add", product, graph.constant(np.array([-0.7]))), task)
        return graph.add("Clip", scores, graph.float64(-3.4028234663852886e38), graph.float64(3.4028234663852886e38))

    return graph_of(nodes, task)


TREE = {
    # x0 <= 11.3 ? (x1 < 4.4 ? 0.25 : -1.5) : (x2 >= 1 ? 2.0 : x0 > 40 ? 1 : 0.5); what is missing is filled before
    "nodes_treeids": [0] * 9 + [1],
    "nodes_nodeids": [*range(9), 0],
    "nodes_featureids": [0, 1, 0, 0, 2, 0, 0, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "BRANCH_GTE", "LEAF", "BRANCH_GT", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 2, 0, 0, 5, 0, 7, 0, 0, 0],
    "nodes_falsenodeids": [4, 3, 0, 0, 6, 0, 8, 0, 0, 0],
    "post_transform": "NONE",
}  # fmt: skip
LEAVES = [(0, 2, 0.25), (0, 3, -1.5), (0, 5, 2.0), (0, 7, 1.0), (0, 8, 0.5), (1, 0, 3.0)]


@cache
def double_trees(task: Task = "binary", mode: str = "BRANCH_LEQ", aggregate: str = "SUM") -> bytes:
    """Trees in float64 over filled vectors; the second one is a lone leaf. Binary scores are stretched before they are
    squashed, and those of several classes are each leaf's own.
    """
    several = len(PORTS) if task == "multiclass" else 1
    weights = [value / (place + 1) for *_, value in LEAVES for place in range(several)]

    def tensor(values: list[float]) -> TensorProto:
        return helper.make_tensor("", TensorProto.DOUBLE, [len(values)], values)

    def nodes(graph: OnnxGraph, features: str) -> str:
        ensemble = graph.add(
            "TreeEnsembleRegressor",
            filled(graph, features),
            domain="ai.onnx.ml",
            nodes_values_as_tensor=tensor([11.3, 4.4, 0, 0, 1.0, 0, 40.0, 0, 0, 0]),
            target_treeids=[tree for tree, *_ in LEAVES for _ in range(several)],
            target_nodeids=[node for _, node, _ in LEAVES for _ in range(several)],
            target_ids=[place for _ in LEAVES for place in range(several)],
            target_weights_as_tensor=tensor(weights),
            n_targets=several,
            aggregate_function=aggregate,
            **{**TREE, "nodes_modes": [mode, *TREE["nodes_modes"][1:]]},
        )
        if task == "multiclass":
            return ensemble
        margin = graph.cast(graph.add("Squeeze", ensemble, graph.int64(1)), "DOUBLE")
        return graph.add("Sigmoid", graph.add("Mul", margin, graph.float64(2.0))) if task == "binary" else margin

    return graph_of(nodes, task)


@cache
def network(task: Task = "binary") -> bytes:
    """Two layers."""

    def nodes(graph: OnnxGraph, features: str) -> str:
        random = np.random.default_rng(5)
        hidden = graph.add("MatMul", filled(graph, features), graph.constant(random.normal(size=(5, 4))))
        return told(
            graph, graph.add("MatMul", graph.add("Tanh", hidden), graph.constant(random.normal(size=(4, 1)))), task
        )

    return graph_of(nodes, task)


GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "binary trees": (lambda: small_model().data, "sigmoid"),
    "multiclass trees": (lambda: several().data, "softmax"),
    "regression trees": (lambda: number().data, "none"),
    "large numbers": (lambda: number(scale=1e6, shift=-1e5).data, "none"),
    "linear": (linear, "sigmoid"),
    "linear regression": (lambda: linear("regression"), "none"),
    "linear multiclass": (lambda: linear("multiclass"), "softmax"),
    "double trees": (double_trees, "sigmoid"),
    "double multiclass trees": (lambda: double_trees("multiclass"), "none"),
    "average of trees": (lambda: double_trees("regression", aggregate="AVERAGE"), "none"),
    "double regression trees": (lambda: double_trees("regression"), "none"),
}
LINKS = {"sigmoid": special.expit, "softmax": lambda raw: special.softmax(raw, axis=1), "none": lambda raw: raw}


@cache
def explained(name: str) -> tuple[Explainer, Scorer]:
    data = GRAPHS[name][0]()
    return explainer_of(data, PLACES, background_of(training_rows()[0])), Scorer.load(data)


def tolerance_of(found: Attributions) -> np.ndarray:
    return TOLERANCE * np.maximum(1, np.abs(found.base) + np.abs(found.values).sum(axis=1))


def small(number: float | None) -> float | None:
    return None if number is None else float(np.clip(number, -1e6, 1e6))


@pytest.mark.parametrize("name", GRAPHS)
@settings(deadline=None, max_examples=25)
@given(rows=ROWS)
def test_base_and_columns_add_up_to_what_the_graph_gives(name: str, rows: list[Any]) -> None:
    explainer, scorer = explained(name)
    requests = requests_of(rows)
    if name.startswith("linear"):  # coefficients of 1e38 leave no digits for anything else
        requests = requests_of([(small(delay), small(distance), carrier) for delay, distance, carrier in rows])
    found = explainer.explain(requests)
    assert np.array_equal(found.raw, found.base + found.values.sum(axis=1))
    linked = LINKS[GRAPHS[name][1]](found.raw)
    assert (np.abs(linked - scorer.score(requests).reshape(linked.shape)) <= tolerance_of(found)).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_the_background_averages_to_nothing(name: str) -> None:
    """By the definition of Shapley values: over the background rows, every column adds 0 on average."""
    found = explained(name)[0].explain(background_of(training_rows()[0]))
    assert np.abs(found.values.mean(axis=0)).max() < 1e-5 * max(1, np.abs(found.values).max())


def test_margins_are_those_of_the_booster() -> None:
    """Log-odds, compared with what xgboost itself says before the sigmoid."""
    model = small_model()
    found = explainer_of(model.data, PLACES, background_of(model.requests)).explain(model.requests)
    margins = model.booster.predict(xgboost.DMatrix(model.features), output_margin=True)
    assert (found.method, found.unit) == ("tree_shap", "log-odds")
    assert np.abs(found.raw[:, 0] - margins).max() < 2e-6


def test_places_of_a_column_are_added_up_as_shap_gives_them_for_the_booster_itself() -> None:
    model = small_model()
    background, rows = background_of(model.requests), model.requests.slice(0, 300)
    found = explainer_of(model.data, PLACES, background).explain(rows)

    import shap  # imported before, with matplotlib's warnings of its own future left out

    theirs = shap.TreeExplainer(model.booster, vectors_of(background).astype(float)).shap_values(vectors_of(rows))
    assert found.columns == ("delay", "distance", "carrier")
    assert np.allclose(found.values[:, :2, 0], theirs[:, :2], atol=1e-5)
    assert np.allclose(found.values[:, 2, 0], theirs[:, 2:].sum(axis=1), atol=1e-5)


def test_columns_that_do_not_act_together_get_what_each_of_them_does() -> None:
    """Stumps: the truth is known. A column adds what its stumps give, less their mean over the background."""
    model = small_model(max_depth=1)
    background, rows = background_of(model.requests), model.requests.slice(0, 200)
    found = explainer_of(model.data, PLACES, background).explain(rows)

    def alone(column: str, of: pa.Table) -> np.ndarray:
        """Margins with the other columns held still."""
        still = pa.table(
            {name: [model.requests.column(name)[0].as_py()] * len(of) for name in model.requests.column_names}
        )
        place = still.column_names.index(column)
        held = still.set_column(place, column, of.column(column))
        return model.booster.predict(xgboost.DMatrix(vectors_of(held)), output_margin=True)

    for place, column in enumerate(found.columns):
        truth = alone(column, rows) - alone(column, background).mean()
        assert np.abs(found.values[:, place, 0] - truth).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "method", "unit", "outputs"),
    [
        ("multiclass trees", "tree_shap", "margin", 4),
        ("regression trees", "tree_shap", "value", 1),
        ("linear", "linear_shap", "log-odds", 1),
        ("linear regression", "linear_shap", "value", 1),
        ("linear multiclass", "linear_shap", "margin", 4),
        ("double trees", "tree_shap", "log-odds", 1),
        ("double multiclass trees", "tree_shap", "probability", 4),
    ],
)
def test_what_is_recognised(name: str, method: str, unit: str, outputs: int) -> None:
    found = explained(name)[0].explain(training_rows()[0].slice(0, 3))
    assert (found.method, found.unit, found.values.shape, found.adds_up) == (method, unit, (3, 3, outputs), True)


@pytest.mark.parametrize(
    ("forest", "unit"), [(RandomForestClassifier, "probability"), (GradientBoostingClassifier, "log-odds")]
)
def test_trees_that_another_converter_wrote(forest: Any, unit: str) -> None:
    """With probabilities of both classes, of which the graph chooses the second."""
    rows = training_rows()[0]
    vectors = np.nan_to_num(vectors_of(rows))
    trained = forest(n_estimators=9, max_depth=4, random_state=0).fit(vectors, vectors[:, 0] + vectors[:, 1] > 14)
    versions = {"": 15, "ai.onnx.ml": 3}
    converted = skl2onnx.to_onnx(trained, vectors[:1], target_opset=versions, options={"zipmap": False})
    written = compose.add_prefix_graph(converted.graph, "theirs/")

    def nodes(graph: OnnxGraph, features: str) -> str:
        known = graph.add("Where", graph.add("IsNaN", features), graph.float32(0.0), features)
        graph.add("Identity", known, output=written.input[0].name)
        graph.nodes.extend(written.node)
        graph.constants.extend(written.initializer)
        both = graph.cast(written.output[1].name, "FLOAT")
        cut = graph.add("Clip", both, graph.float32(0.0), graph.float32(1.0))
        return graph.add("Gather", cut, graph.constant(np.array(1, np.int64)), axis=1)

    found = explainer_of(graph_of(nodes, "binary"), PLACES, background_of(rows)).explain(rows.slice(0, 300))
    told = trained.predict_proba(vectors[:300])[:, 1]
    truth = special.logit(told) if unit == "log-odds" else told
    assert (found.method, found.unit) == ("tree_shap", unit)
    assert np.abs(found.raw[:, 0] - truth).max() < 1e-5


def test_a_linear_column_gets_coefficient_times_distance_from_the_mean() -> None:
    rows, background = requests_of([(20.0, 1.0, "AA"), (None, 1.0, "AA")]), background_of(training_rows()[0])
    found = explained("linear")[0].explain(rows)
    means = np.nan_to_num(vectors_of(background).astype(float), nan=11.3).mean(axis=0)
    assert found.values[0, 0, 0] == pytest.approx(0.05 * (20 - means[0]), abs=1e-6)
    assert found.values[1, 0, 0] == pytest.approx(0.05 * (11.3 - means[0]), abs=1e-6)
    assert found.values[0, 2, 0] == pytest.approx(1.5 * (1 - means[2]) + 0.3 * means[4], abs=1e-6)


class TestReplacement:
    """For what is neither trees nor linear."""

    def test_a_network(self) -> None:
        rows, background = training_rows()[0].slice(0, 4), background_of(training_rows()[0])
        found = explainer_of(network(), PLACES, background).explain(rows)
        scorer = Scorer.load(network())
        assert (found.method, found.unit, found.adds_up) == ("replacement", "probability", False)
        assert found.base[0] == pytest.approx(scorer.score(background).mean(), abs=1e-6)
        same = pa.concat_tables([rows.slice(2, 1)] * len(background))
        replaced = same.set_column(0, "delay", background.column("delay"))
        truth = scorer.score(rows)[2] - scorer.score(replaced).astype(float).mean()
        assert found.values[2, 0, 0] == pytest.approx(truth, abs=1e-6)

    def test_a_column_that_nothing_depends_on_gets_nothing(self) -> None:
        found = explainer_of(number(scale=0.0, shift=2.0).data, PLACES, background_of(training_rows()[0]))
        assert not found.explain(training_rows()[0].slice(0, 5)).values.any()

    def test_trees_with_splits_that_shap_has_not(self, caplog: pytest.LogCaptureFixture) -> None:
        found = explainer_of(double_trees(mode="BRANCH_EQ"), PLACES, background_of(training_rows()[0]))
        assert found.method == "replacement"
        assert "cannot be read: it splits by BRANCH_EQ" in caplog.text


class TestMistakes:
    def test_another_model(self) -> None:
        with pytest.raises(IntegrityError, match="was recorded"):
            explainer_of(linear(), PLACES, training_rows()[0], digest="0" * 64)

    def test_no_background(self) -> None:
        with pytest.raises(ModelError, match="no background rows"):
            explainer_of(linear(), PLACES, training_rows()[0].slice(0, 0))

    def test_transforms_of_another_model(self) -> None:
        for places in (PLACES[:-1], [*PLACES[:-1], "origin"]):
            with pytest.raises(
                ModelError, match=f"5 places of the columns .*, and the transforms make {len(places)} of"
            ):
                explainer_of(linear(), places, training_rows()[0])

    def test_a_column_is_absent(self) -> None:
        with pytest.raises(DataError, match="lacks column carrier"):
            explained("linear")[0].explain(training_rows()[0].drop_columns(["carrier"]))


def test_the_background_is_the_same_whenever_it_is_drawn() -> None:
    rows = training_rows()[0].drop_columns(["delay"])
    assert background_of(rows).equals(background_of(rows))
    assert (len(background_of(rows)), len(background_of(rows.slice(0, 7)))) == (100, 7)


def test_a_list_of_the_graph_is_made_an_array_once_however_many_trees_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There can be millions of entries: to go through them for each tree would take hours."""
    from nightshift.model.attributions import trees

    made: list[str] = []
    numbers = trees._numbers
    monkeypatch.setattr(trees, "_numbers", lambda given, name: made.append(name) or numbers(given, name))
    counts = []
    for forests in (1, 5):
        made.clear()
        model = small_model(300, num_parallel_tree=forests)
        assert explainer_of(model.data, PLACES, background_of(model.requests)).method == "tree_shap"
        counts.append(len(made))
    assert counts[0] == counts[1] > 0
