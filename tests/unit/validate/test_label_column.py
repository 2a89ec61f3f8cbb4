"""What a label column says, by task: nulls and NaN are unlabelled, a value that is no class is told apart."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import SpecError
from nightshift.spec.label_column import UNKNOWN, label_column
from nightshift.spec.models import Label
from nightshift.validate.statistics import counted_of, label_counts, no_classes

PORTS = Label(column="port", task="multiclass", classes=("EWR", "JFK", "LGA"))
DIGITS = Label(column="port", task="multiclass", classes=("0", "1", "2", "-3"))
FLAGS = Label(column="port", task="multiclass", classes=("true", "false", "maybe"))
MINUTES = Label(column="port", task="regression")
LATE = Label(column="port", positive=">= 15")


def column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("label", "values", "read"),
    [
        (PORTS, ("LGA", "EWR", None, "lga", "JFK "), [2, 0, None, UNKNOWN, UNKNOWN]),
        (PORTS, (None, None), [None, None]),
        (DIGITS, (2, 0, None, 3, -3), [2, 0, None, UNKNOWN, 3]),
        (DIGITS, (2.0, -0.0, math.nan, None, 1.5, 1e300, math.inf, -3.0), [2, 0, None, None, UNKNOWN, UNKNOWN, UNKNOWN, 3]),
        (DIGITS, (Decimal("2.00"), Decimal("0.50")), [2, UNKNOWN]),
        (DIGITS, ("1", "01"), [1, UNKNOWN]),
        (FLAGS, (True, False, None), [0, 1, None]),
        (MINUTES, (1, -2, None), [1.0, -2.0, None]),
        (MINUTES, (1.5, math.nan, None), [1.5, None, None]),
        (MINUTES, (Decimal("1.25"), None), [1.25, None]),
        (MINUTES, (None,), [None]),
        (LATE, (14, 15, None), [0, 1, None]),
        (LATE, (14.0, math.nan), [0, None]),
    ],
)  # fmt: skip
def test_values_become_labels(label: Label, values: tuple[object, ...], read: list[float | None]) -> None:
    found = label_column(label).arrow(column(*values))

    assert found.to_pylist() == read
    assert found.type == (pa.float64() if label.task == "regression" else pa.int8())


@pytest.mark.parametrize("label", [PORTS, MINUTES])
def test_a_dictionary_is_what_it_holds(label: Label) -> None:
    values = column("EWR", "LGA") if label is PORTS else column(1.0, 2.0)
    assert label_column(label).arrow(values.dictionary_encode()).equals(label_column(label).arrow(values))


@pytest.mark.parametrize(
    ("label", "values", "said"),
    [
        (MINUTES, ("12",), r"type string, but label.task \(regression\) needs a number"),
        (MINUTES, (True,), "type bool, but"),
        (PORTS, (b"EWR",), r"compares label.classes with a text or a number or a boolean"),
        (LATE, ("yes",), r"label\.positive compares with the number 15"),
    ],
)
def test_a_column_of_another_kind_is_refused(label: Label, values: tuple[object, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        label_column(label).arrow(column(*values))


@given(st.lists(st.none() | st.sampled_from(["EWR", "JFK", "LGA", "", "jfk"])))
def test_every_row_is_counted_once(values: list[str | None]) -> None:
    rows = pa.table({"port": pa.array(values, pa.string())})
    odd = no_classes(rows, PORTS)
    assert odd == [place for place, value in enumerate(values) if value in ("", "jfk")]

    clean = pa.table({"port": pa.array([value for value in values if value not in ("", "jfk")], pa.string())})
    counts = label_counts(clean, PORTS)

    assert tuple(counts) == counted_of(PORTS)
    assert {name: counts[f"class.{name}"] for name in PORTS.classes} == {
        name: values.count(name) for name in PORTS.classes
    }
    assert counts["labelled"] + counts["unlabelled"] + len(odd) == len(values)
    assert counts["labelled"] == sum(counts[f"class.{name}"] for name in PORTS.classes)


def test_counts_by_task() -> None:
    rows = pa.table({"port": [14.0, 15.0, math.nan, None]})
    assert label_counts(rows, MINUTES) == {"labelled": 2, "unlabelled": 2}
    assert label_counts(rows, LATE) == {"labelled": 2, "unlabelled": 2, "positives": 1}
    assert no_classes(rows, MINUTES) == no_classes(rows, LATE) == []
