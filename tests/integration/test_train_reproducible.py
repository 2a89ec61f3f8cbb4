"""The same rows, plan and code give the same model digest: in other processes and from other file layouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.plan import Interval, Plan
from nightshift.spec.models import ModelSpec
from nightshift.storage import Ref, Store
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Log, Scale

LEVELS = ("A", "B", "C", "D")
SPEC: dict[str, Any] = {
    "version": 1,
    "model": "parcels",
    "owner": "tests@example.com",
    "source": {"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "sent_at"},
    "key": ["parcel"],
    "prepare": "parcels.sql",
    "label": {"column": "days_late", "positive": ">= 1", "delay": "1d"},
    "features": {"numeric": ["weight", "size"], "categorical": ["lane"]},
    "window": {"train": "7d", "holdout": "3d"},
    "training": {
        "engine": "xgboost",
        "params": {"n_estimators": 30, "max_depth": 6, "subsample": 0.6, "colsample_bytree": 0.7},
        "seed": 5,
    },
    "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
}
TRANSFORMS = Transforms(
    (NumericColumn("weight", (Log(), Scale(0.1, 0.3))), NumericColumn("size")),
    (CategoricalColumn("lane", "one_hot", 9, LEVELS),),
)

TRAIN = """
import json, sys
from pathlib import Path
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store
from nightshift.train import run
folder = Path(sys.argv[1])
plan = Plan.from_json((folder / "plan.json").read_bytes())
io = StageIO(Store.of(plan), {"preprocess": Ref(**json.loads(sys.argv[2]))}, folder / "scratch")
result = run(plan, io)
assert not result.reused
files = {entry.path: entry.sha256 for entry in io.store.resolve(result.ref).files}
print(json.dumps([result.summary["model_digest"], result.ref.digest, files]))
"""


def window(rows: int = 20_000) -> pa.Table:
    rng = np.random.default_rng(2)
    vectors = np.column_stack([rng.normal(size=(rows, 2)), np.eye(4)[rng.integers(4, size=rows)]]).astype(np.float32)
    vectors[rng.random(rows) < 0.2, 0] = np.nan
    labels = (rng.random(rows) < 1 / (1 + np.exp(2 - np.nan_to_num(vectors[:, 0]) - vectors[:, 2]))).astype(np.int8)
    return pa.table({"__features": pa.array(list(vectors), pa.list_(pa.float32())), "__label": labels})


def publish(folder: Path, table: pa.Table, *, files: int) -> tuple[Path, Ref]:
    plan = Plan(
        spec=ModelSpec.model_validate(SPEC),
        interval=Interval.of_day(date(2024, 3, 1)),
        storage=(folder / "store").as_uri(),
        env="dev",
        mlflow_uri="unused",
        run_id="test",
        trigger="test",
        threads=2,
        code_version="test",
    )
    attempt = Store.of(plan).attempt("preprocess", plan.interval.key)
    attempt.put("transforms.json", TRANSFORMS.to_json())
    output = folder / "store" / "dev" / "parcels" / attempt.folder / "train"
    output.mkdir(parents=True)
    size = -(-table.num_rows // files)
    for number in range(files):
        part = table.slice(number * size, size)
        pq.write_table(part, output / f"part-{number:05d}.parquet", row_group_size=3000)
    attempt.adopt_spark_output("train")
    for name in ("probe", "holdout"):
        attempt.put_table(name, table.slice(0, 40))
    manifest = attempt.publish(stage_key="given", code="test")
    (folder / "plan.json").write_bytes(plan.to_json())
    return folder, manifest.ref


def test_processes_and_file_layouts_do_not_change_the_model(tmp_path: Path) -> None:
    table = window()
    given = [
        publish(tmp_path / "one_file", table, files=1),
        publish(tmp_path / "seven_files", table, files=7),
    ]
    assert given[0][1].digest == given[1][1].digest

    answers = []
    for seed, (folder, ref) in enumerate(given):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, str(folder), json.dumps(vars(ref))],
            env={**os.environ, "PYTHONHASHSEED": str(seed + 1), "TZ": ("UTC", "Asia/Tokyo")[seed]},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            pytest.fail(done.stderr)
        answers.append(json.loads(done.stdout))

    assert answers[0] == answers[1]
    assert set(answers[0][2]) == {"booster.ubj", "graph.onnx", "model.json", "reference/part-00000.parquet"}
