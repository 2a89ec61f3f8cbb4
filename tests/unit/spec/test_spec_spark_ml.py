"""The engine spark_ml in a spec: which algorithm learns what, which parameters it takes, and what an error says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nightshift.spec.models import Training
from nightshift.spec.spark_ml_params import ALGORITHMS, ALLOWED, SPARK_ML
from nightshift.spec.spark_use import trains_on_spark

GOOD: dict[str, dict[str, Any]] = {
    "gbt": {"max_iter": 50, "max_depth": 4, "step_size": 0.1, "subsampling_rate": 0.8, "feature_subset_strategy": 3},
    "random_forest": {
        **{"num_trees": 30, "max_bins": 64, "min_instances_per_node": 50, "min_weight_fraction_per_node": 0.01},
        **{"feature_subset_strategy": 0.5, "impurity": "entropy", "bootstrap": False, "min_info_gain": 0},
    },
    "logistic_regression": {"max_iter": 50, "reg_param": 0.01, "elastic_net_param": 0.5, "standardization": False},
    "linear_regression": {"solver": "l-bfgs", "loss": "huber", "epsilon": 1.5, "fit_intercept": True, "tol": 1e-4},
}


def trained(algorithm: str | None, **params: Any) -> Training:
    named = {} if algorithm is None else {"algorithm": algorithm}
    return Training(engine="spark_ml", params={**named, **params})


@pytest.mark.parametrize("algorithm", GOOD)
def test_good_parameters_pass_and_need_spark(algorithm: str) -> None:
    training = trained(algorithm, **GOOD[algorithm])
    assert training.params == {"algorithm": algorithm, **GOOD[algorithm]}
    assert trains_on_spark(training)
    assert set(GOOD) == set(ALLOWED)
    assert not trains_on_spark(Training(engine="xgboost"))


@pytest.mark.parametrize(
    ("algorithm", "params", "words"),
    [
        (None, {"max_iter": 5}, "learns by an algorithm, and params.algorithm is not given.*Allowed: logistic_regr"),
        ("svm", {}, r"'svm' is no algorithm of spark_ml\. Allowed: .*, random_forest, gbt\."),
        ("GBTClassifier", {}, "did you mean gbt"),
        ("RandomForestRegressor", {}, "did you mean random_forest"),
        ("linearRegression", {}, "did you mean linear_regression"),
        ("gradient_boosted_trees", {}, "did you mean gbt"),
        ("gbt", {"maxIter": 5}, r"params\.maxIter: maxIter is no parameter.*did you mean max_iter\?"),
        ("random_forest", {"featureSubsetStrategy": "all"}, r"did you mean feature_subset_strategy\?"),
        ("random_forest", {"num_tree": 5}, r"did you mean num_trees\?"),
        ("random_forest", {"max_iter": 5}, "Hint: write num_trees"),
        ("gbt", {"n_estimators": 5}, "Hint: write max_iter"),
        ("gbt", {"learning_rate": 0.1}, "Hint: write step_size"),
        ("gbt", {"reg_param": 0.1}, "it is a parameter of linear_regression, not of gbt"),
        ("gbt", {"seed": 1}, r"set training\.seed"),
        ("gbt", {"zzzz": 1}, "Allowed: max_iter, step_size, max_depth"),
        ("gbt", {"max_depth": 31}, "31 is not a whole number from 0 to 30"),
        ("gbt", {"max_iter": 0}, "0 is not a whole number from 1"),
        ("gbt", {"step_size": 0}, "0 is not a number above 0 and at most 1"),
        ("random_forest", {"bootstrap": 1}, "1 is not true or false"),
        ("random_forest", {"feature_subset_strategy": 1.5}, "1.5 is not one of auto, .*, a whole number from 1, or a"),
        ("random_forest", {"feature_subset_strategy": "half"}, "'half' is not one of auto"),
        ("random_forest", {"feature_subset_strategy": True}, "True is not one of auto"),
        ("random_forest", {"feature_subset_strategy": 0}, "0 is not one of auto"),
        ("random_forest", {"min_weight_fraction_per_node": 0.5}, "at least 0 and below 0.5"),
        ("logistic_regression", {"threshold": 0.4}, r"set training\.threshold"),
        ("logistic_regression", {"family": "binomial"}, r"follows from label\.task"),
        ("linear_regression", {"epsilon": 1.2}, "epsilon is where huber .*write loss: huber"),
        ("linear_regression", {"loss": "huber", "elastic_net_param": 0.1}, "elastic_net_param must be 0"),
        ("linear_regression", {"loss": "huber", "solver": "normal"}, "cannot be solved by normal equations"),
    ],
)
def test_bad_parameters_are_named(algorithm: str | None, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="params") as caught:
        trained(algorithm, **params)
    assert re.search(words, str(caught.value)), str(caught.value)


def test_a_number_of_workers_is_refused() -> None:
    assert Training(engine="spark_ml", params={"algorithm": "gbt"}, workers=1).workers == 1
    with pytest.raises(ValueError, match=r"workers: spark_ml takes no number of workers: .*executors have cores.*drop"):
        Training(engine="spark_ml", params={"algorithm": "gbt"}, workers=2)


@pytest.mark.parametrize(
    ("task", "params", "said"),
    [
        ("multiclass", {"algorithm": "gbt"}, "gbt cannot learn multiclass."),
        ("multiclass", {"algorithm": "linear_regression"}, "linear_regression cannot learn multiclass."),
        ("regression", {"algorithm": "logistic_regression"}, "logistic_regression cannot learn regression."),
        ("binary", {"algorithm": "linear_regression"}, "linear_regression cannot learn binary."),
        ("regression", {"algorithm": "random_forest", "impurity": "gini"}, "impurity does nothing for regression."),
        ("binary", {"algorithm": "gbt", "loss_type": "squared"}, "loss_type does nothing for binary."),
    ],
)
def test_an_algorithm_learns_its_own_tasks(task: Any, params: dict[str, Any], said: str) -> None:
    (problem,) = SPARK_ML.problems_of_task(params, task)
    assert problem.message == said
    assert problem.at == ("training", "params", "algorithm" if "cannot" in said else list(params)[-1])
    assert ("cannot" in said) == (problem.allowed == ", ".join(ALGORITHMS[task]))


def test_the_algorithm_of_the_training_is_fixed_and_that_of_another_engine_may_be_searched() -> None:
    choices = {"algorithm": {"choices": ["gbt", "random_forest"]}}
    with pytest.raises(
        ValueError, match=r"search\.params\.algorithm: the algorithm of training\.engine is not searched"
    ) as told:
        Training.model_validate({"engine": "spark_ml", "search": {"trials": 2, "params": choices}})
    assert "params.algorithm is not given" not in str(told.value)
    assert "search.engines" in str(told.value)
    other = [{"engine": "spark_ml", "params": choices}]
    assert Training.model_validate({"engine": "xgboost", "search": {"trials": 2, "engines": other}}).search is not None


def test_an_algorithm_that_is_not_known_is_one_problem_only() -> None:
    assert list(SPARK_ML.problems_of_task({"algorithm": "svm", "zzz": 1}, "binary")) == []
    assert [list(SPARK_ML.problems_of_task(params, "binary")) for params in ({}, {"algorithm": "gbt"})] == [[], []]
