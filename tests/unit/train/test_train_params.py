"""Which parameters a spec may set, and what the error says."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.spec.models import Training
from nightshift.spec.training_rules import auto_is_measured

GOOD = {
    "n_estimators": 200,
    "max_depth": 4,
    "learning_rate": 0.05,
    "min_child_weight": 50,
    "subsample": 0.8,
    "grow_policy": "lossguide",
    "base_score": 0.2,
    "gamma": 0,
}


def test_good_parameters_pass() -> None:
    assert Training(engine="xgboost").params == {}
    assert Training(engine="xgboost", params=GOOD).params == GOOD


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_dept", 4, "max_dept is no parameter.*did you mean max_depth"),
        ("eta", 0.1, "write learning_rate"),
        ("nthreads", 2, "did you mean nthread?.*NIGHTSHIFT_THREADS"),
        ("objective", "rank:ndcg", "one of binary:logistic, multi:softprob"),
        ("seed", 1, "set training.seed"),
        ("zzz", 1, "Allowed: n_estimators, max_depth"),
        ("n_estimators", 0, "0 is not a whole number from 1"),
        ("n_estimators", 10.0, "is not a whole number"),
        ("n_estimators", True, "is not a whole number"),
        ("learning_rate", 0, "is not a number above 0 and at most 1"),
        ("learning_rate", "fast", "is not a number above 0"),
        ("learning_rate", float("nan"), "is not a number above 0"),
        ("subsample", 1.5, "at most 1"),
        ("min_child_weight", -1, "is not a number at least 0"),
        ("min_child_weight", float("inf"), "is not a number at least 0"),
        ("base_score", float("inf"), "a finite number"),
        ("base_score", 1e300, r"1e\+300 is not a finite number that float32 can hold"),
        ("learning_rate", 1e-60, "1e-60 is not a number above 0 and at most 1 that float32 can hold"),
        ("gamma", 1e-60, "1e-60 is not a number at least 0 that float32 can hold"),
        ("reg_lambda", 1e60, r"1e\+60 is not a number at least 0 that float32 can hold"),
        (
            "learning_rate",
            "1.0e+300",
            "a number has at most 19 digits, and its exponent 2; what is longer is read as text",
        ),
        ("grow_policy", "random", "one of depthwise, lossguide"),
    ],
)
def test_bad_parameters_are_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        Training(engine="xgboost", params={**GOOD, name: value})

    import re

    assert re.search(words, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_has_64_bits(seed: int) -> None:
    assert Training(engine="xgboost", seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ValueError, match=r"than or equal to -?92233720368547758"):
        Training(engine="xgboost", seed=seed)


@pytest.mark.parametrize(("threshold", "words"), [(1e-60, "1e-60 is 0"), (0.999999999, r"0\.999999999 is 1")])
def test_a_threshold_is_between_0_and_1_for_float32_too(threshold: float, words: str) -> None:
    with pytest.raises(ValueError, match=f"as a float32, which the graph compares with, {words}"):
        Training(engine="xgboost", threshold=threshold)


@pytest.mark.parametrize("workers", [1, 2, 64, "auto"])
def test_a_number_of_workers_passes(workers: Any) -> None:
    assert Training(engine="xgboost", workers=workers).workers == workers
    assert Training(engine="xgboost").workers == 1


@pytest.mark.parametrize("workers", [0, -1, 65, True, 2.0, "2", "many", "Auto", None])
def test_anything_else_is_no_number_of_workers(workers: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a number of workers.*a whole number from 1 to 64, or auto"):
        Training(engine="xgboost", workers=workers)


def test_auto_needs_a_measured_size() -> None:
    assert list(auto_is_measured("xgboost", "auto")) == []
    assert list(auto_is_measured("torch", 2)) == []
    [problem] = auto_is_measured("torch", "auto")
    assert problem.message.startswith("nobody has measured from what size on several workers are faster for torch")
    assert problem.allowed == "auto for xgboost, else a whole number from 1 to 64"


def test_workers_are_no_parameter_of_the_engine() -> None:
    with pytest.raises(ValueError, match=r"set training\.workers"):
        Training(engine="xgboost", params={"num_workers": 2})
