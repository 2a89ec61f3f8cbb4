"""Several classes and numbers on Spark: labels as validate reads them, tables, and training by two workers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error
from tests.fakes.toy_night import ToyNight, all_days
from tests.fakes.training_window import given, rows_of

from nightshift.errors import DataError, PrepareError
from nightshift.model.booster import feature_matrix, load_booster, predict
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.plan import Plan
from nightshift.spec.gates import Gates
from nightshift.spec.label_column import label_column
from nightshift.spec.models import Label
from nightshift.stage import StageIO, StageResult
from nightshift.train import run

# Py4J leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.jvm,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

CLASSES = ("0", "1", "2", "-3", "it's", "true", "back\\slash")
SEVERAL = {"column": "y", "task": "multiclass", "classes": ["0", "1", "2"], "delay": "1d"}
NUMBER = {"column": "y", "task": "regression", "delay": "1d"}
GATES: dict[str, Any] = {
    "multiclass": {"metric": "accuracy", "minimum": 0.3, "versus_champion": {"least": {"days": 2}}},
    "regression": {"metric": "rmse", "maximum": 90, "versus_champion": {"margin": 0.5, "least": {"days": 2}}},
}


# -- labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "values", "kind"),
    [
        ("multiclass", ["0", "it's", None, "zero", "back\\slash", ""], pa.string()),
        ("multiclass", [0, 2, -3, 7, None, 2**62], pa.int64()),
        ("multiclass", [0.0, -0.0, 2.0, 1.5, math.nan, math.inf, 1e300, None, -3.0], pa.float64()),
        ("multiclass", [0.0, 1.5, math.nan, None], pa.float32()),
        ("multiclass", [Decimal("2.00"), Decimal("0.50"), None], pa.decimal128(5, 2)),
        ("multiclass", [True, False, None], pa.bool_()),
        ("regression", [0.1, -1e300, math.nan, None], pa.float64()),
        ("regression", [1, -2, None, 2**40], pa.int64()),
        ("regression", [Decimal("1.25"), None], pa.decimal128(5, 2)),
    ],
)
def test_spark_reads_a_label_as_validate_does(spark: Any, task: str, values: list[Any], kind: pa.DataType) -> None:
    label = Label(column="y", task=task, classes=CLASSES if task == "multiclass" else ())  # type: ignore[arg-type]
    reader, table = label_column(label), pa.table({"y": pa.array(values, kind)})
    frame = spark.createDataFrame(table)
    held = "text" if pa.types.is_string(kind) else "boolean" if pa.types.is_boolean(kind) else "number"

    read = frame.selectExpr(f"{reader.sql('y', held)} AS label").toArrow().column("label")

    assert read.to_pylist() == reader.arrow(table.column("y")).to_pylist()
    assert read.type == (pa.float64() if task == "regression" else pa.int8())


# -- preprocess ----------------------------------------------------------------------------------------


def days_of(read: Any) -> Mapping[date, pa.Table]:
    """The toy's days with another label, made of its own."""
    found = {}
    for day, rows in all_days().items():
        values = [None if value is None else read(value) for value in rows.column("y").to_pylist()]
        found[day] = rows.set_column(rows.column_names.index("y"), "y", pa.array(values))
    return found


