"""The training window as arrays: the rows of all files, in their order, whatever the files are."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.fakes.training_window import given, rows_of

from nightshift import train
from nightshift.errors import DataError
from nightshift.plan import Interval
from nightshift.spec.models import Label
from nightshift.stage import StageResult
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.window import TrainingWindow

MINUTES = Label(column="minutes", task="regression", delay="1d")


def window_of(root: Path, table: pa.Table, *, files: int, label: Label | None = None) -> TrainingWindow:
    plan, io = given(root, table, files=files)
    return TrainingWindow(
        store=io.store,
        given=io.given("preprocess"),
        width=7,
        key=plan.spec.key,
        label=label or plan.spec.label,
        title="test",
        root=plan.storage,
        scratch=io.scratch,
    )


def test_a_part_is_learned_without_checkpoints(tmp_path: Path) -> None:
    """What a trial would leave nobody takes up, and an executor has no store to leave it in."""
    window = window_of(tmp_path, rows_of(100), files=1)
    whole = dataclasses.replace(window, checkpoints=Checkpoints.of(window.store, "2024-03-01", "key"))
    day = datetime(2024, 3, 1, tzinfo=UTC)
    assert whole.between(Interval(day, day + timedelta(days=1))).checkpoints is None


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


def labelled(values: list[float]) -> pa.Table:
    table = rows_of(len(values))
    return table.set_column(table.column_names.index("__label"), "__label", pa.array(values, pa.float64()))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([3.0, 3.0], "has the label 3 only"),
        ([0.0, 1e39], "has labels from 0 to 1e\\+39, beyond what float32 can hold"),
        ([1.7e9, 1.7e9 + 1], "has labels from 1700000000 to 1700000001, which are one number in float32"),
    ],
)
def test_numbers_that_nothing_can_learn(values: list[float], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{words}; a model needs different numbers"):
        window_of(tmp_path, labelled(values * 100), files=1, label=MINUTES).arrays()


def trained_on(labels: list[float], root: Path) -> StageResult:
    plan, io = given(root, labelled(labels), params={"n_estimators": 5, "max_depth": 2})
    spec = plan.spec.model_copy(update={"label": MINUTES})
    return train.run(dataclasses.replace(plan, spec=spec), io)


@pytest.mark.parametrize(("unit", "learned"), [(1e12, True), (1e17, True), (1e19, False), (1e36, False)])
def test_labels_whose_squares_float32_cannot_add_up_are_refused_with_what_to_do(
    unit: float, learned: bool, tmp_path: Path
) -> None:
    """xgboost says nothing then, and gives trees that know nothing."""
    labels = list((rows_of(400)["__label"].to_numpy() + 1) * unit)
    if learned:
        trained_on(labels, tmp_path)
    else:
        with pytest.raises(DataError, match=r"in 400 rows, whose squared differences .*\n  Hint: give the label in a"):
            trained_on(labels, tmp_path)
