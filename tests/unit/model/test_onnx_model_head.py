"""ONNX models of other libraries as heads: they say what their library says, or what is wrong with them."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.request_rows import EVERY_TRANSFORM, ROWS, TRANSFORMS, requests_of, training_rows, vectors_by_graph

from nightshift.errors import ModelError
from nightshift.model.graph import OPSETS, build_graph
from nightshift.model.heads.onnx_model import OnnxModelHead
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.spec.values import Task

pytestmark = pytest.mark.thorough

CLASSES = ("EWR", "JFK", "LGA")
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
WIDTH = 5  # of TRANSFORMS
FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


# -- a library's own scores, by task and transforms ----------------------------------------------------


@cache
def forest(task: Task, number: int) -> tuple[Any, Scorer]:
    """A forest of scikit-learn that fills what is missing, and the graph of it."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    transforms, (rows, random) = EVERY_TRANSFORM[number], training_rows()
    vectors = vectors_by_graph(transforms, rows)
    value = np.nan_to_num(vectors[:, 0], nan=30) + 3 * vectors[:, 2] + random.normal(size=2000)
    places = np.searchsorted(np.quantile(value, [0.5] if task == "binary" else [0.3, 0.7]), value)
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    model = make_pipeline(SimpleImputer(keep_empty_features=True), kind(20, max_depth=7, random_state=1))
    model.fit(vectors, value if task == "regression" else places)
    width = vectors.shape[1]
    options = None if task == "regression" else {"zipmap": False}
    converted = to_onnx(
        model, initial_types=[("x", FloatTensorType([None, width]))], options=options, target_opset=OPSETS
    )
    return model, scorer_of(OnnxModelHead(converted, task, width, CLASSES_OF[task]), task, transforms=transforms)


CLASSES_OF: dict[Task, int] = {"binary": 0, "multiclass": 3, "regression": 0}


def scorer_of(head: OnnxModelHead, task: Task = "binary", *, transforms: Any = TRANSFORMS) -> Scorer:
    threshold = 0.5 if task == "binary" else None
    classes = CLASSES if task == "multiclass" else ()
    return Scorer.load(build_graph(transforms, head, task=task, threshold=threshold, classes=classes))


