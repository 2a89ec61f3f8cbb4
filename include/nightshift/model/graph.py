"""One ONNX graph: request columns in, probability and label out, transforms and booster inside."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.transforms import OnnxGraph, Transforms

if TYPE_CHECKING:
    import onnx
    import xgboost

OPSETS = {"": 15, "ai.onnx.ml": 3}
IR_VERSION = 8
GRAPH_NAME = "nightshift"
# What convert_xgboost may add. The opset numbers above were checked for these operators only.
BOOSTER_OPS = {("ai.onnx.ml", "TreeEnsembleClassifier")}


def build_graph(transforms: Transforms, booster: xgboost.Booster, *, threshold: float) -> bytes:
    """The model as bytes of ONNX. The same transforms, booster and threshold give the same bytes.

    Inputs are the request columns, ``[N, 1]``: float32 where NaN is missing, or string where the empty
    text is missing. Outputs are ``probability``, float32 ``[N]``, of the positive class, and ``label``,
    int64 ``[N]``: whether the probability is at least the threshold.

    Args:
        transforms: Fitted.
        booster: Trained with objective ``binary:logistic`` on the vectors of these transforms.
        threshold: Probability from which a row is positive; rounded to float32.

    Raises:
        ModelError: The booster has another objective or width, or its conversion gave something unexpected.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    graph = OnnxGraph()
    trees = _booster_graph(booster, width=len(transforms.feature_names))
    transforms.onnx_nodes(graph, output="features")
    graph.nodes.extend(trees.node)
    graph.constants.extend(trees.initializer)
    second = graph.constant(np.array(1, np.int64))
    probability = graph.add("Gather", trees.output[1].name, second, axis=1, output="probability")
    reached = graph.add("GreaterOrEqual", probability, graph.float32(threshold))
    graph.add("Cast", reached, to=TensorProto.INT64, output="label")

    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            GRAPH_NAME,
            [helper.make_tensor_value_info(name, types[kind], ["N", 1]) for name, kind in transforms.request_columns],
            [
                helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"]),
                helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            ],
            initializer=graph.constants,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        producer_name="nightshift",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _booster_graph(booster: xgboost.Booster, *, width: int) -> onnx.GraphProto:
    """The booster's trees by the converter library, named ``booster/…``, reading ``features``."""
    from onnx import compose
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    config = json.loads(booster.save_config())["learner"]
    if config["objective"]["name"] != "binary:logistic" or booster.num_features() != width:
        raise ModelError(
            f"a booster with objective binary:logistic and {width} features was expected, not "
            f"{config['objective']['name']} and {booster.num_features()}."
        )
    nameless = booster.copy()
    nameless.feature_names = None
    nameless.feature_types = None
    inputs = [("features", FloatTensorType([None, width]))]
    converted = convert_xgboost(nameless, name=GRAPH_NAME, initial_types=inputs, target_opset=OPSETS[""])
    operators = {(node.domain, node.op_type) for node in converted.graph.node}
    outputs = [output.name for output in converted.graph.output]
    if operators != BOOSTER_OPS or len(converted.graph.node) != 1 or outputs != ["label", "probabilities"]:
        raise ModelError(f"the converter gave operators {sorted(operators)} and outputs {outputs}.")
    # The converter takes the probability for the margin when the first tree is a lone leaf of 0.
    _set_floats(converted.graph.node[0], "base_values", [_base_margin(config)])
    prefixed: onnx.GraphProto = compose.add_prefix_graph(converted.graph, "booster/", rename_inputs=False)
    return prefixed


def _base_margin(config: dict[str, Any]) -> float:
    """The log-odds that every row starts from; xgboost writes the probability as ``5E-1`` or ``[5E-1]``."""
    base_score = float(config["learner_model_param"]["base_score"].strip("[]"))
    return math.log(base_score) - math.log1p(-base_score)


def _set_floats(node: onnx.NodeProto, name: str, values: list[float]) -> None:
    """Set an attribute, keeping attributes in order of name."""
    from onnx import helper

    attributes = [attribute for attribute in node.attribute if attribute.name != name]
    attributes.append(helper.make_attribute(name, values))
    del node.attribute[:]
    node.attribute.extend(sorted(attributes, key=lambda attribute: attribute.name))
