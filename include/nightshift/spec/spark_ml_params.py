"""Which algorithms and parameters of Spark ML a spec may set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nightshift.spec.parameters import Flag, OneOf, Parameters, Real, Rule, SomeOf, Value, Whole
from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.values import Task

LOGISTIC, LINEAR, FOREST, BOOSTED = "logistic_regression", "linear_regression", "random_forest", "gbt"
ALGORITHMS: dict[Task, tuple[str, ...]] = {
    "binary": (LOGISTIC, FOREST, BOOSTED),
    "multiclass": (LOGISTIC, FOREST),
    "regression": (LINEAR, FOREST, BOOSTED),
}
"""What may be learned with, by task."""
_SHARE = Real(0, 1, above=True)
_LINEAR: dict[str, Rule] = {
    "max_iter": Whole(0, 100_000),
    "reg_param": Real(0),
    "elastic_net_param": Real(0, 1),
    "tol": Real(0),
    "fit_intercept": Flag(),
    "standardization": Flag(),
}
_TREES: dict[str, Rule] = {
    "max_depth": Whole(0, 30),
    "max_bins": Whole(2, 65_535),
    "min_instances_per_node": Whole(1, 1_000_000_000),
    "min_weight_fraction_per_node": Real(0, 0.5, below=True),
    "min_info_gain": Real(0),
    "subsampling_rate": _SHARE,
    "feature_subset_strategy": SomeOf(("auto", "all", "onethird", "sqrt", "log2")),
}
ALLOWED: dict[str, dict[str, Rule]] = {
    LOGISTIC: _LINEAR,
    LINEAR: {
        **_LINEAR,
        "solver": OneOf(("auto", "normal", "l-bfgs")),
        "loss": OneOf(("squaredError", "huber")),
        "epsilon": Real(1, above=True),
    },
    FOREST: {
        "num_trees": Whole(1, 100_000),
        **_TREES,
        "impurity": OneOf(("gini", "entropy")),
        "bootstrap": Flag(),
    },
    BOOSTED: {
        "max_iter": Whole(1, 100_000),
        "step_size": _SHARE,
        **_TREES,
        "loss_type": OneOf(("squared", "absolute")),
    },
}
"""By algorithm, under the names of ``pyspark.ml`` in lower case."""
# What a parameter may be where the task says more; None: it does nothing there.
BY_TASK: dict[str, dict[Task, dict[str, Rule | None]]] = {
    FOREST: {"regression": {"impurity": None}},
    BOOSTED: {"binary": {"loss_type": None}},
}
_ELSEWHERE = {
    "seed": "set training.seed",
    "threshold": "set training.threshold",
    "thresholds": "the most probable class is the label",
    "family": "it follows from label.task",
    "num_workers": "Spark's executors decide how many tasks work at once",
    "num_classes": "it is the number of label.classes",
    "weight_col": "every row weighs the same",
    "features_col": "it is always the vector of the features",
    "label_col": "set label.column",
    "validation_indicator_col": "the holdout is for judging, not for stopping",
    "aggregation_depth": "it changes how Spark works, not what it learns",
    "cache_node_ids": "it changes how Spark works, not what it learns",
    "checkpoint_interval": "it changes how Spark works, not what it learns",
    "max_memory_in_mb": "it changes how Spark works, not what it learns",
}
_OTHER_WORDS: dict[str, dict[str, str]] = {
    LOGISTIC: {"penalty": "write elastic_net_param: 0 is ridge, 1 is lasso"},
    LINEAR: {"alpha": "write reg_param"},
    FOREST: {"n_estimators": "write num_trees", "max_iter": "write num_trees"},
    BOOSTED: {
        "n_estimators": "write max_iter",
        "num_trees": "write max_iter",
        "learning_rate": "write step_size",
        "subsample": "write subsampling_rate",
        "impurity": "the trees of gbt are regression trees; drop it",
    },
}


class _AlgorithmParameters(Parameters):
    """Names as people find them in Spark's documentation, ``numTrees``, lead to those of a spec, ``num_trees``."""

    def _near(self, name: str) -> str | None:
        snake = _snake(name)
        return snake if snake in self.allowed or snake in self.elsewhere else super()._near(snake)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _elsewhere(algorithm: str) -> dict[str, str]:
    """What to do about names that are no parameters of an algorithm."""
    of_others = {
        name: f"it is a parameter of {other}, not of {algorithm}"
        for other, allowed in ALLOWED.items()
        for name in allowed
        if name not in ALLOWED[algorithm]
    }
    return {**of_others, **_ELSEWHERE, **_OTHER_WORDS[algorithm]}


