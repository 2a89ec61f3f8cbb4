"""Decision trees as Spark grows them, thresholds in double precision.

The converter library rounds thresholds to float32, so a value beside one takes the other branch, and it
mis-reads nominal features without a word; ADR 8 has what was measured. These nodes compare what Spark compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import ModelError
from nightshift.model.heads.missing import filled
from nightshift.transforms import OnnxGraph
from nightshift.transforms.onnx_graph import ML_DOMAIN

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEAF = -1


@dataclass(frozen=True)
class Trees:
    """Binary trees: the nodes of the first, then those of the second, and so on; of each tree the root first.

    Attributes:
        sizes: ``[T]`` int64, how many nodes each tree has.
        features: ``[M]`` int64, the place in the vector that a node looks at; ``LEAF`` where it is a leaf.
        thresholds: ``[M]`` float64: up to and with the threshold a row goes left.
        left: ``[M]`` int64, place within the same tree of the left child.
        right: ``[M]`` int64, of the right child.
        values: ``[M, K]`` float64, what a row that ends in the leaf adds to each of the K sums.
    """

    sizes: Array
    features: Array
    thresholds: Array
    left: Array
    right: Array
    values: Array

    def check(self, width: int) -> None:
        """Demand trees whose every row ends in a leaf.

        Args:
            width: Length of the vectors.

        Raises:
            ModelError: A node looks at no feature, has no finite number, or a child that does not come after it.
        """
        import numpy as np

        nodes = len(self.features)
        lengths = {len(column) for column in (self.thresholds, self.left, self.right, self.values)}
        if lengths != {nodes} or int(self.sizes.sum()) != nodes or not (self.sizes > 0).all():
            raise ModelError(f"trees of {self.sizes.sum()} nodes were given with {sorted(lengths | {nodes})} of them.")
        inner = self.features != LEAF
        own = np.concatenate([np.arange(size) for size in self.sizes])
        size = np.repeat(self.sizes, self.sizes)
        for children in (self.left, self.right):
            if not ((own < children) & (children < size))[inner].all():
                raise ModelError("a node of a tree has a child that does not come after it.")
        if not ((self.features >= 0) & (self.features < width))[inner].all():
            raise ModelError(f"a node of a tree looks at a feature beyond the {width} that there are.")
        if not np.isfinite(self.thresholds[inner]).all() or not np.isfinite(self.values[~inner]).all():
            raise ModelError("a node of a tree has a number that is not finite.")


@dataclass(frozen=True)
class TreesHead:
    """The sum of what the leaves say, or for ``logistic`` the probability ``1 / (1 + exp(-2 * sum))``.

    Attributes:
        trees: The trees.
        link: ``none``, or ``logistic`` for the margins of boosted trees.
        several: Whether the task has a score for each class.
        instead: ``[F]`` float32, what stands for a missing number.
    """

    trees: Trees
    link: Literal["none", "logistic"]
    several: bool
    instead: Array

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the trees; see ``Head.onnx_nodes``.

        Raises:
            ModelError: The trees do not fit the vector or the task.
        """
        from onnx import TensorProto

        self.trees.check(len(self.instead))
        sums = self.trees.values.shape[1]
        if (sums > 1) != self.several:
            raise ModelError(f"trees with {'several sums' if self.several else 'one sum'} were expected, not {sums}.")
        added = graph.add(
            "TreeEnsembleRegressor",
            filled(graph, features, self.instead),
            domain=ML_DOMAIN,
            output=output if self.several else None,
            **_attributes(self.trees),
        )
        if self.several:
            return added
        if self.link == "none":
            return graph.add("Squeeze", added, graph.int64(1), output=output)
        margin = graph.cast(graph.add("Squeeze", added, graph.int64(1)), "DOUBLE")
        probability = graph.add("Sigmoid", graph.add("Mul", margin, graph.float64(2.0)))
        return graph.add("Cast", probability, to=TensorProto.FLOAT, output=output)


def _attributes(trees: Trees) -> dict[str, Any]:
    """Of the operator: numbers as tensors of float64, so they are compared and added up as such."""
    import numpy as np
    from onnx import numpy_helper

    sums = trees.values.shape[1]
    tree = np.repeat(np.arange(len(trees.sizes)), trees.sizes)
    node = np.concatenate([np.arange(size) for size in trees.sizes])
    leaf = trees.features == LEAF
    inner = ~leaf
    return {
        "n_targets": sums,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": np.where(leaf, 0, trees.features).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, trees.left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, trees.right).tolist(),
        "nodes_values_as_tensor": numpy_helper.from_array(np.where(inner, trees.thresholds, 0.0), "thresholds"),
        "target_treeids": np.repeat(tree[leaf], sums).tolist(),
        "target_nodeids": np.repeat(node[leaf], sums).tolist(),
        "target_ids": np.tile(np.arange(sums), int(leaf.sum())).tolist(),
        "target_weights_as_tensor": numpy_helper.from_array(trees.values[leaf].reshape(-1), "weights"),
    }
