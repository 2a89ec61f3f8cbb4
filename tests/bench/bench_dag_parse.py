"""Parsing the DAGs of 100 specs against 100 hand-written DAGs of as many tasks in one file.

    python tests/bench/bench_dag_parse.py [--specs 100] [--rounds 7]

Whole child processes, one after the other in turns, by the CPU time that the kernel charges them (user + system):
unlike a clock on the wall it does not count what else the machine does. A third child only starts Python and
imports ``airflow.sdk``, which is what both parses begin with; it is taken off for the ratio without process start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

START = "import sys, airflow.sdk"
# As Airflow does it: the file becomes a module, compiled once and cached beside it; its DAGs register themselves.
PARSE = f"""{START}
import importlib.util
from airflow.sdk.definitions._internal.contextmanager import DagContext
DagContext.current_autoregister_module_name = "bench_dags"
spec = importlib.util.spec_from_file_location("bench_dags", sys.argv[1])
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
found = len(DagContext.autoregistered_dags)
assert found == int(sys.argv[2]), f"{{found}} DAGs instead of {{sys.argv[2]}}"
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
        (scratch / "hand.py").write_text(HAND_WRITTEN.format(count=given.specs))
        parse = [sys.executable, "-c", PARSE]
        commands = {
            "start": [sys.executable, "-c", START],
            "hand-written": [*parse, str(scratch / "hand.py"), str(given.specs)],
            "nightshift": [*parse, str(copy_dags(scratch, given.specs)), str(given.specs)],
        }
        for command in commands.values():
            cpu_seconds(command, environ)  # compiles what is not compiled yet
        rounds = [
            {name: cpu_seconds(command, environ) for name, command in commands.items()} for _ in range(given.rounds)
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


def cpu_seconds(command: list[str], environ: dict[str, str]) -> float:
    """CPU time of a child from its start to its end."""
    with tempfile.TemporaryFile() as output:
        streams = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
        child = os.posix_spawn(command[0], command, environ, file_actions=streams)
        _, status, usage = os.wait4(child, 0)
        if status != 0:
            output.seek(0)
            raise SystemExit(f"{' '.join(command[3:])} could not be parsed:\n{output.read().decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime


def report(rounds: list[dict[str, float]], count: int) -> None:
    """Ratios are taken within a round, so that a machine that changes its pace changes both sides."""
    for name in rounds[0]:
        seconds = [each[name] for each in rounds]
        print(f"{name:>14} {statistics.median(seconds):6.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")
    whole = [each["nightshift"] / each["hand-written"] for each in rounds]
    parse = [(each["nightshift"] - each["start"]) / (each["hand-written"] - each["start"]) for each in rounds]
    print(f"{count} specs, CPU time, median of {len(rounds)} (smallest to largest):")
    for name, ratios in (("with process start", whole), ("without process start", parse)):
        print(f"{name:>24} {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
