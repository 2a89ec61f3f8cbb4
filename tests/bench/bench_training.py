"""The stage train against bare ``xgb.train`` on the same arrays, and training on Spark against training natively.

    python tests/bench/bench_training.py [--sizes 100000 1000000 5000000] [--sides …] [--write]

Synthetic rows, 20 columns, a binary label, 100 trees of depth 6. Every side runs in a process of its own, one at a time,
round by round, so that whatever else the machine does hurts all of them alike; medians are compared. The bare side
has its arrays in memory when the clock starts. The stage reads what preprocess published, checks its digests, finds the
threshold, scores probe and holdout, converts to ONNX, and publishes; ``cluster_2`` is a job of a standalone cluster.

Seconds are of the work, without imports; CPU seconds those of the process, or of all processes of the Spark application
with the start of its JVMs. So is the peak: VmHWM of the process, or the largest sum of the proportional sets of all.
Ratios are of CPU seconds, which depend least on what else the machine does. Natively one thread is measured: threads
that wait for each other burn time where there are fewer free cores than threads.

``--write`` brings ``train/crossover.json``, from which ``training.workers: auto`` decides, and ``docs/benchmarks.md`` up to date.
What was measured in parts (``--out``) is put together by ``--given``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from tests.bench.training_page import BEGIN, COLUMNS, END, PARAMS, Sides, crossover_of, page  # noqa: E402

CROSSOVER = ROOT / "include" / "nightshift" / "train" / "crossover.json"
PAGE = ROOT / "docs" / "benchmarks.md"
ENGINE = "xgboost"
SIDES = ("bare_1", "stage_1", "spark_1", "spark_2", "cluster_2")
"""Kind of training, and its threads or workers."""
THREADED = ("bare_2", "stage_2")
ROUNDS = {100_000: dict.fromkeys(SIDES, 3), 1_000_000: dict.fromkeys(SIDES[:2], 3)}
HOLDOUT = 0.2
ROWS_PER_FILE = 100_000
"""As preprocess writes them."""
SAMPLE_SECONDS = 0.25
NOT_BELOW = 4 << 30
"""Free memory without which no side is started."""


# -- the rows ----------------------------------------------------------------------------------------------


def arrays(rows: int, seed: int) -> tuple[Any, Any]:
    """Vectors ``[N, COLUMNS]`` float32 with 2 % missing, labels ``[N]`` int8."""
    import numpy as np

    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, COLUMNS), dtype=np.float32)
    margin = features[:, 0] - features[:, 1] * features[:, 2] + np.sin(3 * features[:, 3]) + 0.5 * features[:, 4] - 1
    labels = (random.random(rows, dtype=np.float32) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    features[random.random(features.shape, dtype=np.float32) < 0.02] = np.nan
    return features, labels


def published(root: Path, rows: int) -> None:
    """What preprocess would publish, and the same arrays for the bare side."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nightshift.storage import Store
    from nightshift.transforms import Transforms
    from nightshift.transforms.columns import NumericColumn

    names = [f"x{number:02d}" for number in range(COLUMNS)]
    plan = plan_of(root, workers=1, threads=1)
    store = Store.of(plan)
    attempt = store.attempt("preprocess", plan.interval.key)
    attempt.put("transforms.json", Transforms(tuple(NumericColumn(name) for name in names), ()).to_json())

    def table(features: Any, labels: Any) -> pa.Table:
        ends = np.arange(0, features.size + 1, COLUMNS, np.int32)
        lists = pa.ListArray.from_arrays(ends, features.ravel())
        key = np.arange(len(labels))
        return pa.table(
            {"id": key, "__label": labels, **dict(zip(names, features.T, strict=True)), "__features": lists}
        )

    features, labels = arrays(rows, 1)
    np.save(root / "features.npy", features)
    np.save(root / "labels.npy", labels)
    folder = store.objects.local_path(f"{attempt.folder}/train")
    folder.mkdir(parents=True)
    for number, begin in enumerate(range(0, rows, ROWS_PER_FILE)):
        part = table(features[begin : begin + ROWS_PER_FILE], labels[begin : begin + ROWS_PER_FILE])
        pq.write_table(part, folder / f"part-{number:05d}.parquet", compression="zstd")
    attempt.adopt_spark_output("train")
    holdout = table(*arrays(int(rows * HOLDOUT), 2))
    attempt.put_table("holdout", holdout)
    attempt.put_table("probe", holdout.slice(0, 50))
    ref = attempt.publish(stage_key="bench", code="bench").ref
    (root / "ref.json").write_text(json.dumps(asdict(ref)))


