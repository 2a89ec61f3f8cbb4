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
from nightshift.spec.values import Task

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


@pytest.mark.parametrize(
    ("reference", "times", "beyond"), [(0.0, 1, 0), (1e5, 0.99, 0), (1e5, 1.01, 1), (-1e5, 0.99, 0)]
)
def test_what_is_allowed_grows_with_the_reference_and_is_allowed_itself(
    reference: float, times: float, beyond: int
) -> None:
    allowed = TOLERANCE * max(1.0, abs(reference))
    found = compare(np.array([reference]), np.array([reference + times * allowed]), task="regression")
    assert (found.beyond, found.holds) == (beyond, not beyond)


def test_near_nothing_it_is_allowed_that_of_one() -> None:
    for reference in (0.0, 0.001, 1.0):
        assert compare(np.array([reference]), np.array([reference + 0.9 * TOLERANCE]), threshold=0.5).holds
        assert compare(np.array([reference]), np.array([reference + 1.9 * TOLERANCE]), threshold=0.5).beyond == 1


def test_a_score_at_the_threshold_is_positive_on_both_sides() -> None:
    """One side is at the threshold, the other far from it: only a side that is below has another label."""
    for one, other, mismatches in ((0.5, 0.6, 0), (0.6, 0.5, 0), (0.5, 0.4, 0), (0.4, 0.5, 1)):
        assert compare(np.array([one]), np.array([other]), threshold=0.5).label_mismatches == mismatches


def test_scores_are_compared_as_float64() -> None:
    """In float32 the two would be the same number."""
    assert compare(np.array([1.0]), np.array([1.0 + 1e-9]), threshold=0.5).max_diff == pytest.approx(1e-9, rel=1e-3)
    assert compare(np.array([1], np.int64), np.array([1.25]), threshold=0.5).max_diff == 0.25


def test_next_to_the_threshold_is_as_near_as_the_tolerance_and_no_further() -> None:
    for reference, mismatches in ((TOLERANCE, 0), (1.01 * TOLERANCE, 1)):
        found = compare(np.array([reference]), np.array([-1.0]), threshold=0.0)
        assert found.label_mismatches == mismatches


# -- several classes, and numbers ---------------------------------------------------------------------------------------


def test_rows_of_several_classes_are_counted_once_and_the_worst_is_named() -> None:
    left = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    right = left.copy()
    right[1] += [0.0, -0.001, 0.001]
    right[2] += [0.05, 0.05, -0.1]
    found = compare(left, right, task="multiclass")
    assert (found.rows, found.beyond, found.worst_row, found.label_mismatches) == (3, 2, 2, 0)
    assert found.max_diff == pytest.approx(0.1)
    assert found.threshold is None
    assert compare(left, left, task="multiclass").holds
    nothing = compare(np.zeros((0, 3)), np.zeros((0, 3)), task="multiclass")
    assert (nothing.rows, nothing.holds, nothing.worst_row, nothing.max_diff) == (0, True, None, 0.0)


@pytest.mark.parametrize(
    ("left", "right", "mismatches"),
    [
        ([0.5, 0.3, 0.2], [0.3, 0.5, 0.2], 1),
        ([0.4, 0.4, 0.2], [0.4, 0.2, 0.4], 0),  # the first of equals on both sides
        ([0.4, 0.4, 0.2], [0.2, 0.4, 0.4], 0),  # the other of two that the reference calls equal
        ([TOLERANCE, 0.0, 0.0], [0.0, TOLERANCE, 0.0], 0),
        ([1.01 * TOLERANCE, 0.0, 0.0], [0.0, TOLERANCE, 0.0], 1),
        ([0.2, 0.3, 0.5], [0.5, 0.3, 0.2], 1),
    ],
)
def test_the_class_that_is_called_may_differ_only_where_two_are_equally_probable(
    left: list[float], right: list[float], mismatches: int
) -> None:
    row = [0.1, 0.1, 0.8]
    found = compare(np.array([row, left, row]), np.array([row, right, row]), task="multiclass")
    assert found.label_mismatches == mismatches


def test_numbers_have_no_label_that_could_differ() -> None:
    found = compare(np.array([0.4, 12.0]), np.array([0.6, -12.0]), task="regression")
    assert (found.beyond, found.label_mismatches, found.holds) == (2, 0, False)


@pytest.mark.parametrize(
    ("task", "shape"), [("multiclass", (2,)), ("multiclass", (2, 3, 1)), ("binary", (2, 2)), ("regression", (2, 1))]
)
def test_scores_of_another_form_than_the_task_has_are_refused(task: Task, shape: tuple[int, ...]) -> None:
    with pytest.raises(ParityError, match="gave shapes"):
        compare(np.zeros(shape), np.zeros(shape), task=task, threshold=0.5)


def test_a_disagreement_says_what_to_do() -> None:
    with pytest.raises(ParityError) as caught:
        compare(np.array([0.1]), np.array([0.9]), threshold=0.5).require()
    assert "must not ship" in (caught.value.hint or "")
    assert caught.value.message.startswith("the ONNX graph and the trained model disagree: 1 of 1 rows")
    assert "row 0), 1 labels differ at threshold 0.5." in caught.value.message


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