PARAMETERS = {name: _AlgorithmParameters(ALLOWED[name], _elsewhere(name), BY_TASK.get(name, {})) for name in ALLOWED}


class SparkMLParameters:
    """The rules of the algorithm that ``params.algorithm`` names; see ``EngineParams``."""

    def problems(self, params: Mapping[str, Value]) -> Iterator[Problem]:
        """See ``EngineParams.problems``."""
        algorithm, others = _divided(params)
        if algorithm is None:
            yield Problem(
                "spark_ml learns by an algorithm, and params.algorithm is not given.",
                ("params",),
                allowed=", ".join(ALLOWED),
                hint="such as params: {algorithm: gbt, max_iter: 50}",
            )
        elif algorithm not in PARAMETERS:
            yield Problem(
                f"{algorithm!r} is no algorithm of spark_ml.",
                ("params", "algorithm"),
                allowed=", ".join(ALLOWED),
                hint=_meant(str(algorithm)),
            )
        else:
            yield from PARAMETERS[str(algorithm)].problems(others)
            yield from _huber(others)

    def problems_of_task(self, params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
        """See ``EngineParams.problems_of_task``."""
        algorithm, others = _divided(params)
        if algorithm not in PARAMETERS:
            return
        if algorithm not in ALGORITHMS[task]:
            yield Problem(
                f"{algorithm} cannot learn {task}.",
                ("training", "params", "algorithm"),
                allowed=", ".join(ALGORITHMS[task]),
                hint="xgboost boosts trees for several classes" if algorithm == BOOSTED else None,
            )
            return
        yield from PARAMETERS[str(algorithm)].problems_of_task(others, task)


def _divided(params: Mapping[str, Value]) -> tuple[Value | None, dict[str, Value]]:
    """The algorithm, and its parameters."""
    return params.get("algorithm"), {name: value for name, value in params.items() if name != "algorithm"}


def _meant(name: str) -> str | None:
    """A hint for the class's name, ``GBTClassifier``, and for other words."""
    words = {
        **{algorithm.replace("_", ""): algorithm for algorithm in ALLOWED},
        **{"gradientboostedtrees": BOOSTED, "gbm": BOOSTED, "rf": FOREST, "forest": FOREST, "logit": LOGISTIC},
    }
    bare = re.sub(r"(classifier|regressor|classification|model)$", "", re.sub(r"[^a-z]", "", name.lower()))
    near = difflib.get_close_matches(bare, words, n=1, cutoff=0.7)
    return f"did you mean {words[near[0]]}?" if near else None


def _huber(params: Mapping[str, Value]) -> Iterator[Problem]:
    """What linear regression cannot do at once."""
    if params.get("loss") != "huber":
        if "epsilon" in params:
            yield Problem(
                "epsilon is where huber begins to count linearly, and the loss is another.",
                ("params", "epsilon"),
                hint="drop it, or write loss: huber",
                is_key=True,
            )
        return
    if params.get("elastic_net_param"):
        yield Problem("huber has no lasso: elastic_net_param must be 0.", ("params", "elastic_net_param"), allowed="0")
    if params.get("solver") == "normal":
        yield Problem("huber cannot be solved by normal equations.", ("params", "solver"), allowed="auto, l-bfgs")


SPARK_ML = SparkMLParameters()
