"""Preprocess against hand-written Spark SQL to Parquet: same session, same rows, same vectors.

    python tests/bench/bench_preprocess.py [--night 2013-06-24] [--train 60] [--holdout 14] [--rounds 5]

The hand-written side reads the days, runs the SQL, finds the levels of the categories, and writes both
windows sorted by key with the vector. It checks nothing, digests nothing and has no probe set. Rounds of
both sides alternate; the medians are compared. The first round of each is cold and shown apart.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from nightshift.ingest import run as ingest
from nightshift.plan import Interval, Plan
from nightshift.preprocess import run as preprocess
from nightshift.spark import session
from nightshift.spec.label_rule import LabelRule
from nightshift.spec.loader import load_spec
from nightshift.spec.models import Window
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store
from nightshift.transforms import Transforms
from nightshift.validate import run as validate

SPEC = Path(__file__).parents[2] / "dags" / "models" / "flight_delays.yaml"


def by_hand(spark: SparkSession, plan: Plan, store: Store, validated: Ref, out: Path) -> None:
    spec, windows = plan.spec, plan.windows
    inputs = store.resolve(validated).inputs
    days = [f"valid/{day.key}" for day in (*windows.train.days(), *windows.holdout.days())]
    paths = [path for day in days for path in store.uris(store.resolve(inputs[day]), "rows")]
    spark.read.parquet(*paths).createOrReplaceTempView("source")
    for name in spec.tables:
        spark.read.parquet(*store.uris(store.resolve(inputs[f"table.{name}"]), "rows")).createOrReplaceTempView(name)
    label = LabelRule.parse(spec.label.positive).sql(spec.label.column)
    prepared = spark.sql(spec.prepare_sql).selectExpr("*", f"tinyint({label}) AS __label").persist()
    split = f"timestamp '{windows.holdout.start.isoformat()}'"
    train = prepared.where(f"{spec.source.time} < {split} AND __label IS NOT NULL")
    holdout = prepared.where(f"{spec.source.time} >= {split} AND __label IS NOT NULL")
    transforms = Transforms.declare(spec.features).fit(train)
    for name, rows in (("train", train), ("holdout", holdout)):
        vector = (
            rows.coalesce(1)
            .sortWithinPartitions(*spec.key)
            .selectExpr("*", f"{transforms.spark_columns()} AS __features")
        )
        vector.drop(spec.label.column).write.parquet(str(out / name))
    prepared.unpersist()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def prepare_night(root: Path, night: date, train: int, holdout: int) -> tuple[Plan, Store, Ref]:
    window = Window(train=timedelta(days=train), holdout=timedelta(days=holdout))
    plan = Plan(
        spec=load_spec(SPEC).model_copy(update={"window": window}),
        interval=Interval.of_day(night),
        storage=(root / "store").as_uri(),
        env="bench",
        mlflow_uri="sqlite://",
        run_id="bench",
        trigger="test",
        threads=2,
        code_version="x",
    )
    store = Store.of(plan)
    upstream: dict[str, Ref] = {}
    for name, stage in (("ingest", ingest), ("validate", validate)):
        scratch = root / name
        scratch.mkdir()
        result = stage(plan, StageIO(store, upstream, scratch))
        assert result.ref is not None
        upstream = {**upstream, name: result.ref}
    return plan, store, upstream["validate"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--night", type=date.fromisoformat, default=date(2013, 6, 24))
    parser.add_argument("--train", type=int, default=60, help="days")
    parser.add_argument("--holdout", type=int, default=14, help="days")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-preprocess-"))
    try:
        plan, store, validated = prepare_night(root, arguments.night, arguments.train, arguments.holdout)
        (root / "spark").mkdir()
        began = time.perf_counter()
        with session("bench", threads=2, scratch=root / "spark") as spark:
            print(f"session start {time.perf_counter() - began:6.2f} s")
            ours, theirs = [], []
            for number in range(arguments.rounds + 1):
                shutil.rmtree(root / "store" / "bench" / plan.model / "preprocess", ignore_errors=True)
                scratch, out = root / f"scratch{number}", root / f"out{number}"
                scratch.mkdir()
                given = StageIO(store, {"validate": validated}, scratch)
                theirs.append(seconds(lambda out=out: by_hand(spark, plan, store, validated, out)))
                ours.append(seconds(lambda given=given: preprocess(plan, given)))
                print(f"round {number}: by hand {theirs[-1]:6.2f} s, preprocess {ours[-1]:6.2f} s", flush=True)
    finally:
        shutil.rmtree(root)
    hand, stage = statistics.median(theirs[1:]), statistics.median(ours[1:])
    print(f"median of {arguments.rounds} warm rounds: by hand {hand:.2f} s, preprocess {stage:.2f} s")
    print(f"ratio {stage / hand:.2f} (goal: at most 1.2)")


if __name__ == "__main__":
    main()
