"""The same rows, plan and code give the same model digest, for every engine that promises it: in other processes and
from other file layouts.
"""

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
from tests.fakes.own_engines import FOREST, docs_code, write_package

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
    "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
}
# By engine: the section of the spec, and the files of its library.
ENGINES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "xgboost": (
        {"params": {"n_estimators": 30, "max_depth": 6, "subsample": 0.6, "colsample_bytree": 0.7}},
        {"booster.ubj"},
    ),
    FOREST: ({"params": {"n_estimators": 30}}, {"forest.onnx"}),
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


def publish(folder: Path, table: pa.Table, engine: str, *, files: int) -> tuple[Path, Ref]:
    plan = Plan(
        spec=ModelSpec.model_validate({**SPEC, "training": {"engine": engine, "seed": 5, **ENGINES[engine][0]}}),
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


def trained_elsewhere(folder: Path, ref: Ref, **environment: str) -> Any:
    """Digests of the model, the manifest and every file, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(folder), json.dumps(vars(ref))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        pytest.fail(done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=() if name == "xgboost" else pytest.mark.long) for name in ENGINES]
)
def test_processes_and_file_layouts_do_not_change_the_model(tmp_path: Path, engine: str) -> None:
    table = window()
    one_file, ref = publish(tmp_path / "one_file", table, engine, files=1)
    seven_files, same = publish(tmp_path / "seven_files", table, engine, files=7)
    assert ref.digest == same.digest
    write_package(tmp_path / "code", docs_code())
    paths = os.pathsep.join([str(tmp_path / "code"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])

    first = trained_elsewhere(one_file, ref, PYTHONHASHSEED="1", TZ="UTC", PYTHONPATH=paths)
    second = trained_elsewhere(seven_files, same, PYTHONHASHSEED="2", TZ="Asia/Tokyo", PYTHONPATH=paths)

    assert first == second
    assert set(first[2]) == {"graph.onnx", "model.json", "reference/part-00000.parquet"} | ENGINES[engine][1]