def plan_of(root: Path, *, workers: int, threads: int) -> Any:
    from nightshift.plan import Interval, Plan
    from nightshift.spec.models import ModelSpec

    spec = {
        "version": 1,
        "model": "bench",
        "owner": "bench@example.com",
        "source": {"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "at"},
        "key": ["id"],
        "prepare": "bench.sql",
        "prepare_sql": "SELECT * FROM source",
        "label": {"column": "y", "positive": ">= 1", "delay": "1d"},
        "features": {"numeric": [f"x{number:02d}" for number in range(COLUMNS)]},
        "window": {"train": "60d", "holdout": "14d"},
        "training": {"engine": "xgboost", "params": PARAMS, "workers": workers},
        "gates": {"minimum": 0.6},
    }
    return Plan(
        spec=ModelSpec.model_validate(spec),
        interval=Interval.of_day(date(2024, 3, 1)),
        storage=(root / "store").as_uri(),
        env="bench",
        mlflow_uri="unused",
        run_id="bench",
        trigger="test",
        threads=threads,
        code_version="bench",
    )


# -- one side, in a process of its own ---------------------------------------------------------------------


def bare(root: Path, threads: int) -> Callable[[], dict[str, Any]]:
    import numpy as np
    import xgboost

    features, labels = np.load(root / "features.npy"), np.load(root / "labels.npy")
    params = {**PARAMS, "objective": "binary:logistic", "tree_method": "hist", "nthread": threads, "seed": 0}
    trees = int(params.pop("n_estimators"))

    def work() -> dict[str, Any]:
        xgboost.train(params, xgboost.QuantileDMatrix(features, labels, nthread=threads), num_boost_round=trees)
        return {}

    return work


def stage(root: Path, *, workers: int, threads: int, on_spark: bool) -> Callable[[], dict[str, Any]]:
    import onnxmltools  # noqa: F401 (imported before the clock starts, as xgboost is)
    import pyarrow.parquet  # noqa: F401
    import xgboost  # noqa: F401

    from nightshift.stage import StageIO
    from nightshift.storage import Ref, Store
    from nightshift.train import run
    from nightshift.train import stage as module
    from nightshift.train.engines.xgboost_spark import XGBoostOnSpark

    plan = plan_of(root, workers=workers, threads=threads)
    if on_spark:  # also with one worker, which would train natively
        module.engine_of = lambda training: XGBoostOnSpark()  # type: ignore[attr-defined]
    scratch = Path(tempfile.mkdtemp(dir=root))
    io = StageIO(Store.of(plan), {"preprocess": Ref(**json.loads((root / "ref.json").read_text()))}, scratch)

    def work() -> dict[str, Any]:
        result = run(plan, io)
        assert not result.reused
        return {"fit_seconds": result.summary["train_seconds"]}

    return work


def child(side: str, root: Path) -> None:
    """Run one side and print what it took, as the last line."""
    kind, _, number = side.partition("_")
    if kind == "bare":
        work = bare(root, int(number))
    else:
        # On Spark as many workers as cores, else as many threads.
        on_spark = kind == "spark"
        work = stage(root, workers=int(number) if on_spark else 1, threads=int(number), on_spark=on_spark)
    wall, cpu = time.perf_counter(), time.process_time()
    told = work()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": int(peak.split()[1]) / 1024, **told}))


# -- the parent --------------------------------------------------------------------------------------------


class Watched:
    """CPU time and memory of a process and everything below it, looked at a few times a second."""

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak = 0
        self.look()
        self._before = sum(self._cpu.values())

    def look(self) -> None:
        total = 0
        try:
            family = [self._top, *self._top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                times = process.cpu_times()
                self._cpu[process.pid, process.create_time()] = times.user + times.system
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self.peak = max(self.peak, total)

    @property
    def cpu_seconds(self) -> float:
        """Since the first look."""
        return sum(self._cpu.values()) - self._before


def measure(side: str, root: Path) -> dict[str, float]:
    free = psutil.virtual_memory().available
    if free < NOT_BELOW:
        raise SystemExit(f"only {free >> 20} MiB of memory are free: not started, other work needs them")
    shutil.rmtree(root / "store" / "bench" / "bench" / "train", ignore_errors=True)
    if side.startswith("cluster"):
        return on_cluster(root, int(side.rpartition("_")[2]))
    done, watched = run_watched([sys.executable, __file__, "--side", side, "--root", str(root)], {})
    told: dict[str, float] = json.loads(done.splitlines()[-1])
    if side.startswith("spark"):
        told |= {"cpu_seconds": watched.cpu_seconds, "peak_mib": watched.peak / 2**20}
    return told


def on_cluster(root: Path, workers: int) -> dict[str, float]:
    """The stage as a job of a standalone cluster, one core for each worker; the start of the application included."""
    from tests.fakes.spark_cluster import spark_cluster

    from nightshift.storage import Store

    plan = plan_of(root, workers=workers, threads=workers)
    uri, sha256 = Store.of(plan).publish_plan(plan)
    upstream = json.dumps({"preprocess": json.loads((root / "ref.json").read_text())})
    outcome, home = root / "result.json", root / "home"
    command = [
        *(sys.executable, "-m", "nightshift.jobs.spark_submit", "train", "--plan", uri),
        *("--plan-sha256", sha256, "--upstream", upstream, "--result", str(outcome)),
    ]
    folder = Path(tempfile.mkdtemp(dir=root))
    with spark_cluster(folder, workers=workers, memory="2g") as cluster:
        watched, began = Watched(os.getpid()), time.perf_counter()
        run_watched(command, {**cluster.environment, "NIGHTSHIFT_HOME": str(home)}, watched)
        seconds = time.perf_counter() - began
    result = json.loads(outcome.read_text())
    assert result.get("status") == "succeeded", result
    return {
        "seconds": seconds,
        "cpu_seconds": watched.cpu_seconds,
        "peak_mib": watched.peak / 2**20,
        "fit_seconds": result["summary"]["train_seconds"],
    }


def run_watched(
    command: list[str], variables: Mapping[str, str], watched: Watched | None = None
) -> tuple[str, Watched]:
    """Raises SystemExit: The command failed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **variables})
        watched = watched or Watched(process.pid)
        while process.poll() is None:
            watched.look()
            time.sleep(SAMPLE_SECONDS)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text}")
    return text, watched


def measured(rows: int, sides: list[str], rounds: int | None, folder: Path) -> Sides:
    """Medians by side."""
    root = folder / str(rows)
    root.mkdir()
    command = [sys.executable, __file__, "--side", "publish", "--rows", str(rows), "--root", str(root)]
    subprocess.run(command, check=True)
    wanted = {side: rounds or ROUNDS.get(rows, {}).get(side, 1) for side in sides}
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(max(wanted.values())):
        for side in sides:
            if number < wanted[side]:
                told = {**measure(side, root), "load": os.getloadavg()[0]}
                found[side].append(told)
                words = ", ".join(f"{name} {value:.2f}" for name, value in told.items())
                print(f"{rows} rows, round {number + 1}, {side}: {words}", flush=True)
    shutil.rmtree(root)
    return {side: medians(told) for side, told in found.items()}


def medians(told: list[dict[str, float]]) -> dict[str, float]:
    names = told[0]
    return {"rounds": len(told), **{name: round(statistics.median(each[name] for each in told), 2) for name in names}}


def conditions() -> dict[str, Any]:
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of a shared virtual machine, {memory:.0f} GiB",
        "python": platform.python_version(),
        **{name: version(name) for name in ("xgboost-cpu", "pyspark", "pyarrow")},
        "columns": COLUMNS,
        "params": PARAMS,
    }


def write(by_rows: Mapping[str, Sides]) -> None:
    documents = json.loads(CROSSOVER.read_text()) if CROSSOVER.exists() else {}
    document = {"crossover": crossover_of(by_rows), "conditions": conditions(), "measured": by_rows}
    CROSSOVER.write_text(json.dumps({**documents, ENGINE: document}, indent=2) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{page(document)}\n\n{END}{rest.partition(END)[2]}")


def put_together(files: list[Path]) -> dict[str, Sides]:
    """What was measured in parts, by rows."""
    found: dict[str, Sides] = {}
    for file in files:
        for rows, sides in json.loads(file.read_text()).items():
            found.setdefault(rows, {}).update(sides)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=[*SIDES, *THREADED])
    parser.add_argument("--rounds", type=int, help="of every side; by default fewer for what takes longer")
    parser.add_argument("--out", type=Path, help="a file for what was measured, as JSON")
    parser.add_argument("--given", type=Path, nargs="+", default=[], help="such files, instead of measuring")
    parser.add_argument("--write", action="store_true", help="bring crossover.json and docs/benchmarks.md up to date")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "publish":
        published(options.root, options.rows)
        return
    if options.side:
        child(options.side, options.root)
        return
    told = put_together(options.given)
    if not told:
        with tempfile.TemporaryDirectory(prefix="bench-training-") as folder:
            told = {
                str(rows): measured(rows, options.sides, options.rounds, Path(folder)) for rows in sorted(options.sizes)
            }
    if options.out:
        options.out.write_text(json.dumps(told, indent=2) + "\n")
    if options.write:
        write(told)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
