"""Trees of xgboost, by the converter library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.spec.values import Task
from nightshift.spec.xgboost_params import OBJECTIVES
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import onnx
    import xgboost

OPSET = 15
# xgboost begins with no probability that is nearer to 0 or 1.
CLAMPED = 1e-6
# What convert_xgboost may add, and its outputs.
CLASSIFIER = ("TreeEnsembleClassifier", ["label", "probabilities"])
REGRESSOR = ("TreeEnsembleRegressor", ["variable"])


@dataclass(frozen=True)
class BoosterHead:
    """A booster trained with an objective of the task.

    Attributes:
        booster: The trained trees.
        task: What they tell.
        width: Length of the vectors they were trained on.
        classes: For multiclass, how many classes there are; else 0.
    """

    booster: xgboost.Booster
    task: Task
    width: int
    classes: int = 0

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the trees; see ``Head.onnx_nodes``.

        Raises:
            ModelError: The booster has another objective or width, or its conversion gave something unexpected.
        """
        import numpy as np

        trees = _trees(self.booster, self.task, features, width=self.width, classes=self.classes)
        graph.nodes.extend(trees.node)
        graph.constants.extend(trees.initializer)
        scores = trees.output[-1].name
        if self.task == "regression":
            return graph.add("Squeeze", scores, graph.int64(1), output=output)
        if self.task == "multiclass":
            return graph.add("Identity", scores, output=output)
        return graph.add("Gather", scores, graph.constant(np.array(1, np.int64)), axis=1, output=output)


def _trees(booster: xgboost.Booster, task: Task, features: str, *, width: int, classes: int) -> onnx.GraphProto:
    """The nodes that the converter makes, named ``booster/…``, reading ``features``."""
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
    inputs = [(features, FloatTensorType([None, width]))]
    converted = convert_xgboost(told, name="booster", initial_types=inputs, target_opset=OPSET)
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

    For binary it is a probability, whose log-odds count: as xgboost computes them, in float32 and of no probability
    beyond ``CLAMPED``. Near 1 a float32 is so coarse that exact ones would be others.
    """
    import numpy as np

    written = config["learner_model_param"]["base_score"].strip("[]")
    scores = [float(score) for score in written.split(",")]
    if task == "binary":
        one = np.float32(1)
        least = np.float32(CLAMPED)
        near = [np.clip(np.float32(score), least, one - least) for score in scores]
        return [float(-np.log(one / score - one)) for score in near]
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
