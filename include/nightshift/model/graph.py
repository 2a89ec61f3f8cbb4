"""One ONNX graph: request columns in, what the model tells out, transforms and booster inside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.model.session import CLASSES, TASK
from nightshift.spec.values import Task
from nightshift.spec.xgboost_params import OBJECTIVES
from nightshift.transforms import OnnxGraph, Transforms

if TYPE_CHECKING:
    import onnx
    import xgboost

OPSETS = {"": 15, "ai.onnx.ml": 3}
IR_VERSION = 8
GRAPH_NAME = "nightshift"
# What convert_xgboost may add, and its outputs. The opset numbers above were checked for these operators only.
CLASSIFIER = ("TreeEnsembleClassifier", ["label", "probabilities"])
REGRESSOR = ("TreeEnsembleRegressor", ["variable"])


def build_graph(
    transforms: Transforms,
    booster: xgboost.Booster,
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
        booster: Trained with an objective of the task on the vectors of these transforms.
        task: What the model tells.
        threshold: For binary, probability from which a row is positive; rounded to float32.
        classes: For multiclass, the classes in the order of the labels that the booster learned.

    Raises:
        ModelError: The booster has another objective or width, or its conversion gave something unexpected.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = OnnxGraph()
    trees = _booster_graph(booster, task, width=len(transforms.feature_names), classes=len(classes))
    transforms.onnx_nodes(graph, output="features")
    graph.nodes.extend(trees.node)
    graph.constants.extend(trees.initializer)
    outputs = _told(graph, trees.output[-1].name, task, threshold=threshold, classes=classes)

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
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _told(
    graph: OnnxGraph, scores: str, task: Task, *, threshold: float | None, classes: Sequence[str]
) -> list[onnx.ValueInfoProto]:
    """Nodes from what the trees give to the outputs, and the outputs' names and types in order."""
    import numpy as np
    from onnx import TensorProto, helper

    if task == "regression":
        graph.add("Squeeze", scores, graph.constant(np.array([1], np.int64)), output="prediction")
        return [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N"])]
    if task == "multiclass":
        graph.add("Identity", scores, output="probabilities")
        # The first of equally probable classes, as numpy's argmax has it.
        place = graph.add("ArgMax", "probabilities", axis=1, keepdims=0)
        graph.add("Gather", graph.constant(np.array(classes, object)), place, axis=0, output="label")
        return [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)]),
        ]
    assert threshold is not None, "binary labels are called at a threshold"
    second = graph.constant(np.array(1, np.int64))
    probability = graph.add("Gather", scores, second, axis=1, output="probability")
    reached = graph.add("GreaterOrEqual", probability, graph.float32(threshold))
    graph.add("Cast", reached, to=TensorProto.INT64, output="label")
    return [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
    ]


def _booster_graph(booster: xgboost.Booster, task: Task, *, width: int, classes: int) -> onnx.GraphProto:
    """The booster's trees by the converter library, named ``booster/…``, reading ``features``."""
    import xgboost
    from onnx import compose
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    config = json.loads(booster.save_config())["learner"]
    objective, of_classes = config["objective"]["name"], int(config["learner_model_param"]["num_class"])
    if objective not in OBJECTIVES[task] or booster.num_features() != width or of_classes != classes:
        raise ModelError(
            f"a booster with objective {' or '.join(OBJECTIVES[task])} and {width} features was expected, not "
            f"{objective} and {booster.num_features()}"
            + (f", and one for {classes} classes, not {of_classes}." if classes else ".")
        )
    # Of a bare booster the converter would guess the task, by whether all of its rows' weights are whole.
    told = (xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier)()
    told.load_model(_nameless(booster))
    inputs = [("features", FloatTensorType([None, width]))]
    converted = convert_xgboost(told, name=GRAPH_NAME, initial_types=inputs, target_opset=OPSETS[""])
    operators = [(node.domain, node.op_type) for node in converted.graph.node]
    outputs = [output.name for output in converted.graph.output]
    operator, wanted = REGRESSOR if task == "regression" else CLASSIFIER
    if operators != [("ai.onnx.ml", operator)] or outputs != wanted:
        raise ModelError(f"the converter gave operators {operators} and outputs {outputs}.")
    margins = _base_margins(config, task)
    if task == "regression":
        _begin_first_tree_with(converted.graph.node[0], margins[0])
        margins = [0.0]
    # The converter takes the probability for the margin when the first tree is a lone leaf of 0.
    _set_floats(converted.graph.node[0], "base_values", margins)
    prefixed: onnx.GraphProto = compose.add_prefix_graph(converted.graph, "booster/", rename_inputs=False)
    return prefixed


def _nameless(booster: xgboost.Booster) -> bytearray:
    """The booster as bytes, without the names of its features, which the converter would take for numbers."""
    nameless = booster.copy()
    nameless.feature_names = None
    nameless.feature_types = None
    return bytearray(nameless.save_raw("ubj"))


def _base_margins(config: dict[str, Any], task: Task) -> list[float]:
    """What every row's sum starts from, for each class: xgboost writes ``5E-1``, ``[5E-1]`` or ``[-2E-1,1E-1,1E-1]``.

    For binary it is a probability, whose log-odds count.
    """
    written = config["learner_model_param"]["base_score"].strip("[]")
    scores = [float(score) for score in written.split(",")]
    if task == "binary":
        return [math.log(score) - math.log1p(-score) for score in scores]
    classes = int(config["learner_model_param"]["num_class"])
    return scores * classes if len(scores) < classes else scores


def _begin_first_tree_with(node: onnx.NodeProto, base: float) -> None:
    """Add the base score to the leaves of the first tree, as xgboost does, and not to the sum of all trees.

    The order of the additions is most of what is left of a value near 0 where labels are large.
    """
    import numpy as np

    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees = np.array(attributes["target_treeids"].ints)
    weights = np.array(attributes["target_weights"].floats, np.float32)
    weights[trees == trees.min()] += np.float32(base)
    _set_floats(node, "target_weights", weights.tolist())


def _set_floats(node: onnx.NodeProto, name: str, values: list[float]) -> None:
    """Set an attribute, keeping attributes in order of name."""
    from onnx import helper

    attributes = [attribute for attribute in node.attribute if attribute.name != name]
    attributes.append(helper.make_attribute(name, values))
    del node.attribute[:]
    node.attribute.extend(sorted(attributes, key=lambda attribute: attribute.name))
