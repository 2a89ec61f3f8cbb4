"""Request rows of two numbers and a category, whatever they hold, and what one model's transforms make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from nightshift.model.graph import IR_VERSION, OPSETS
from nightshift.model.request import request_arrays
from nightshift.transforms import OnnxGraph, Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Bucketize, Clip, Impute, Log, Scale

LEVELS = ("AA", "B6", "UA")
TRANSFORMS = Transforms(
    (NumericColumn("delay", (Clip(-5.0, 60.0),)), NumericColumn("distance")),
    (CategoricalColumn("carrier", "one_hot", 9, LEVELS),),
)
# Every kind of transform somewhere, on the same columns.
EVERY_TRANSFORM = (
    TRANSFORMS,
    Transforms(
        (NumericColumn("delay", (Impute(3.0), Scale(10.0, 20.0))), NumericColumn("distance", (Log(),))),
        (CategoricalColumn("carrier", "index", 9, LEVELS),),
    ),
    Transforms(
        (
            NumericColumn("delay", (Bucketize((-5.0, 0.0, 60.0)),)),
            NumericColumn("distance", (Impute(2.0), Clip(0.0, 8.0))),
        ),
        (CategoricalColumn("carrier", "one_hot", 9, LEVELS),),
    ),
)
FLOAT = (
    st.none() | st.just(float("nan")) | st.floats(width=32) | st.sampled_from([-5.0, 60.0, 0.0, -0.0, 3.4e38, 1e-45])
)
TEXT = st.none() | st.sampled_from([*LEVELS, "", "ZZ", "never seen"]) | st.text(max_size=5)
ROWS = st.lists(st.tuples(FLOAT, FLOAT, TEXT), min_size=1, max_size=60)


def vectors_of(requests: pa.Table) -> np.ndarray:
    """What the transforms make of request rows, by hand; what is infinite at the end is missing."""
    delay, distance = (requests.column(name).to_numpy().astype(np.float32) for name in ("delay", "distance"))
    distance = np.where(np.isfinite(distance), distance, np.nan)
    carrier = np.array(requests.column("carrier").to_pylist(), object)
    one_hot = [(carrier == level).astype(np.float32) for level in LEVELS]
    return np.column_stack([np.clip(delay, -5, 60), distance, *one_hot]).astype(np.float32)


def vectors_by_graph(transforms: Transforms, requests: pa.Table) -> np.ndarray:
    """What any transforms make of request rows, by their own nodes."""
    import onnxruntime
    from onnx import TensorProto, helper

    graph = OnnxGraph()
    transforms.onnx_nodes(graph, output="vector")
    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(name, types[kind], ["N", 1]) for name, kind in transforms.request_columns]
    output = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", len(transforms.feature_names)])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "vectors", inputs, [output], initializer=graph.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    vectors: np.ndarray = session.run(None, request_arrays(requests, transforms.request_columns))[0]
    return vectors


def requests_of(rows: list[tuple[Any, Any, Any]]) -> pa.Table:
    """Rows of delay, distance and carrier; None and NaN are missing."""
    delay, distance, carrier = zip(*rows, strict=True)
    return pa.table(
        {
            "delay": pa.array(delay, pa.float64()),
            "distance": pa.array(distance, pa.float64()),
            "carrier": pa.array(carrier, pa.string()),
        }
    )


def training_rows() -> tuple[pa.Table, np.random.Generator]:
    random = np.random.default_rng(3)
    delay = np.where(random.random(2000) < 0.2, np.nan, random.normal(10, 20, 2000).round())
    carriers = random.choice(np.array([*LEVELS, "ZZ", "", None], object), 2000)
    return requests_of(list(zip(delay.tolist(), random.uniform(0, 9, 2000), carriers, strict=True))), random
