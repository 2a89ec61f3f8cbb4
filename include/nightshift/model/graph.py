"""One ONNX graph: request columns in, what the model tells out, transforms and what was learned inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightshift.errors import ModelError
from nightshift.model.heads import Head
from nightshift.model.session import CLASSES, SCORES, TASK
from nightshift.spec.values import Task
from nightshift.transforms import OnnxGraph, Transforms

if TYPE_CHECKING:
    import onnx

OPSETS = {"": 15, "ai.onnx.ml": 3}
IR_VERSION = 8
GRAPH_NAME = "nightshift"
VECTOR = "features"


def build_graph(
    transforms: Transforms,
    head: Head,
    *,
    task: Task = "binary",
    threshold: float | None = None,
    classes: Sequence[str] = (),
) -> bytes:
    """The model as bytes of ONNX. The same arguments give the same bytes.

    Inputs are the request columns, ``[N, 1]``: float32 where NaN is missing, or string where the empty
    text is missing. Outputs by task:

    - binary: ``probability``, float32 ``[N]``, of the positive class, and ``label``, int64 ``[N]``: whether the
      probability is at least the threshold;
    - multiclass: ``label``, string ``[N]``, the most probable class, and ``probabilities``, float32 ``[N, K]``;
    - regression: ``prediction``, float32 ``[N]``.

    The metadata say the task and the classes.

    Args:
        transforms: Fitted.
        head: What was learned for this task on the vectors of these transforms.
        task: What the model tells.
        threshold: For binary, probability from which a row is positive; rounded to float32.
        classes: For multiclass, the classes in the order of the labels that were learned.

    Raises:
        ModelError: What was learned does not fit the vectors or the task, or adds nodes that make no graph.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = OnnxGraph()
    transforms.onnx_nodes(graph, output=VECTOR)
    graph.scope = "model"
    head.onnx_nodes(graph, VECTOR, output=SCORES[task])
    outputs = _told(graph, task, threshold=threshold, classes=classes)

    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            GRAPH_NAME,
            [helper.make_tensor_value_info(name, types[kind], ["N", 1]) for name, kind in transforms.request_columns],
            outputs,
            initializer=graph.constants,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        producer_name="nightshift",
        ir_version=IR_VERSION,
    )
    listed = {CLASSES: json.dumps(list(classes), ensure_ascii=False)} if task == "multiclass" else {}
    helper.set_model_props(model, {TASK: task, **listed})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"what was learned gives no valid graph: {str(error).strip().splitlines()[0]}") from error
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _told(
    graph: OnnxGraph, task: Task, *, threshold: float | None, classes: Sequence[str]
) -> list[onnx.ValueInfoProto]:
    """Nodes from the scores to the labels, and the outputs' names and types in order."""
    import numpy as np
    from onnx import TensorProto, helper

    if task == "regression":
        return [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N"])]
    if task == "multiclass":
        # The first of equally probable classes, as numpy's argmax has it.
        place = graph.add("ArgMax", "probabilities", axis=1, keepdims=0)
        graph.add("Gather", graph.constant(np.array(classes, object)), place, axis=0, output="label")
        return [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)]),
        ]
    assert threshold is not None, "binary labels are called at a threshold"
    reached = graph.add("GreaterOrEqual", "probability", graph.float32(threshold))
    graph.add("Cast", reached, to=TensorProto.INT64, output="label")
    return [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
    ]
