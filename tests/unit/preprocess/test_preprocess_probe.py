"""The probe set: corners of the transforms, within 200 rows, the same rows every time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.preprocess.probe import MOST_ROWS, boundaries, probe_rows

pytestmark = pytest.mark.thorough


def transforms_json(numeric: dict[str, list[dict[str, Any]]]) -> bytes:
    columns = [{"name": name, "kind": "numeric", "steps": steps} for name, steps in numeric.items()]
    return json.dumps({"columns": [*columns, {"name": "kind", "kind": "categorical", "encoder": {}}]}).encode()


def train_rows(rows: int, numeric: int = 2) -> pa.Table:
    columns = {f"x{number}": pa.array([float(row + number) for row in range(rows)]) for number in range(numeric)}
    return pa.table({"id": pa.array(range(rows)), **columns, "kind": pa.array(["a"] * rows)})


@given(rows=st.integers(1, 400), numeric=st.integers(1, 60), edges=st.integers(1, 150))
@settings(deadline=None, max_examples=20)
def test_at_most_200_rows_with_every_null_in_them(rows: int, numeric: int, edges: int) -> None:
    train = train_rows(rows, numeric)
    names = [f"x{number}" for number in range(numeric)]
    steps = {name: [{"kind": "bucketize", "edges": [float(edge) for edge in range(edges)]}] for name in names}
    request = [*((name, "numeric") for name in names), ("kind", "categorical")]
    probe = probe_rows(train, request, transforms_json(steps))

    assert probe.num_rows <= MOST_ROWS
    assert probe.schema == train.schema
    assert probe.equals(probe_rows(train, request, transforms_json(steps)))
    found = probe.to_pylist()
    assert any(all(row[name] is None for name, _ in request) for row in found)
    assert all(any(row[name] is None and row["id"] is not None for row in found) for name, _ in request)
    assert {"", "a", None} < {row["kind"] for row in found}
    assert found[: min(rows, 100)] == [train.to_pylist()[n * rows // min(rows, 100)] for n in range(min(rows, 100))]


def test_numbers_at_and_beside_every_bound_in_the_type_of_the_column() -> None:
    steps = [{"kind": "impute", "value": 2.5}, {"kind": "clip", "low": -1.0, "high": None}]
    steps.append({"kind": "bucketize", "edges": [0.1, 7.0]})

    numbers = boundaries(pa.chunked_array([pa.array([-9.5, 4.0, None])]), steps)
    for number in (-1.0, 2.5, float(np.float32(0.1)), 7.0):
        below, above = (float(np.nextafter(np.float32(number), np.float32(side))) for side in (-np.inf, np.inf))
        assert {below, number, above} <= set(numbers)
    assert {-9.5, 4.0, 0.0} <= set(numbers)
    assert numbers == sorted(set(numbers))

    whole = boundaries(pa.chunked_array([pa.array([-9, 4], pa.int8())]), steps)
    assert set(whole) == {-9, 4, 0, -2, -1, 1, 2, 3, 6, 7, 8}
    assert all(isinstance(number, int) for number in whole)


@pytest.mark.parametrize("bound", [127.0, 1e30])
def test_whole_numbers_stay_within_their_type(bound: float) -> None:
    numbers = boundaries(pa.chunked_array([pa.array([1], pa.int8())]), [{"kind": "clip", "low": None, "high": bound}])
    assert max(numbers) <= 127


def test_a_column_without_any_value_has_only_the_zero() -> None:
    assert boundaries(pa.chunked_array([pa.nulls(3, pa.float64())]), []) == [0.0]


def test_changed_rows_are_otherwise_complete_where_the_data_allows() -> None:
    train = pa.table({"id": [1, 2, 3], "x": [None, 5.0, 6.0], "kind": ["a", None, "b"]})
    probe = probe_rows(train, [("x", "numeric"), ("kind", "categorical")], transforms_json({"x": []}))

    only_x_null = [row for row in probe.to_pylist() if row["x"] is None and row["kind"] == "b"]
    assert only_x_null
