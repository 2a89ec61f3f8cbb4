"""Parsing the DAGs of 100 specs (7 tasks each) against 100 hand-written DAGs of 8 tasks in one file.

    python tests/bench/bench_dag_parse.py [--specs 100] [--rounds 7]

Whole child processes, one after the other in turns, by the CPU time that the kernel charges them (user + system):
unlike a clock on the wall it does not count what else the machine does. For the ratio without process start, each
child also says what it had used when ``airflow.sdk`` was imported and the file's turn came.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# As Airflow does it: the file becomes a module, compiled once and cached beside it; its DAGs register themselves.
PARSE = """
import importlib.util, sys, time
import airflow.sdk
from airflow.sdk.definitions._internal.contextmanager import DagContext
DagContext.current_autoregister_module_name = "bench_dags"
began = time.process_time()
spec = importlib.util.spec_from_file_location("bench_dags", sys.argv[1])
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
used = time.process_time() - began
found = len(DagContext.autoregistered_dags)
assert found == int(sys.argv[2]), f"{found} DAGs instead of {sys.argv[2]}"
print(used)
"""

HAND_WRITTEN = """
from datetime import datetime
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
for number in range({count}):
    with DAG(f"hand_{{number}}", schedule="0 2 * * *", start_date=datetime(2024, 1, 1)) as dag:
        tasks = [EmptyOperator(task_id=f"task_{{i}}") for i in range(8)]
        for one, two in zip(tasks, tasks[1:]):
            one >> two
    globals()[f"hand_{{number}}"] = dag
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--specs", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=7)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        scratch = Path(folder)
        environ = {**os.environ, "AIRFLOW_HOME": str(scratch / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        # Else every child would compile every module of Nightshift anew: an installed one is compiled, as Airflow is.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        (scratch / "hand.py").write_text(HAND_WRITTEN.format(count=given.specs))
        files = {"hand-written": scratch / "hand.py", "nightshift": copy_dags(scratch, given.specs)}
        for file in files.values():
            parse(file, given.specs, environ)  # compiles what is not compiled yet
        rounds = [
            {name: parse(file, given.specs, environ) for name, file in files.items()} for _ in range(given.rounds)
        ]
    report(rounds, given.specs)


def copy_dags(scratch: Path, count: int) -> Path:
    """The real ``dags/retraining.py``, beside as many copies of the demo's spec."""
    models = scratch / "dags" / "models"
    models.mkdir(parents=True)
    shutil.copy(ROOT / "dags" / "models" / "flight_delays.sql", models)
    text = (ROOT / "dags" / "models" / "flight_delays.yaml").read_text()
    for number in range(count):
        name = f"flight_delays_{number:03d}"
        (models / f"{name}.yaml").write_text(text.replace("model: flight_delays", f"model: {name}"))
    return Path(shutil.copy(ROOT / "dags" / "retraining.py", scratch / "dags"))


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a child: from its start to its end, and of the DAG file alone."""

    whole: float
    file: float


def parse(file: Path, count: int, environ: dict[str, str]) -> Cost:
    command = [sys.executable, "-c", PARSE, str(file), str(count)]
    with tempfile.TemporaryFile("w+") as output:
        streams = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
        child = os.posix_spawn(command[0], command, environ, file_actions=streams)
        _, status, usage = os.wait4(child, 0)
        output.seek(0)
        said = output.read()
    if status != 0:
        raise SystemExit(f"{file} could not be parsed:\n{said}")
    return Cost(usage.ru_utime + usage.ru_stime, float(said.splitlines()[-1]))


def report(rounds: list[dict[str, Cost]], count: int) -> None:
    """Ratios are taken within a round, so that a machine that changes its pace changes both sides."""
    print(f"{count} specs against {count} hand-written DAGs: CPU time, median of {len(rounds)} (smallest to largest)")
    for words, part in (("with process start", "whole"), ("without process start", "file")):
        ours, theirs = ([getattr(each[name], part) for each in rounds] for name in ("nightshift", "hand-written"))
        ratios = [one / two for one, two in zip(ours, theirs, strict=True)]
        print(f"{words:>22}: nightshift {spread(ours)} s, hand-written {spread(theirs)} s, ratio {spread(ratios)}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