def test_classes_are_stored_as_their_places(spark: object, tmp_path: Path) -> None:
    world = ToyNight(tmp_path)
    result = world.preprocess(
        days_of(lambda value: ("low", "middle", "high")[value // 7]),
        label={**SEVERAL, "classes": ["high", "low", "middle"]},
        gates=GATES["multiclass"],
    )

    train = world.table(result, "train").column("__label")
    assert (train.type, train.null_count, set(train.to_pylist())) == (pa.int8(), 0, {0, 1, 2})
    assert world.table(result, "probe").column("__label").null_count == result.summary["probe_rows"]
    counts = result.summary["train_classes"]
    assert counts == {name: train.to_pylist().count(place) for place, name in enumerate(("high", "low", "middle"))}
    assert "positives" not in result.summary
    assert sum(counts.values()) == result.summary["train_rows"]


def test_numbers_are_stored_as_numbers(spark: object, tmp_path: Path) -> None:
    world = ToyNight(tmp_path)
    days = days_of(lambda value: math.nan if value == 3 else value / 4)
    result = world.preprocess(days, label=NUMBER, gates=GATES["regression"])

    train = world.table(result, "train").column("__label")
    assert (train.type, train.null_count) == (pa.float64(), 0)
    assert set(train.to_pylist()) <= {value / 4 for value in range(21)} - {0.75}
    assert world.table(result, "probe").schema.field("__label").type == pa.float64()
    values = [value for day, rows in days.items() if day != date(2024, 3, 9) for value in rows.column("y").to_pylist()]
    assert result.summary["unlabelled"] == sum(value is None or math.isnan(value) for value in values)


@pytest.mark.parametrize(
    ("label", "read", "error", "said"),
    [
        (SEVERAL, lambda value: value % 2, DataError, "the train window .* has no row of 2: "),
        (NUMBER, lambda value: 4.5, DataError, "has the same y in every row"),
        (NUMBER, lambda value: f"<{value}>", PrepareError, r"the label y is string, but label.task \(regression\) needs a number"),
    ],
)  # fmt: skip
def test_windows_that_nothing_can_be_learned_from(
    spark: object, tmp_path: Path, label: dict[str, Any], read: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        ToyNight(tmp_path).preprocess(days_of(read), label=label, gates=GATES[label["task"]])


# -- training ------------------------------------------------------------------------------------------


class Trained:
    """What train published."""

    def __init__(self, io: StageIO, result: StageResult) -> None:
        assert result.ref is not None
        published = io.store.resolve(result.ref)
        self.booster, self.graph = (io.store.read(published, name) for name in ("booster.ubj", "graph.onnx"))
        self.card = json.loads(io.store.read(published, "model.json"))
        self.summary = result.summary

    def sides(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        vectors = feature_matrix(table.column("__features"), len(self.card["feature_names"]))
        return predict(load_booster(self.booster), vectors), Scorer.load(self.graph).score(table)


def relabelled(table: pa.Table, task: str) -> pa.Table:
    vectors = np.array(table.column("__features").to_pylist())
    value = 40 * np.nan_to_num(vectors[:, 0]) + 20 * vectors[:, 5] + 100
    noise = np.random.default_rng(7).normal(scale=10, size=len(value))
    labels = value + noise if task == "regression" else np.digitize(value + noise, [80, 120]).astype(np.int8)
    return table.set_column(table.column_names.index("__label"), "__label", pa.array(labels))


def asked(plan: Plan, task: str) -> Plan:
    label = Label.model_validate({**(SEVERAL if task == "multiclass" else NUMBER), "column": "days_late"})
    gates = Gates.model_validate(GATES[task])
    return replace(plan, spec=plan.spec.model_copy(update={"label": label, "gates": gates}))


def loss(truth: np.ndarray, scores: np.ndarray) -> float:
    if scores.ndim == 1:
        return float(root_mean_squared_error(truth, scores))
    # The sums of float32 are 1 up to a few millionths, of which scikit-learn warns.
    return float(log_loss(truth, scores / scores.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_two_workers_learn_what_one_learns(spark: object, tmp_path: Path, task: str) -> None:
    table, unseen = relabelled(rows_of(6_000), task), relabelled(rows_of(4_000, seed=2), task)
    trained = []
    for name, workers, files in (("native", 1, 1), ("two", 2, 2), ("again", 2, 5)):
        plan, io = given(tmp_path / name, table, files=files, workers=workers, change=lambda plan: asked(plan, task))
        trained.append(Trained(io, run(plan, io)))
    native, two, again = trained

    truth = unseen.column("__label").to_numpy()
    one, other = (loss(truth, model.sides(unseen)[1].astype(float)) for model in (native, two))
    assert other == pytest.approx(one, rel=0.05)
    assert one < (0.6 if task == "multiclass" else 15)
    for model in (native, two):
        assert compare(*model.sides(unseen), task=task).require().rows == 4_000  # type: ignore[arg-type]
        assert (model.card["threshold"], model.summary["task"]) == (None, task)
    assert (two.booster, two.graph) == (again.booster, again.graph)


def test_a_label_beyond_float32_is_refused_by_both(spark: object, tmp_path: Path) -> None:
    table = relabelled(rows_of(1_000), "regression")
    large = table.column("__label").to_numpy().copy()
    large[3] = 1e39
    table = table.set_column(table.column_names.index("__label"), "__label", pa.array(large))
    for workers in (1, 2):
        plan, io = given(tmp_path / str(workers), table, workers=workers, change=lambda plan: asked(plan, "regression"))
        with pytest.raises(DataError, match="beyond what float32 can hold"):
            run(plan, io)
