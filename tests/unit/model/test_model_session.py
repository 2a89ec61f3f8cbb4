"""What is refused before a session exists, and how requests become arrays."""

from __future__ import annotations

import decimal
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from nightshift.errors import DataError, InfraCheckFailed, IntegrityError
from nightshift.model.session import Scorer

Change = Callable[[onnx.ModelProto], None]


def external_initializer(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_entry_only(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def external_in_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))


def external_in_subgraph(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="deep", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    branch = helper.make_graph([helper.make_node("Identity", ["deep"], ["out"])], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["yes"], ["o"], then_branch=branch, else_branch=branch))


def external_in_sparse(model: onnx.ModelProto) -> None:
    values = TensorProto(name="sparse", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, dims=[1]))


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))


def foreign_node(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("PyOp", [], ["x"], domain="com.example"))


def foreign_node_in_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("PyOp", [], ["x"], domain="com.example")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["yes"], ["o"], then_branch=inner, else_branch=inner))


def own_function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("ai.onnx.ml", "Mine", [], [], [], [helper.make_opsetid("", 15)]))


def other_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def other_input_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "NoSuchOperator"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_initializer, "external data is never loaded"),
        (external_entry_only, "external data is never loaded"),
        (external_in_attribute, "keeps hidden in another file"),
        (external_in_subgraph, "keeps deep in another file"),
        (external_in_sparse, "keeps sparse in another file"),
        (foreign_opset, r"operators of ai\.onnx\.contrib"),
        (foreign_node, r"operators of com\.example"),
        (foreign_node_in_subgraph, r"operators of com\.example"),
        (own_function, "defines functions of its own"),
        (other_outputs, "gives probability; probability and label were expected"),
        (other_input_type, "inputs must be float32 or string; delay"),
        (unknown_operator, "ONNX Runtime does not load the model"),
    ],
)
def test_models_that_could_do_harm_are_refused(model: Any, change: Change, words: str) -> None:
    changed = onnx.load_model_from_string(model.data)
    change(changed)

    with pytest.raises(InfraCheckFailed, match=words):
        Scorer.load(changed.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x00" * 64, b"PK\x03\x04" + b"x" * 100])
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(InfraCheckFailed, match="not an ONNX file"):
        Scorer.load(data)


def test_truncated_model_is_refused(model: Any) -> None:
    with pytest.raises(InfraCheckFailed):
        Scorer.load(model.data[: len(model.data) // 2])


def test_digest_and_size_are_checked(model: Any) -> None:
    digest = hashlib.sha256(model.data).hexdigest()

    assert Scorer.load(model.data, digest=digest).digest == digest
    with pytest.raises(IntegrityError, match="was recorded"):
        Scorer.load(model.data, digest="0" * 64)
    with pytest.raises(InfraCheckFailed, match="the limit is 100"):
        Scorer.load(model.data, size_limit=100)


@pytest.fixture(scope="module")
def scorer(model: Any) -> Scorer:
    return Scorer.load(model.data)


def test_tables_and_frames_score_the_same(scorer: Scorer, model: Any) -> None:
    expected = scorer.score(model.requests)
    frame = model.requests.to_pandas()

    assert scorer.columns == (("delay", "numeric"), ("distance", "numeric"), ("carrier", "categorical"))
    assert scorer.score(frame).tolist() == expected.tolist()
    assert scorer.score(frame.astype({"carrier": "category"})).tolist() == expected.tolist()
    assert scorer.score(frame.assign(extra=1)[["extra", "carrier", "distance", "delay"]]).tolist() == expected.tolist()
    many_chunks = pa.concat_tables([model.requests.slice(0, 7), model.requests.slice(7)])
    assert scorer.score(many_chunks).tolist() == expected.tolist()


def test_long_tables_are_scored_in_parts(scorer: Scorer, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scorer.score(model.requests)
    monkeypatch.setattr("nightshift.model.session.ROWS_PER_RUN", 999)

    assert scorer.score(model.requests).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("delay", "same_as"),
    [
        (pa.array([3], pa.int64()), 3.0),
        (pa.array([3], pa.uint8()), 3.0),
        (pa.array([True]), 1.0),
        (pa.array([decimal.Decimal("3.10")]), 3.1),
        (pa.array([3.1], pa.float32()), 3.1),
        (pa.array([2**53 + 1], pa.int64()), float(2**53)),
        (pa.array([1e300]), np.inf),
        (pa.array([None], pa.float64()), np.nan),
        (pa.nulls(1), np.nan),
    ],
    ids=str,
)
def test_every_number_becomes_float32_by_way_of_float64(scorer: Scorer, delay: pa.Array, same_as: float) -> None:
    row = {"distance": [2.0], "carrier": ["AA"]}

    assert scorer.score(pa.table({"delay": delay, **row})) == scorer.score(pd.DataFrame({"delay": [same_as], **row}))


def test_missing_categories_are_all_the_same(scorer: Scorer) -> None:
    frame = pd.DataFrame({"delay": 1.0, "distance": 2, "carrier": [None, "", np.nan, "never seen"]}, dtype=object)
    frame = frame.astype({"delay": float, "distance": int})

    assert len(set(scorer.score(frame).tolist())) == 1
    assert scorer.score(pd.DataFrame({"delay": [None], "distance": [None], "carrier": [None]})).shape == (1,)


def test_an_empty_table_has_no_scores(scorer: Scorer, model: Any) -> None:
    assert scorer.score(model.requests.slice(0, 0)).shape == (0,)
    assert scorer.score(model.requests.slice(0, 0)).dtype == np.float32
    assert scorer.labels(pd.DataFrame({"delay": [], "distance": [], "carrier": []})).dtype == np.int64


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"carrier": ["AA"]}, "lacks columns delay, distance"),
        (
            {"delay": ["3"], "distance": [1], "carrier": ["AA"]},
            "column delay must hold numbers, but its type is string",
        ),
        ({"delay": [3], "distance": [1], "carrier": [7]}, "column carrier must hold text, but its type is int64"),
        ({"delay": [3, "x"], "distance": [1, 1], "carrier": ["AA", "AA"]}, "column delay mixes types"),
        ({"delay": [3, 2**80], "distance": [1, 1], "carrier": ["AA", "AA"]}, "column delay mixes types"),
        ({"delay": [pd.Timestamp(0)], "distance": [1], "carrier": ["AA"]}, "column delay must hold numbers"),
    ],
)
def test_requests_that_would_need_guessing_are_refused(scorer: Scorer, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        scorer.score(pd.DataFrame(columns))


def test_a_column_given_twice_is_refused(scorer: Scorer) -> None:
    frame = pd.DataFrame([[1, 2, "AA", 3]], columns=["delay", "distance", "carrier", "delay"])

    with pytest.raises(DataError, match="has column delay more than once"):
        scorer.score(frame)
