"""The trees of a model of Spark ML, read from the JVM that grew them.

Not from a saved model: its files are written by executors, each to the disk of its own machine unless there is a
shared one. The nodes are those that Spark would save.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError, SpecError
from nightshift.model.heads.trees import LEAF, Trees
from nightshift.spec.spark_ml_params import FOREST

if TYPE_CHECKING:
    import numpy as np
    from pyspark.sql import SparkSession

    Array = np.ndarray[Any, Any]

# A node takes about 40 bytes of an ONNX file, and so does what a leaf adds to one sum; at most 512 MiB are loaded.
MOST_ENTRIES = 8_000_000
NODE = "org.apache.spark.ml.tree.DecisionTreeModelReadWrite$NodeData$"
Nodes = list[dict[str, Any]]


def nodes_of(spark: SparkSession, model: Any, *, sums: int) -> list[Nodes]:
    """The nodes of every tree, each in the order of its ``id``, under the names that Spark gives them.

    Args:
        spark: The session that trained.
        model: A forest or boosted trees of ``pyspark.ml``.
        sums: To how many sums a leaf adds.

    Raises:
        SpecError: There are too many.
        ModelError: A node divides rows by a set of categories: the vector had attributes.
    """
    nodes, trees = model.totalNumNodes, model.getNumTrees
    if (entries := nodes + sums * (nodes + trees) // 2) > MOST_ENTRIES:
        raise SpecError(
            f"the {trees} trees have {nodes:,} nodes, which are {entries:,} entries of a graph; {MOST_ENTRIES:,} are "
            "the most that is loaded.",
            hint="lower training.params.max_depth or the number of trees, or raise min_instances_per_node",
        )
    jvm: Any = spark.sparkContext._jvm
    mapper = jvm.com.fasterxml.jackson.databind.ObjectMapper()
    accessor = jvm.com.fasterxml.jackson.annotation.PropertyAccessor
    visibility = getattr(jvm, "com.fasterxml.jackson.annotation.JsonAutoDetect$Visibility")
    # Fields only: what looks like a getter computes something.
    mapper.setVisibility(accessor.ALL, visibility.NONE)
    mapper.setVisibility(accessor.FIELD, visibility.ANY)
    listed = jvm.scala.jdk.javaapi.CollectionConverters.asJava
    node = getattr(getattr(jvm, NODE), "MODULE$")
    grown = [
        json.loads(mapper.writeValueAsString(listed(node.build(tree.rootNode(), 0)._1())))
        for tree in model._java_obj.trees()
    ]
    for tree in grown:
        tree.sort(key=lambda found: found["id"])
        if any(found["split"]["numCategories"] != -1 for found in tree):
            raise ModelError("Spark grew a tree that takes a number for the name of a category.")
    return grown


def as_trees(nodes: Sequence[Nodes], weights: Sequence[float], *, algorithm: str, classes: int) -> Trees:
    """The trees with what each leaf adds to the score.

    A leaf of a forest says its rows' mean, or the share of each class among them, divided by the number of trees; a
    leaf of boosted trees its value times the weight of its tree.

    Args:
        nodes: The nodes of every tree.
        weights: The weight of every tree.
        algorithm: ``random_forest`` or ``gbt``.
        classes: How many classes a forest tells apart; 0 for numbers.

    Raises:
        ModelError: A leaf has no rows.
    """
    import numpy as np

    flat = [node for tree in nodes for node in tree]
    leaf = np.array([node["leftChild"] < 0 for node in flat])
    weight = np.repeat(np.array(weights, np.float64), [len(tree) for tree in nodes])
    if algorithm == FOREST and classes:
        counts = np.array([node["impurityStats"] for node in flat], np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        if counts.shape[1] != classes or not (totals[leaf] > 0).all():
            raise ModelError(f"leaves with rows of {classes} classes were expected, not of {counts.shape[1]}.")
        values = counts / np.where(totals > 0, totals, 1.0) / len(nodes)
        values = values[:, 1:] if classes == 2 else values
    else:
        values = np.array([[node["prediction"]] for node in flat], np.float64)
        values = values / len(nodes) if algorithm == FOREST else values * weight[:, None]
    splits = [node["split"] for node in flat]
    return Trees(
        sizes=np.array([len(tree) for tree in nodes], np.int64),
        features=np.where(leaf, LEAF, np.array([split["featureIndex"] for split in splits], np.int64)),
        thresholds=np.array([(split["leftCategoriesOrThreshold"] or [0.0])[0] for split in splits], np.float64),
        left=np.array([node["leftChild"] for node in flat], np.int64),
        right=np.array([node["rightChild"] for node in flat], np.int64),
        values=values,
    )
