"""The parity rule of two scores of the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import DataError, ParityError
from nightshift.model.booster import feature_matrix
from nightshift.model.parity import TOLERANCE, compare

PROBABILITIES = st.lists(st.floats(0, 1, width=32), max_size=40).map(lambda values: np.array(values, np.float32))


@given(PROBABILITIES, st.floats(0.01, 0.99))
def test_a_side_agrees_with_itself(values: np.ndarray, threshold: float) -> None:
    parity = compare(values, values, threshold=threshold)

    assert parity.holds
    assert (parity.max_diff, parity.beyond, parity.label_mismatches) == (0.0, 0, 0)
    assert parity.require() is parity


@given(PROBABILITIES.filter(len), st.floats(1e-4, 0.5), st.data())
def test_a_row_that_moves_too_far_is_found(values: np.ndarray, shift: float, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    moved = values.astype(np.float64)
    moved[row] += shift

    parity = compare(values, moved, threshold=0.5)

    assert (parity.beyond, parity.worst_row) == (1, row)
    assert parity.max_diff == pytest.approx(shift)
    with pytest.raises(ParityError, match=rf"1 of {len(values)} rows differ by more than 1e-05 .*row {row}\)"):
        parity.require()


def test_labels_may_differ_only_next_to_the_threshold() -> None:
    near = compare(np.array([0.5 - TOLERANCE / 2]), np.array([0.5 + TOLERANCE / 4]), threshold=0.5)
    far = compare(np.array([0.4]), np.array([0.6]), threshold=0.5)

    assert near.holds
    assert far.label_mismatches == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("swap", [False, True])
def test_what_is_not_a_number_never_agrees(bad: float, swap: bool) -> None:
    sides = [np.array([0.1, bad]), np.array([0.1, 0.2])]

    assert not compare(*(reversed(sides) if swap else sides), threshold=0.5).holds
    assert not compare(np.array([bad]), np.array([bad]), threshold=0.5).holds


def test_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ParityError, match=r"shapes \[2\] and \[3\]"):
        compare(np.zeros(2), np.zeros(3), threshold=0.5)


def vectors(rows: list[list[float] | None], chunks: int = 1) -> pa.ChunkedArray:
    array = pa.array(rows, pa.list_(pa.float32()))
    size = max(1, -(-len(array) // chunks))
    return pa.chunked_array([array.slice(at, size) for at in range(0, len(array), size)], array.type)


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_vectors_become_a_matrix(chunks: int) -> None:
    matrix = feature_matrix(vectors([[1, 2], [3, float("nan")], [5, 6]], chunks), 2)

    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[1, 2], [3, np.nan], [5, 6]])


def test_one_chunk_is_not_copied() -> None:
    column = vectors([[1, 2], [3, 4]])

    address = feature_matrix(column, 2).__array_interface__["data"][0]

    assert address == column.chunk(0).flatten().buffers()[1].address


def test_no_vectors_are_an_empty_matrix() -> None:
    assert feature_matrix(vectors([]), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0], [1.0, 2.0]], "lengths go from 1 to 2"),
        ([[1.0, 2.0], None], "1 are null"),
        ([[1.0, None]], "1 numbers inside the vectors are null"),
    ],
)
def test_vectors_of_another_length_are_refused(rows: list[list[float] | None], words: str) -> None:
    with pytest.raises(DataError, match=words):
        feature_matrix(vectors(rows), 2)
