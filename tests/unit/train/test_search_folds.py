"""Folds by time: laws of their periods, and that a part of the window has its own rows and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.trained_night import as_table, publish_preprocess, rows_of, small_plan

from nightshift.errors import ModelError
from nightshift.plan import DAY, Interval
from nightshift.storage import Store
from nightshift.train.engines.xgboost import XGBoost
from nightshift.train.search.folds import folds_of, periods
from nightshift.train.search.scoring import value_of
from nightshift.train.window import TrainingWindow

START = datetime(2024, 1, 1, tzinfo=UTC)


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 20))
def test_periods_follow_each_other_up_to_the_end_and_leave_as_much_before(days: int, holdout: int, count: int) -> None:
    days += count
    whole = Interval(START, START + days * DAY)
    found = list(periods(whole, longest=holdout * DAY, count=count))
    assert len(found) == count
    assert [one.end for one in found] == [*(one.start for one in found[1:]), whole.end]
    [length] = {one.end - one.start for one in found}
    assert DAY <= length <= holdout * DAY
    assert length % DAY == timedelta(0)
    assert found[0].start - whole.start >= length


def window_of(root: Path) -> tuple[TrainingWindow, Interval]:
    plan = small_plan(root)
    ref = publish_preprocess(plan)
    store = Store.of(plan)
    window = TrainingWindow(store, store.resolve(ref), 5, plan.spec.key, plan.spec.label, "test", plan.storage, root)
    return window, plan.windows.train


def test_a_fold_learns_what_is_before_the_rows_it_is_judged_on(tmp_path: Path) -> None:
    window, whole = window_of(tmp_path)
    everything, labels = window.arrays()
    for number, fold in enumerate(folds_of(window, whole, holdout=3 * DAY, count=3)):
        before, of_fold = fold.learned.arrays()
        days = 4 + number
        assert (len(before), fold.learned.rows, fold.judged.rows) == (250 * days, 250 * days, 250)
        np.testing.assert_array_equal(before, everything[: 250 * days])
        np.testing.assert_array_equal(of_fold, labels[: 250 * days])
        np.testing.assert_array_equal(fold.judged.vectors, everything[250 * days : 250 * (days + 1)])


def test_a_part_follows_the_time_of_its_rows_not_their_order(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    columns = rows_of(plan.windows.train)
    order = np.random.default_rng(3).permutation(len(columns["__time"]))
    ref = publish_preprocess(plan, training=lambda it: {name: [it[name][at] for at in order] for name in it})
    store = Store.of(plan)
    window = TrainingWindow(store, store.resolve(ref), 5, plan.spec.key, plan.spec.label, "t", plan.storage, tmp_path)
    [day, *_] = plan.windows.train.days()
    part, _ = window.between(day).arrays()
    [expected] = [as_table(plan.spec, rows_of(day)).column("__features").combine_chunks()]
    assert sorted(map(str, part.tolist())) == sorted(str(row) for row in expected.to_pylist())


def test_what_is_after_a_part_changes_nothing_of_what_is_learned_on_it(tmp_path: Path) -> None:
    def fitted(root: Path, *, flipped_after: datetime) -> object:
        def training(columns: dict[str, Any]) -> dict[str, Any]:
            pairs = zip(columns["__label"], columns["__time"], strict=True)
            return {**columns, "__label": [1 - label if at >= flipped_after else label for label, at in pairs]}

        root.mkdir()
        plan = small_plan(root)
        ref, store = publish_preprocess(plan, training=training), Store.of(plan)
        window = TrainingWindow(store, store.resolve(ref), 5, plan.spec.key, plan.spec.label, "t", plan.storage, root)
        *_, last = folds_of(window, plan.windows.train, holdout=3 * DAY, count=3)
        asked = last.judged.vectors
        return XGBoost().fit(last.learned, plan.spec.training, threads=1, asked=asked).scores.tolist()

    until = small_plan(tmp_path).windows.train.end
    one, other, earlier = (fitted(tmp_path / f"{days}", flipped_after=until - days * DAY) for days in (0, 1, 2))
    assert one == other
    assert one != earlier


def test_metrics_are_those_of_the_gates() -> None:
    labels = np.array([0, 1, 1, 0], np.int8)
    scores = np.array([0.1, 0.9, 0.4, 0.5], np.float32)
    assert value_of("roc_auc", labels, scores) == 0.75
    numbers = np.array([1.0, 2.0, 3.0])
    assert value_of("rmse", numbers, np.array([1.0, 2.0, 6.0], np.float32)) == pytest.approx(3**0.5)
    assert value_of("mae", numbers, np.array([1.0, 2.0, 6.0], np.float32)) == 1
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]], np.float32)
    places = np.array([0, 1, 2], np.int8)
    assert value_of("accuracy", places, shares) == pytest.approx(2 / 3)
    assert value_of("log_loss", places, shares) == pytest.approx(-np.log([0.7, 0.8, 0.3]).mean(), abs=1e-6)
    assert value_of("roc_auc_ovr", places, shares) == 1
    with pytest.raises(ModelError, match="no finite number for 1 of 3 rows"):
        value_of("log_loss", places, np.where(shares == shares[0, 0], np.nan, shares))
