"""The ONNX side of every transform against a plain numpy float32 reading of what its docstring says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nightshift.transforms import OnnxGraph, Transforms
from nightshift.transforms.categorical import Index, OneHot
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Bucketize, Clip, Impute, Log, Scale

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FLOATS = st.floats(width=32)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
LEVELS = st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=5).map(lambda found: tuple(sorted(found)))


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    low, high = sorted([draw(FINITE), draw(FINITE)])
    return Clip(low if draw(st.booleans()) else None, high if draw(st.booleans()) else None)


STEPS = st.one_of(
    st.builds(Impute, st.none() | FINITE),
    clips(),
    st.builds(Scale, FINITE, st.just(0.0) | st.floats(1e-6, 1e6)),
    st.just(Log()),
    st.lists(FINITE, min_size=1, max_size=5, unique=True).map(lambda edges: Bucketize(tuple(sorted(edges)))),
)


def onnx_vectors(transforms: Transforms, inputs: dict[str, np.ndarray]) -> np.ndarray:
    graph = OnnxGraph()
    output = transforms.onnx_nodes(graph)
    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "transforms",
            [helper.make_tensor_value_info(name, types[kind], ["N", 1]) for name, kind in transforms.request_columns],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", len(transforms.feature_names)])],
            initializer=graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def reference(step: Any, values: np.ndarray) -> np.ndarray:
    """One float32 step, written as its docstring reads."""
    result = values.copy()
    for place, value in enumerate(values):
        result[place] = reference_value(step, value)
    return result


def reference_value(step: Any, value: np.float32) -> np.float32 | float:
    if isinstance(step, Impute):
        return step.value if np.isnan(value) and step.value is not None else value
    if np.isnan(value):
        return value
    if isinstance(step, Clip):
        if step.low is not None and value < np.float32(step.low):
            return step.low
        return step.high if step.high is not None and value > np.float32(step.high) else value
    if isinstance(step, Scale):
        with np.errstate(over="ignore"):
            return 0.0 if step.deviation == 0 else np.float32((np.float64(value) - step.mean) / step.deviation)
    if isinstance(step, Log):
        return np.float32(np.log(1.0 + np.abs(np.float64(value))) * (-1.0 if value < 0 else 1.0))
    return sum(np.float32(edge) <= value for edge in step.edges)


def bits(values: np.ndarray) -> list[int]:
    return np.where(np.isnan(values), np.float32(np.nan), values).astype(np.float32).view(np.uint32).tolist()


@QUICK
@given(st.lists(STEPS, max_size=4), st.lists(FLOATS, min_size=1, max_size=30))
def test_numeric_chains_give_the_bits_of_the_reference(steps: list[Any], given_values: list[float]) -> None:
    values = np.array([*given_values, np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    edges = [edge for step in steps for edge in getattr(step, "edges", ())]
    values = np.concatenate([values, np.array(edges, np.float32)])

    expected = values
    for step in steps:
        expected = reference(step, expected)
    expected = np.where(np.isinf(expected), np.float32(np.nan), expected)
    transforms = Transforms((NumericColumn("x", tuple(steps)),), ())

    found = onnx_vectors(transforms, {"x": values.reshape(-1, 1)})[:, 0]

    logs = sum(isinstance(step, Log) for step in steps)
    if logs:  # the two logarithms may round differently in the last bit of a float64
        np.testing.assert_allclose(found, expected, rtol=3e-7 * 10**logs, atol=1e-30)
    else:
        assert bits(found) == bits(expected)


@QUICK
@given(LEVELS, st.lists(st.text(max_size=4), min_size=1, max_size=10))
def test_encoders_place_levels_and_leave_the_rest_empty(levels: tuple[str, ...], others: list[str]) -> None:
    asked = [*levels, *others, ""]
    texts = np.array(asked, object).reshape(-1, 1)
    transforms = Transforms(
        (NumericColumn("x"),),
        (CategoricalColumn("a", "one_hot", 9, levels), CategoricalColumn("b", "index", 9, levels)),
    )

    found = onnx_vectors(transforms, {"x": np.ones((len(asked), 1), np.float32), "a": texts, "b": texts})

    known = [levels.index(text) if text in levels else -1 for text in asked]
    assert found[:, 0].tolist() == [1.0] * len(asked)
    assert found[:, 1:-1].tolist() == [[float(place == at) for at in range(len(levels))] for place in known]
    assert found[:, -1].tolist() == known
    assert transforms.feature_names == ("x", *(f"a={level}" for level in levels), "b")
    assert transforms.columns_of_features == ("x", *(["a"] * len(levels)), "b")


def test_an_encoder_is_told_by_its_kind() -> None:
    assert isinstance(CategoricalColumn("a", "one_hot", 9, ("x",)).fitted, OneHot)
    assert isinstance(CategoricalColumn("a", "index", 9, ("x",)).fitted, Index)