@settings(deadline=None, max_examples=120)
@given(ROWS, st.sampled_from(TASKS), st.integers(0, len(EVERY_TRANSFORM) - 1))
def test_graph_and_library_agree_whatever_the_rows_hold(rows: list[Any], task: Task, number: int) -> None:
    model, scorer = forest(task, number)
    requests = requests_of(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scikit-learn adds up all numbers to see if one is infinite
        vectors = vectors_by_graph(EVERY_TRANSFORM[number], requests)
        scores = model.predict(vectors) if task == "regression" else model.predict_proba(vectors)
    scores = scores[:, 1] if task == "binary" else scores
    threshold = 0.5 if task == "binary" else None
    compare(scores.astype(np.float32), scorer.score(requests), task=task, threshold=threshold).require()


# -- forms of models, made by hand ---------------------------------------------------------------------


def model_of(
    nodes: list[Any],
    shape: list[Any],
    *,
    kind: int = FLOAT,
    given: tuple[int, list[Any]] = (FLOAT, ["N", WIDTH]),
    opset: int = 15,
    constants: dict[str, Any] | None = None,
    more: tuple[Any, ...] = (),
) -> onnx.ModelProto:
    """A model from ``x`` to ``y``."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", *given)],
        [helper.make_tensor_value_info("y", kind, shape), *more],
        initializer=tensors,
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 3) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets)


def node(op: str, *names: str, **attributes: Any) -> Any:
    *inputs, output = names
    return helper.make_node(op, inputs, [output], **attributes)


def mean_of(keepdims: int) -> Any:
    return node("ReduceMean", "s", "y", axes=[1], keepdims=keepdims)


SIGMOID = node("Sigmoid", "x", "s")
FORMS = {
    "vector": model_of([SIGMOID, mean_of(0)], ["N"]),
    "column": model_of([SIGMOID, mean_of(1)], ["N", 1]),
    "both_classes": model_of(
        [SIGMOID, node("ReduceMean", "s", "p", axes=[1], keepdims=1), node("Sub", "one", "p", "q"), node("Concat", "q", "p", "y", axis=1)],
        ["N", 2],
        constants={"one": np.float32(1)},
    ),
    "float64": model_of([SIGMOID, mean_of(0)], ["N"], kind=DOUBLE, given=(DOUBLE, ["N", WIDTH])),
    "labels_too": model_of(
        [SIGMOID, mean_of(0), node("Cast", "y", "label", to=INT64)], ["N"], more=(helper.make_tensor_value_info("label", INT64, ["N"]),)
    ),
    "newer_operators_of_the_same_meaning": model_of([SIGMOID, node("MatMul", "s", "w", "y")], ["N"], opset=19, constants={"w": np.full(WIDTH, 0.2, np.float32)}),
    "a_branch_with_constants_from_outside": model_of(
        [
            SIGMOID,
            helper.make_node(
                "If",
                ["yes"],
                ["y"],
                then_branch=helper.make_graph([node("MatMul", "s", "w", "t")], "then", [], [helper.make_tensor_value_info("t", FLOAT, ["N"])]),
                else_branch=helper.make_graph([node("MatMul", "x", "w", "e")], "else", [], [helper.make_tensor_value_info("e", FLOAT, ["N"])]),
            ),
        ],
        ["N"],
        constants={"yes": np.array(True), "w": np.full(WIDTH, 0.2, np.float32)},
    ),
    "names_of_the_graph": model_of([node("Sigmoid", "x", "probability"), node("ReduceMean", "probability", "y", axes=[1], keepdims=0)], ["N"]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_scores_becomes_the_probability(form: str) -> None:
    rows = requests_of([(12.0, 3.0, "AA"), (-60.0, 0.5, None), (59.0, 2.0, "UA")])
    vectors = vectors_by_graph(TRANSFORMS, rows).astype(np.float64)
    found = scorer_of(OnnxModelHead(FORMS[form], "binary", WIDTH)).score(rows)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-vectors))).mean(axis=1), rtol=1e-6)


def test_a_last_bit_above_1_is_none() -> None:
    """Forests add up shares of trees in float32: of 25 trees that are sure, to 1.0000001."""
    above = np.float32(25 * [0.04]).cumsum(dtype=np.float32).max()
    assert above > 1
    nodes = [
        node("ReduceMax", "x", "m", axes=[1], keepdims=0),
        node("Mul", "m", "zero", "z"),
        node("Add", "z", "above", "y"),
    ]
    model = model_of(nodes, ["N"], constants={"zero": np.float32(0), "above": above})
    assert scorer_of(OnnxModelHead(model, "binary", WIDTH)).score(requests_of([(1.0, 1.0, "AA")])).tolist() == [1.0]


def test_the_same_model_gives_the_same_bytes_and_stays_as_it_was() -> None:
    model = FORMS["both_classes"]
    before = model.SerializeToString(deterministic=True)
    first, second = (build_graph(TRANSFORMS, OnnxModelHead(model, "binary", WIDTH), threshold=0.5) for _ in range(2))
    assert first == second
    assert model.SerializeToString(deterministic=True) == before


def sparse() -> onnx.ModelProto:
    model = model_of([SIGMOID, mean_of(0)], ["N"])
    values = helper.make_tensor("w", FLOAT, [1], [1.0])
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("i", INT64, [1], [0]), [5])
    )
    return model


def external() -> onnx.ModelProto:
    model = model_of([node("MatMul", "x", "w", "y")], ["N"], constants={"w": np.ones(WIDTH, np.float32)})
    (tensor,) = model.graph.initializer
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model


def with_function() -> onnx.ModelProto:
    model = model_of([SIGMOID, mean_of(0)], ["N"])
    model.functions.append(
        helper.make_function("own", "F", ["a"], ["b"], [node("Sigmoid", "a", "b")], [helper.make_opsetid("", 15)])
    )
    return model


SOFTMAX = [node("Softmax", "x", "s"), mean_of(0)]
LARGE = model_of([SIGMOID, mean_of(0)], ["N"])
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "older_operator_of_another_meaning": (model_of(SOFTMAX, ["N"], opset=11), {}, r"of ai\.onnx 15 and ai\.onnx\.ml 3, and these .*, Softmax of ai\.onnx 11\.\n  Hint: convert with target_opset=\{'': 15"),
    "newer_operator_of_another_meaning": (model_of([SIGMOID, node("ReduceMean", "s", "axes", "y", keepdims=0)], ["N"], opset=18, constants={"axes": np.array([1])}), {}, r"ReduceMean of ai\.onnx 18"),
    "unknown_operator": (model_of([node("Gelu", "x", "s"), mean_of(0)], ["N"], opset=20), {}, r"Gelu of ai\.onnx 20"),
    "another_domain": (model_of([node("FusedMatMul", "x", "x", "y", domain="com.microsoft")], ["N"]), {}, r"uses com\.microsoft\.FusedMatMul; only operators of"),
    "functions": (with_function(), {}, "defines functions of its own"),
    "external_data": (external(), {}, "keeps tensors in other files"),
    "sparse": (sparse(), {}, "sparse constants"),
    "other_width": (LARGE, {"width": 7}, r"the input of the ONNX model, x, is float32 \[N, 5\]; float32 \[N, 7\] was expected"),
    "one_row_only": (model_of([SIGMOID, mean_of(0)], [1], given=(FLOAT, [1, WIDTH])), {}, r"is float32 \[1, 5\]; float32 \[N, 5\]"),
    "whole_numbers_in": (model_of([node("Cast", "x", "c", to=FLOAT), node("Sigmoid", "c", "s"), mean_of(0)], ["N"], given=(INT64, ["N", WIDTH])), {}, r"x, is int64 \[N, 5\]"),
    "labels_only": (model_of([node("ArgMax", "x", "y", axis=1, keepdims=0)], ["N"], kind=INT64), {}, r"must have one output of floating-point numbers; its outputs are y \(int64 \[N\]\)"),
    "two_outputs": (model_of([SIGMOID, mean_of(0)], ["N"], more=(helper.make_tensor_value_info("s", FLOAT, ["N", WIDTH]),)), {}, r"its outputs are y \(float32 \[N\]\), s \(float32 \[N, 5\]\)\.\n  Hint: name the one"),
    "no_such_output": (LARGE, {"scores": "z"}, r"must have an output z; its outputs are y"),
    "three_columns": (model_of([node("Slice", "x", "a", "b", "c", "y")], ["N", 3], constants={"a": np.array([0]), "b": np.array([3]), "c": np.array([1])}), {}, r"y of the ONNX model is float32 \[N, 3\]; binary needs \[N\] or \[N, 1\]"),
    "other_classes": (model_of([node("Softmax", "x", "y")], ["N", WIDTH]), {"task": "multiclass", "classes": 3}, r"is float32 \[N, 5\]; multiclass needs \[N, 3\], a probability for each class"),
    "no_proto": (b"bytes", {}, r"an onnx\.ModelProto was expected, not a bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_cannot_be_a_head_says_why(case: str) -> None:
    model, changes, words = REFUSED[case]
    head = OnnxModelHead(model, **{"task": "binary", "width": WIDTH, **changes})
    with pytest.raises(ModelError, match=words):
        scorer_of(head, head.task)


def test_the_output_with_the_scores_can_be_named() -> None:
    model = REFUSED["two_outputs"][0]
    rows = requests_of([(12.0, 3.0, "AA")])
    assert scorer_of(OnnxModelHead(model, "binary", WIDTH, scores="y")).score(rows).shape == (1,)


def test_a_dictionary_of_probabilities_is_refused_with_the_way_out() -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    learned = LogisticRegression().fit(np.eye(WIDTH), [0, 1, 0, 1, 1])
    zipped = to_onnx(learned, initial_types=[("x", FloatTensorType([None, WIDTH]))], target_opset=OPSETS)
    with pytest.raises(ModelError, match=r'a sequence\)\.\n  Hint: skl2onnx: options=\{"zipmap": False\}'):
        scorer_of(OnnxModelHead(zipped, "binary", WIDTH))
