"""What a graph holds between the vector and the scores: trees, a linear model, or something else.

The one node that learned is looked for from the scores backwards. What lies between it and the scores may only
stretch, shift, choose or squash each of its outputs on its own; what lies between the vector and it, such as the
filling of missing values, may only change each place of the vector on its own. Anything else is not recognised,
and is explained without looking inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from nightshift.model.graph import VECTOR
from nightshift.model.session import SCORES
from nightshift.spec.values import Task

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
LINEAR = ("MatMul", "Gemm")
UNCHANGED = frozenset({"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten"})
EACH_PLACE = frozenset({"Identity", "Cast", "IsNaN", "Where", "Clip", "Add", "Sub", "Mul", "Div"})
LARGEST = 3.4e38
"""Cutting off beyond it only keeps numbers within float32."""
LINKS: Mapping[str, Link] = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
Link = Literal["none", "sigmoid", "softmax", "cut"]
"""What makes scores of raw scores; ``cut`` keeps probabilities between 0 and 1."""


@dataclass(frozen=True)
class Layout:
    """The node that learned, and the way from its output to the scores.

    Attributes:
        node: It.
        constants: Tensors of the graph that are not computed, by name.
        vector: The tensor that it reads, ``[N, F]``.
        link: What is applied to the raw scores last.
        scale, shift: What its output is stretched by and shifted by before: one number, or one for each output.
        column: The only output that counts; None for all.
    """

    node: onnx.NodeProto
    constants: Mapping[str, Array]
    vector: str
    link: Link = "none"
    scale: Array | float = 1.0
    shift: Array | float = 0.0
    column: int | None = None

    def raw(self, values: Array, base: Array) -> tuple[Array, Array]:
        """In raw scores what is told in the node's outputs: attributions ``[N, F, outputs]`` and base ``[outputs]``."""
        values, base = values * self.scale, base * self.scale + self.shift
        return (values, base) if self.column is None else (values[..., [self.column]], base[[self.column]])


def layout_of(model: onnx.ModelProto, task: Task) -> Layout | None:
    """How a graph is laid out, or None if it is not recognised."""
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    path, name = [], SCORES[task]
    while (node := made_by.get(name)) is not None and not _is_learned(node, constants):
        path.append(node)
        inputs = [given for given in node.input if given not in constants]
        if len(inputs) != 1:
            return None
        name = inputs[0]
    if node is None or not _each_place(node.input[0], made_by, constants):
        return None
    found: Layout | None = Layout(node, constants, vector=node.input[0])
    if node.op_type == "TreeEnsembleClassifier":
        found = _of_classifier(Layout(node, constants, vector=node.input[0]), path)
    for step in reversed(path):
        found = None if found is None else _after(found, step, task)
    return found


def _is_learned(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    if node.op_type in TREES:
        return True
    if node.op_type not in LINEAR or node.input[0] in constants or not set(node.input[1:]) <= constants.keys():
        return False
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return constants[node.input[1]].ndim == 2 and not turned


def _each_place(name: str, made_by: Mapping[str, onnx.NodeProto], constants: Mapping[str, Array]) -> bool:
    """Whether a tensor is the vector, with each place changed on its own."""
    if name == VECTOR:
        return True
    if name in constants:
        return constants[name].ndim < 2 or len(constants[name]) == 1
    node = made_by.get(name)
    if node is None or node.op_type not in EACH_PLACE:
        return False
    return all(_each_place(given, made_by, constants) for given in node.input)


def _of_classifier(found: Layout, path: list[onnx.NodeProto]) -> Layout | None:
    """A classifier squashes what its trees add up to; of two classes, the trees tell the second."""
    attributes = {attribute.name: attribute for attribute in found.node.attribute}
    transform = attributes["post_transform"].s.decode() if "post_transform" in attributes else "NONE"
    links: dict[str, Link] = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid", "NONE": "none"}
    link, told = links.get(transform), len(set(attributes["class_ids"].ints))
    if told > 1:
        return replace(found, link=link) if link in ("none", "softmax") else None
    chosen = [step for step in path if step.op_type not in (*UNCHANGED, "Clip")][-1:]
    if link not in ("none", "sigmoid") or not chosen or _chosen(chosen[0], found.constants) != 1:
        return None
    path.remove(chosen[0])
    return replace(found, link=link)


def _after(found: Layout, node: onnx.NodeProto, task: Task) -> Layout | None:
    """The layout with one more node between what learned and the scores."""
    operator = node.op_type
    if operator in UNCHANGED:
        return found
    if operator == "Clip":
        return _cut(found, node, task)
    if operator == "Gather":
        column = _chosen(node, found.constants)
        fits = column is not None and found.column is None and found.link != "softmax"
        return replace(found, column=column) if fits else None
    if found.link != "none":
        return None
    if operator in LINKS:
        return replace(found, link=LINKS[operator])
    return _stretched(found, node)


def _chosen(node: onnx.NodeProto, constants: Mapping[str, Array]) -> int | None:
    """The column that a Gather takes."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    place = constants.get(node.input[1]) if node.op_type == "Gather" else None
    return int(place.item()) if place is not None and place.size == 1 and axis in (1, -1) else None


def _cut(found: Layout, node: onnx.NodeProto, task: Task) -> Layout | None:
    """Cutting off is known beyond float32, and of probabilities below 0 and above 1."""
    bounds = [float(found.constants[name]) for name in node.input[1:] if name in found.constants]
    if len(bounds) != 2:
        return None
    if bounds[0] < -LARGEST and bounds[1] > LARGEST:
        return found
    if task == "regression" or bounds[0] > 0 or bounds[1] < 1:
        return None
    return replace(found, link="cut") if found.link == "none" else found


def _stretched(found: Layout, node: onnx.NodeProto) -> Layout | None:
    """Addition of, or multiplication by, one number or one for each output."""
    numbers = [found.constants[given] for given in node.input if given in found.constants]
    if len(numbers) != 1 or found.column is not None or (numbers[0].ndim > 1 and len(numbers[0]) > 1):
        return None
    number: Array = numbers[0].astype("float64").reshape(-1)
    if node.op_type == "Add":
        return replace(found, shift=found.shift + number)
    if node.op_type == "Mul":
        return replace(found, scale=found.scale * number, shift=found.shift * number)
    return None
