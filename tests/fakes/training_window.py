"""A training window of any size as preprocess would publish it: synthetic rows with a signal that trees can find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.plan import Interval, Plan
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn

LANES = ("air", "sea")
NUMBERS = ("weight", "size", "price", "speed", "noise")
TRANSFORMS = Transforms(
    tuple(NumericColumn(name) for name in NUMBERS), (CategoricalColumn("lane", "one_hot", 9, LANES),)
)
PARAMS = {"n_estimators": 60, "max_depth": 4, "learning_rate": 0.2, "subsample": 0.8, "colsample_bytree": 0.8}


def plan_of(root: Path, *, params: dict[str, Any] | None = None, **training: Any) -> Plan:
    """A plan whose storage lies below ``root``; the other arguments go into the spec's section ``training``."""
    spec = {
        "version": 1,
        "model": "parcels",
        "owner": "tests@example.com",
        "source": {"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "sent_at"},
        "key": ["depot", "parcel"],
        "prepare": "parcels.sql",
        "prepare_sql": "SELECT * FROM source",
        "label": {"column": "days_late", "positive": ">= 1", "delay": "1d"},
        "features": {"numeric": list(NUMBERS), "categorical": ["lane"]},
        "window": {"train": "7d", "holdout": "3d"},
        "training": {"engine": "xgboost", "seed": 5, **training, "params": PARAMS if params is None else params},
        "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
    }
    return Plan(
        spec=ModelSpec.model_validate(spec),
        interval=Interval.of_day(date(2024, 3, 1)),
        storage=(root / "store").as_uri(),
        env="dev",
        mlflow_uri="unused",
        run_id="test",
        trigger="test",
        threads=2,
        code_version="test",
    )


def rows_of(count: int, *, seed: int = 1) -> pa.Table:
    """The table ``train``: key, request columns, label, vectors; sorted by key."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, len(NUMBERS))).astype(np.float32)
    lane = random.integers(3, size=count)
    margin = 1.4 * numbers[:, 0] - numbers[:, 1] * numbers[:, 2] + np.sin(3 * numbers[:, 3]) + (lane == 1) - 1.3
    labels = (random.random(count) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    numbers[random.random(numbers.shape) < 0.05] = np.nan
    vectors = np.column_stack([numbers, lane == 0, lane == 1]).astype(np.float32)
    lists = pa.ListArray.from_arrays(np.arange(0, vectors.size + 1, vectors.shape[1], np.int32), vectors.ravel())
    return pa.table(
        {
            "depot": pa.array(np.arange(count) // 1000),
            "parcel": [f"p{number:07d}" for number in range(count)],
            **{name: numbers[:, place] for place, name in enumerate(NUMBERS)},
            "lane": pa.array(np.array([*LANES, None], object)[lane]),
            "__label": labels,
            "__features": lists,
        }
    )


def publish(plan: Plan, table: pa.Table, *, files: int = 2, holdout: pa.Table | None = None) -> Ref:
    """What preprocess would publish, in so many files; the probe, and a holdout not given, are rows of the window."""
    store = Store.of(plan)
    attempt = store.attempt("preprocess", plan.interval.key)
    attempt.put("transforms.json", TRANSFORMS.to_json())
    folder = store.objects.local_path(f"{attempt.folder}/train")
    folder.mkdir(parents=True)
    size = -(-table.num_rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * size, size), folder / f"part-{number:05d}.parquet")
    attempt.adopt_spark_output("train")
    for name, asked in (("probe", table.slice(0, 50)), ("holdout", holdout or table.slice(50, 200))):
        attempt.put_table(name, asked)
    return attempt.publish(stage_key=f"{files}", code="test").ref


def given(
    root: Path,
    table: pa.Table,
    *,
    files: int = 2,
    holdout: pa.Table | None = None,
    change: Callable[[Plan], Plan] = lambda plan: plan,
    **training: Any,
) -> tuple[Plan, StageIO]:
    """A published window and the plan to train on it, ready for ``train.run``."""
    plan = change(plan_of(root, **training))
    scratch = root / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return plan, StageIO(Store.of(plan), {"preprocess": publish(plan, table, files=files, holdout=holdout)}, scratch)
