"""Tree ensembles: the nodes of ``ai.onnx.ml`` as shap's explainer of trees takes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.model.attributions.layout import Layout
from nightshift.model.attributions.result import Method

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

# Whether the true branch has the smaller values, and whether a value equal to the threshold is among the smaller ones.
MODES = {
    b"BRANCH_LEQ": (True, True),
    b"BRANCH_LT": (True, False),
    b"BRANCH_GT": (False, True),
    b"BRANCH_GTE": (False, False),
}
LEAF = b"LEAF"
# shap's independent algorithm counts nodes in 16 bits, and binomial coefficients of the depth in 32.
MOST_NODES = 32_767
DEEPEST = 30


@dataclass(frozen=True)
class Tree:
    """One tree; nodes are counted from 0, the root, and a leaf has -1 for its children.

    Attributes:
        left, right: Where values up to the threshold go, and those above it; shape [nodes].
        missing: Where a missing value goes.
        features: Places of the vector; -1 at leaves.
        thresholds: float64.
        values: What a leaf adds to each output, shape [nodes, outputs].
    """

    left: Array
    right: Array
    missing: Array
    features: Array
    thresholds: Array
    values: Array

    @property
    def leaves(self) -> int:
        return int((self.left < 0).sum())

    def middle(self, output: int) -> float:
        """Mean value of its leaves."""
        return float(self.values[self.left < 0, output].mean())

    def require_small(self) -> None:
        """Raises ValueError: It has more nodes than shap can count, or is deeper than it can weigh."""
        depth, level = 0, [0]
        while level := [child for node in level for child in (self.left[node], self.right[node]) if child >= 0]:
            depth += 1
        if len(self.left) > MOST_NODES or depth > DEEPEST:
            raise ValueError(
                f"a tree has {len(self.left)} nodes and depth {depth}; {MOST_NODES} and {DEEPEST} are known"
            )


class Trees:
    """An ensemble whose trees are added up.

    Attributes:
        method: As in ``Attributions``.
    """

    method: Method = "tree_shap"

    def __init__(self, layout: Layout) -> None:
        """Raises ValueError: The ensemble has splits or sums that are not known here."""
        self._trees, self._base = _read(layout.node)

    @property
    def cost(self) -> int:
        """Leaves of all trees: what one row takes grows with it."""
        return sum(tree.leaves for tree in self._trees)

    def attributions(self, vectors: Array, background: Array) -> tuple[Array, Array]:
        """See ``Additive.attributions``."""
        import numpy as np

        values = np.zeros((*vectors.shape, len(self._base)))
        base = self._base.copy()
        for output in range(len(base)):
            told = [tree for tree in self._trees if tree.values[:, output].any()]
            # What a tree adds to every row explains nothing, and would cost digits: shap adds up in float32.
            base[output] += sum(tree.middle(output) for tree in told)
            split = [tree for tree in told if tree.leaves > 1]
            if split:
                values[:, :, output], mean = _shap(split, output, vectors, background)
                base[output] += mean
        return values, base


def _shap(trees: list[Tree], output: int, vectors: Array, background: Array) -> tuple[Array, float]:
    """SHAP values ``[N, F]`` of one output less the middles of the trees, and its mean over the background rows."""
    import numpy as np

    with warnings.catch_warnings():
        # With shap comes matplotlib, which warns of its own future.
        warnings.simplefilter("ignore")
        import shap

    ranks = Ranks(trees, vectors.shape[1])
    described = [
        {
            "children_left": tree.left,
            "children_right": tree.right,
            "children_default": tree.missing,
            "features": tree.features,
            "thresholds": ranks.of_thresholds(tree),
            "values": np.where(tree.left[:, None] < 0, tree.values[:, [output]] - tree.middle(output), 0.0),
            "node_sample_weight": np.ones(len(tree.left)),
        }
        for tree in trees
    ]
    masker = shap.maskers.Independent(ranks.of_rows(background), max_samples=len(background))
    explainer = shap.TreeExplainer({"trees": described}, masker, feature_perturbation="interventional")
    values = explainer.shap_values(ranks.of_rows(vectors), check_additivity=False)
    return values, float(explainer.expected_value)


class Ranks:
    """Values and thresholds as whole numbers that compare alike: shap compares thresholds in float32."""

    def __init__(self, trees: list[Tree], width: int) -> None:
        import numpy as np

        places = np.concatenate([tree.features for tree in trees])
        thresholds = np.concatenate([tree.thresholds for tree in trees])
        self._of_place = [np.unique(thresholds[places == place]) for place in range(width)]

    def of_thresholds(self, tree: Tree) -> Array:
        """Place of each threshold among those of its feature; 0 at leaves."""
        import numpy as np

        ranks = np.zeros(len(tree.features))
        for place in np.unique(tree.features[tree.features >= 0]):
            at = tree.features == place
            ranks[at] = np.searchsorted(self._of_place[place], tree.thresholds[at])
        return ranks

    def of_rows(self, vectors: Array) -> Array:
        """How many thresholds of its feature each value is above; missing stays missing."""
        import numpy as np

        ranks = [np.searchsorted(known, vectors[:, place]) for place, known in enumerate(self._of_place)]
        return np.where(np.isnan(vectors), np.nan, np.column_stack(ranks))


def _read(node: onnx.NodeProto) -> tuple[list[Tree], Array]:
    """The trees of a node, and what every row's sum begins with, shape [outputs].

    Raises:
        ValueError: It has splits or sums that are not known here.
    """
    import numpy as np
    from onnx import helper

    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kind = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
    if given.get("aggregate_function", b"SUM") not in (b"SUM", b"AVERAGE"):
        raise ValueError(f"its trees are combined by {given['aggregate_function'].decode()}")
    unknown = set(given["nodes_modes"]) - {LEAF, *MODES}
    if unknown:
        raise ValueError(f"it splits by {', '.join(sorted(mode.decode() for mode in unknown))}")
    nodes = _nodes(given)
    added = {name: np.array(given[f"{kind}_{name}"]) for name in ("treeids", "nodeids", "ids")}
    added["weights"] = _numbers(given, f"{kind}_weights")
    outputs = max(int(given.get("n_targets", 1)), int(added["ids"].max(initial=0)) + 1)
    begun = np.zeros(outputs) + _numbers(given, "base_values")
    numbers = list(dict.fromkeys(nodes["treeids"].tolist()))
    if given.get("aggregate_function") == b"AVERAGE":
        added["weights"] = added["weights"] / len(numbers)
    of_nodes, of_leaves = _by_tree(nodes), _by_tree(added)
    trees = []
    for number in numbers:
        trees.append(_tree(of_nodes[number], of_leaves.get(number), outputs))
        trees[-1].require_small()
    return trees, begun


def _nodes(given: dict[str, Any]) -> dict[str, Array]:
    """The node's lists as arrays, each made once: there can be millions of entries."""
    import numpy as np

    names = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
    nodes = {name: np.array(given[f"nodes_{name}"]) for name in names}
    nodes["modes"] = np.array(given["nodes_modes"], dtype=object)
    tracks = given.get("nodes_missing_value_tracks_true") or [0] * len(nodes["modes"])
    return {**nodes, "tracks": np.array(tracks), "values": _numbers(given, "nodes_values")}


