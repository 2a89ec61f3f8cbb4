"""Bad candidates that the quality gate cannot see, and must not have to: each by the function that refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.fakes.flight_nights import flights_plan, windows
from tests.fakes.flights import flights_night
from tests.fakes.trained_night import FIRST, promote, trained_night
from tests.mutation.candidates import tonight

from nightshift import evaluate
from nightshift.errors import DataError, IntegrityError, ParityError
from nightshift.ledger import Obstacle
from nightshift.model.parity import compare
from nightshift.preprocess.blessing import judge
from nightshift.preprocess.history import History
from nightshift.preprocess.overlap import check_overlap

NIGHT = date(2013, 10, 20)
Tables = tuple[pa.Table, pa.Table]
NO_HISTORY = History()


# -- the data gate ---------------------------------------------------------------------------------------------------


@cache
def tables() -> Tables:
    return windows(flights_plan(NIGHT))


def failed(train: pa.Table, holdout: pa.Table, history: History = NO_HISTORY) -> set[str]:
    judged = judge(flights_plan(NIGHT), train, holdout, history)
    return {check.name for check in judged.checks if not check.passed}


@cache
def night_before() -> History:
    plan = flights_plan(NIGHT - timedelta(days=1))
    return History({plan.interval.key: judge(plan, *windows(plan), History()).stats}, {plan.interval.key: "digest"})


def put(table: pa.Table, name: str, values: np.ndarray | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.chunked_array([pa.array(values)]))


def leaked(noise: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        labels = table.column("__label").to_numpy()
        wrong = np.random.default_rng(len(labels)).random(len(labels)) < noise
        return put(table, "temp", np.where(wrong, 1 - labels, labels).astype(float))

    return change


def seconds(table: pa.Table) -> pa.Table:
    """From the twentieth of September on a delay is in seconds: in the training window and in the holdout."""
    since = table.column("__time").cast(pa.timestamp("us")).to_numpy() >= np.datetime64("2013-09-20")
    delay = table.column("dep_delay").to_numpy()
    return put(table, "dep_delay", np.where(since, delay * 60.0, delay))


def reordered(table: pa.Table) -> pa.Table:
    """Each day has the delays that it had, and late flights have the long ones: no quantile moves, nor any label."""
    delay = table.column("dep_delay").to_numpy().astype(float)
    day = table.column("__time").cast(pa.timestamp("us")).to_numpy().astype("datetime64[D]")
    late = table.column("__label").to_numpy() + 0.5 * np.random.default_rng(len(delay)).random(len(delay))
    there = np.flatnonzero(~np.isnan(delay))
    by_label = there[np.lexsort((late[there], day[there]))]
    delay[by_label] = delay[there[np.lexsort((delay[there], day[there]))]]
    return put(table, "dep_delay", delay)


def test_a_night_as_it_is() -> None:
    assert failed(*tables()) == set()
    assert failed(*tables(), night_before()) == set()


def test_a_strong_feature_that_begins_to_hold_the_outcome() -> None:
    """It tells the label nearly alone anyway, as the spec says, and now tells all of it."""
    train, holdout = tables()
    assert failed(train, reordered(holdout)) == {"association.holdout.dep_delay"}
    assert failed(reordered(train), reordered(holdout), night_before()) == {"association.history.dep_delay"}


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        pytest.param(leaked(0.0), {"leakage"}, id="the label copied into a feature"),
        pytest.param(leaked(0.1), {"leakage"}, id="the label with noise in a feature"),
        pytest.param(seconds, {"unit_shift"}, id="another unit in training window and holdout"),
    ],
)
def test_the_data_gate_refuses(change: Callable[[pa.Table], pa.Table], checks: set[str]) -> None:
    train, holdout = tables()
    found = failed(change(train), change(holdout))
    assert any(name.split(":")[0].split(".")[0] in checks for name in found), found


def test_training_on_the_holdout_is_found_by_its_keys() -> None:
    train, holdout = tables()
    key = list(flights_plan(NIGHT).spec.key)
    assert check_overlap([train], holdout, key).passed
    assert not check_overlap([pa.concat_tables([train, holdout.slice(0, 100)])], holdout, key).passed


# -- fitted_until, digests, parity, ledger -----------------------------------------------------------------------------


def test_a_model_that_learned_from_the_holdout_is_not_judged_on_it(tmp_path: Path) -> None:
    """Were its windows moved by mistake, ``fitted_until`` says so, and no row is left to judge."""
    late, early = (trained_night(tmp_path, FIRST + timedelta(days=days)) for days in (3, 0))
    moved = {**late.io.upstream, "preprocess": early.io.upstream["preprocess"]}
    with pytest.raises(DataError, match="no labelled rows"):
        replace(late, io=replace(late.io, upstream=moved)).run(evaluate)


def test_an_artifact_with_one_byte_altered(tmp_path: Path) -> None:
    night = trained_night(tmp_path)
    path = night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="other bytes than were published"):
        night.run(evaluate)


@pytest.mark.parametrize("wrong", ["another order of columns", "nulls become 0", "float16"])
def test_transforms_that_are_not_those_of_training(wrong: str) -> None:
    """The booster is right, and what reaches it is not: parity compares the two row by row."""
    it = flights_night(NIGHT)
    reference = tonight(it)
    vectors = it.models["tonight"].vectors(it.holdout)
    changed = {
        "another order of columns": lambda: vectors[:, [1, 0, *range(2, vectors.shape[1])]],
        "nulls become 0": lambda: np.nan_to_num(vectors, nan=0.0),
        "float16": lambda: vectors.astype(np.float16).astype(np.float32),
    }[wrong]()
    found = compare(reference, it.models["tonight"].scores_of(changed), threshold=0.31)
    with pytest.raises(ParityError, match="disagree"):
        found.require()
    compare(reference, it.models["tonight"].scores_of(vectors), threshold=0.31).require()


def test_an_older_interval_than_the_champions(tmp_path: Path) -> None:
    late = trained_night(tmp_path, FIRST + timedelta(days=2))
    promote(late, 2)
    early = trained_night(tmp_path, FIRST)
    with pytest.raises(AssertionError) as caught:
        promote(early, 1)
    assert isinstance(caught.value.args[0], Obstacle)
    assert caught.value.args[0].kind == "superseded"
