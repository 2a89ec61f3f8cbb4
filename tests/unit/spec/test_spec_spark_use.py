"""Which stages are submitted to a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.trained_night import small_spec

from nightshift.spec.spark_use import any_trains_on_spark, uses_spark

SEARCH = {"trials": 2, "params": {"max_depth": [1, 3]}}


@pytest.mark.parametrize(
    ("training", "submitted", "trains"),
    [
        ({}, False, False),
        ({"workers": 2}, True, True),
        ({"search": SEARCH}, False, False),
        ({"search": SEARCH, "workers": 2}, True, True),
        ({"search": {**SEARCH, "parallel": 2}}, True, False),
    ],
)
def test_train_goes_where_its_tasks_are(training: dict[str, Any], submitted: bool, trains: bool) -> None:
    spec = small_spec(training={"engine": "xgboost", **training})
    assert (uses_spark("train", spec), any_trains_on_spark(spec.training)) == (submitted, trains)
    assert uses_spark("preprocess", spec)
    assert not uses_spark("evaluate", spec)