def _by_tree(entries: dict[str, Array]) -> dict[int, dict[str, Array]]:
    """Entries by their ``treeids``, in the order that they have."""
    import numpy as np

    order = np.argsort(entries["treeids"], kind="stable")
    numbers, begins = np.unique(entries["treeids"][order], return_index=True)
    parts = np.split(order, begins[1:])
    return {
        int(number): {name: values[part] for name, values in entries.items()}
        for number, part in zip(numbers, parts, strict=True)
    }


def _numbers(given: dict[str, Any], name: str) -> Array:
    """Numbers, which are float32, or float64 in a tensor; 0 where there are none."""
    import numpy as np
    from onnx import numpy_helper

    tensor = given.get(f"{name}_as_tensor")
    written = given.get(name, [0.0]) if tensor is None else numpy_helper.to_array(tensor)
    return np.array(written, np.float64)


def _tree(nodes: dict[str, Array], added: dict[str, Array] | None, outputs: int) -> Tree:
    """One tree from its part of the node's lists, and of what leaves add, by node and output."""
    import numpy as np

    order = np.argsort(nodes["nodeids"])
    known = nodes["nodeids"][order]

    def place_of(ids: Array) -> Array:
        return order[np.searchsorted(known, ids)]

    splits = np.flatnonzero(nodes["modes"] != LEAF)
    smaller_is_true, equal_is_smaller = (
        np.array([MODES[mode][which] for mode in nodes["modes"][splits]], bool) for which in (0, 1)
    )
    true, false = (place_of(nodes[name][splits]) for name in ("truenodeids", "falsenodeids"))
    left, right, missing, features = (np.full(len(order), -1) for _ in range(4))
    left[splits], right[splits] = np.where(smaller_is_true, (true, false), (false, true))
    missing[splits] = np.where(nodes["tracks"][splits] != 0, true, false)
    features[splits] = nodes["featureids"][splits]
    thresholds = nodes["values"].copy()
    below = splits[~equal_is_smaller]
    thresholds[below] = np.nextafter(thresholds[below], -np.inf)
    values = np.zeros((len(order), outputs))
    if added is not None:
        np.add.at(values, (place_of(added["nodeids"]), added["ids"]), added["weights"])
    return Tree(left, right, missing, features, thresholds, values)
