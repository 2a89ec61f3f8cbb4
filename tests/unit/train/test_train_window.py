"""The training window as arrays: the rows of all files, in their order, whatever the files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.fakes.training_window import given, rows_of

from nightshift.errors import DataError
from nightshift.train.window import TrainingWindow


def window_of(root: Path, table: pa.Table, *, files: int) -> TrainingWindow:
    plan, io = given(root, table, files=files)
    return TrainingWindow(
        store=io.store,
        given=io.given("preprocess"),
        width=7,
        key=plan.spec.key,
        label=plan.spec.label,
        title="test",
        root=plan.storage,
        scratch=io.scratch,
    )


@pytest.mark.parametrize("files", [1, 3, 7])
def test_the_rows_of_all_files_come_in_their_order(files: int, tmp_path: Path) -> None:
    table = rows_of(1_000)
    window = window_of(tmp_path, table, files=files)
    features, labels = window.arrays()
    expected = np.array(table["__features"].to_pylist(), np.float32)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(labels, table["__label"].to_numpy())
    # What is asked about: 50 rows of the probe set, then 200 of the holdout.
    np.testing.assert_array_equal(window.asked(), expected[:250])


def test_a_vector_of_another_length_in_a_later_file_is_refused(tmp_path: Path) -> None:
    table = rows_of(400)
    vectors = pa.array([[1.0] * (6 if row == 390 else 7) for row in range(400)], pa.list_(pa.float32()))
    changed = table.set_column(table.column_names.index("__features"), "__features", vectors)
    with pytest.raises(DataError, match="vectors of 7 numbers were expected, but their lengths go from 6 to 7"):
        window_of(tmp_path, changed, files=4).arrays()
