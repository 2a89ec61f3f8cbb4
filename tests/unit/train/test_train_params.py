"""Which parameters a spec may set, and what the error says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from nightshift.errors import SpecError
from nightshift.train.engines.xgboost_params import check_params

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
    check_params({})
    check_params(GOOD)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_dept", 4, "training.params.max_dept is no parameter.*\n.*did you mean max_depth?"),
        ("eta", 0.1, "write learning_rate"),
        ("nthreads", 2, "did you mean nthread?.*NIGHTSHIFT_THREADS"),
        ("objective", "reg:squarederror", "always binary:logistic"),
        ("seed", 1, "set training.seed"),
        ("zzz", 1, "allowed: n_estimators, max_depth"),
        ("n_estimators", 0, "training.params.n_estimators is 0; it must be a whole number from 1"),
        ("n_estimators", 10.0, "must be a whole number"),
        ("n_estimators", True, "must be a whole number"),
        ("learning_rate", 0, "must be a number above 0 and at most 1"),
        ("learning_rate", "fast", "must be a number above 0"),
        ("learning_rate", float("nan"), "must be a number above 0"),
        ("subsample", 1.5, "at most 1"),
        ("min_child_weight", -1, "must be a number at least 0"),
        ("min_child_weight", float("inf"), "must be a number at least 0"),
        ("base_score", 1, "above 0 and below 1"),
        ("grow_policy", "random", "one of depthwise, lossguide"),
    ],
)
def test_bad_parameters_are_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_params({**GOOD, name: value})

    import re

    assert re.search(words, str(caught.value)), str(caught.value)


def test_checking_loads_no_library() -> None:
    code = (
        "import sys, nightshift.train.engines.xgboost_params as it; it.check_params({'max_depth': 3});"
        "sys.exit(' '.join(set(sys.modules) & {'xgboost', 'numpy', 'pandas', 'onnx', 'pyarrow'}))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr == "\n"
