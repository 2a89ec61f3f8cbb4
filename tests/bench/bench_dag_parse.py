"""Parsing the DAGs of 100 specs against 100 hand-written DAGs of as many tasks in one file. Prints the ratio."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COUNT, ROUNDS = 100, 5

PARSE = """
import sys, time
import airflow.sdk
began = time.perf_counter()
import importlib.util
spec = importlib.util.spec_from_file_location("bench_dags", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(time.perf_counter() - began)
"""

HAND_WRITTEN = """
from datetime import datetime
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
for number in range(100):
    with DAG(f"hand_{number}", schedule="0 2 * * *", start_date=datetime(2024, 1, 1)) as dag:
        tasks = [EmptyOperator(task_id=f"task_{i}") for i in range(8)]
        for one, two in zip(tasks, tasks[1:]):
            one >> two
    globals()[f"hand_{number}"] = dag
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        scratch = Path(folder)
        environ = {**os.environ, "AIRFLOW_HOME": str(scratch / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        dags = scratch / "dags"
        (dags / "models").mkdir(parents=True)
        shutil.copy(ROOT / "dags" / "retraining.py", dags)
        shutil.copy(ROOT / "dags" / "models" / "flight_delays.sql", dags / "models")
        text = (ROOT / "dags" / "models" / "flight_delays.yaml").read_text()
        for number in range(COUNT):
            name = f"flight_delays_{number:03d}"
            (dags / "models" / f"{name}.yaml").write_text(text.replace("model: flight_delays", f"model: {name}"))
        (scratch / "hand.py").write_text(HAND_WRITTEN)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(parse(dags / "retraining.py", environ))
            theirs.append(parse(scratch / "hand.py", environ))
        one, two = statistics.median(ours), statistics.median(theirs)
        print(f"{COUNT} specs: ours {one:.2f} s, hand-written {two:.2f} s, ratio {one / two:.2f} (median of {ROUNDS})")


def parse(path: Path, environ: dict[str, str]) -> float:
    found = subprocess.run(
        [sys.executable, "-c", PARSE, str(path)], env=environ, check=True, capture_output=True, text=True
    )
    return float(found.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
