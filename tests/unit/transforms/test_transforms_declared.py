"""Declaring, fitting by hand-given answers, and the text forms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import IntegrityError, SpecError
from nightshift.spec.models import Features
from nightshift.transforms import OnnxGraph, Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.estimators import GRID, MedianImpute, Moments, MomentSums, QuantileClip
from nightshift.transforms.float32 import float32, float_sql, text_sql
from nightshift.transforms.numeric import Bucketize, Clip, Impute, Log, Scale

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def declare(**transforms: Any) -> Transforms:
    return Transforms.declare(Features(numeric=["x"], categorical=["c"], transforms=transforms))


def test_numbers_come_first_and_categories_are_one_hot_by_default() -> None:
    transforms = Transforms.declare(Features(categorical=["c"], numeric=["x", "y"]))

    assert transforms.request_columns == (("x", "numeric"), ("y", "numeric"), ("c", "categorical"))
    assert transforms.numeric == (NumericColumn("x"), NumericColumn("y"))
    assert transforms.categorical == (CategoricalColumn("c", "one_hot", 200),)


def test_every_transform_can_be_declared() -> None:
    transforms = declare(
        x=[
            {"kind": "impute"},
            {"kind": "impute", "strategy": "mean"},
            {"kind": "impute", "strategy": "constant", "value": 0.1},
            {"kind": "clip", "bounds": [-1, float("inf")]},
            {"kind": "clip", "quantiles": [0.1, 0.9]},
            {"kind": "scale"},
            {"kind": "log"},
            {"kind": "bucketize", "edges": [0, 1]},
        ],
        c=[{"kind": "index", "max_levels": 7}],
    )

    assert transforms.numeric[0].steps == (
        MedianImpute(),
        Moments("impute"),
        Impute(float(np.float32(0.1))),
        Clip(-1.0, None),
        QuantileClip(0.1, 0.9),
        Moments("scale"),
        Log(),
        Bucketize((0.0, 1.0)),
    )
    assert transforms.categorical == (CategoricalColumn("c", "index", 7),)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (NumericColumn("x", (MedianImpute(),)), "the transforms of x are not fitted"),
        (CategoricalColumn("c", "one_hot", 9), "the transforms of c are not fitted"),
    ],
)
def test_nothing_can_be_emitted_before_fitting(column: NumericColumn | CategoricalColumn, words: str) -> None:
    numeric = isinstance(column, NumericColumn)
    transforms = Transforms((column,) if numeric else (), () if numeric else (column,))

    for emit in (transforms.spark_columns, transforms.to_json, lambda: transforms.onnx_nodes(OnnxGraph())):
        with pytest.raises(ValueError, match=words):
            emit()


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([1.0, 1.00000001], "must ascend as float32 numbers"),
        ([1e300], "float too large"),
        ([float("inf")], "not a finite number"),
    ],
)
def test_edges_must_ascend_as_float32(edges: list[float], words: str) -> None:
    with pytest.raises(SpecError, match=rf"features.transforms.x\[0\] \(bucketize\): .*{words}"):
        declare(x=[{"kind": "bucketize", "edges": edges}])


def test_fitted_transforms_survive_json_exactly() -> None:
    transforms = Transforms(
        (
            NumericColumn("x", (Impute(None), Clip(-0.1, None), Scale(1 / 3, 1e-5), Log(), Bucketize((0.0, 0.1)))),
            NumericColumn("y"),
        ),
        (CategoricalColumn("c", "one_hot", 5, ("'", "æ")), CategoricalColumn("d", "index", 5, ())),
    )
    data = transforms.to_json()

    assert Transforms.from_json(data) == transforms
    assert Transforms.from_json(data).to_json() == data
    assert json.loads(data)["feature_names"] == ["x", "y", "c='", "c=æ", "d"]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"format": 2, "columns": [], "feature_names": []}', b'{"format": 1}',
     b'{"format": 1, "columns": [{"kind": "numeric", "name": "x", "steps": [{"kind": "exec"}]}], "feature_names": ["x"]}',
     b'{"format": 1, "columns": [{"kind": "numeric", "name": "x", "steps": []}], "feature_names": ["y"]}'],
)  # fmt: skip
def test_bytes_that_are_not_transforms_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Transforms.from_json(data)


def test_literals_cannot_leave_their_quotes() -> None:
    assert text_sql("it's") == "'it\\u0027s'"
    assert text_sql("a\\${x}\n") == "'a\\u005c\\u0024{x}\\u000a'"
    assert text_sql("\U000e0001") == "'\\U000e0001'"
    assert float_sql(-0.1) == "-0.1F"


@given(FINITE)
def test_float32_keeps_float32_numbers_and_drops_the_sign_of_zero(value: float) -> None:
    kept = float32(value)

    assert kept == value
    assert str(kept) != "-0.0"


@given(st.lists(FINITE, min_size=1, max_size=50), st.randoms())
def test_moments_are_exact_to_the_grid_in_any_order(values: list[float], shuffle: Any) -> None:
    low, high = min(values), max(values)
    estimator = Moments("scale").fit((low, high))
    if low == high:
        assert estimator == Scale(low + 0.0, 0.0)
        return
    assert isinstance(estimator, MomentSums)
    places = [(value - low) / estimator.unit for value in values]
    assert 0 <= min(places) <= max(places) < 1

    def fitted() -> Scale:
        shuffle.shuffle(places)
        sums = [sum(int(place**power * GRID) for place in places) for power in (1, 2)]
        return estimator.fit((len(places), *sums))

    scale = fitted()
    assert scale == fitted()
    exact = np.array(values, np.float64) - low
    assert scale.mean - low == pytest.approx(exact.mean(), rel=1e-9, abs=(high - low) * 1e-12)
    assert scale.deviation == pytest.approx(exact.std(), rel=1e-6, abs=(high - low) * 1e-7)


def test_a_column_without_a_value_is_left_alone() -> None:
    assert MedianImpute().fit((None,)) == Impute(None)
    assert QuantileClip(0.1, 0.9).fit((None,)) == Clip(None, None)
    assert Moments("impute").fit((None, None)) == Impute(None)
    assert Moments("scale").fit((None, None)) == Scale(0.0, 0.0)


def test_each_transform_is_fitted_on_what_the_one_before_gives() -> None:
    column = NumericColumn("x", (MedianImpute(), Log(), Moments("scale")))

    estimator, value = column.question() or (None, "")
    assert estimator == MedianImpute()
    assert value == "nullif(CAST(CAST(`x` AS DOUBLE) AS FLOAT), float('NaN'))"
    column = column.answered(Impute(2.0))
    estimator, value = column.question() or (None, "")
    assert estimator == Moments("scale")
    assert value.startswith("CAST(ln(1.0D + abs(CAST(coalesce(nullif(")
    column = column.answered(Scale(0.0, 1.0))
    assert column.question() is None
    assert column.fitted
