"""A rollback, from the command to the ledger's entry and to its end, beside an MLflow that answers, is down, or is silent.

    python tests/bench/bench_rollback.py [--rounds 3]

Whole child processes by the clock on the wall, two champions going back and forth. The champion has moved when the
entry is written; what comes after it is MLflow's aliases.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes.shipped_nights import MODEL, environment, kinds, shipped, write_spec  # noqa: E402

from nightshift.registry.mlflow_registry import initialise  # noqa: E402
from nightshift.storage import Store  # noqa: E402

GOAL_S = 10.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder, socket.socket() as silent:
        root = Path(folder)
        write_spec(root)
        store = shipped(root, 2)[0].store
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never answers
        database = f"sqlite:///{root / 'mlflow.db'}"
        initialise(database)
        print(f"seconds, median of {given.rounds}; the goal is a moved champion within {GOAL_S:g} s")
        for name, uri in (
            ("answers (a SQLite file)", database),
            ("is down", "http://127.0.0.1:9"),
            ("accepts and is silent", f"http://127.0.0.1:{silent.getsockname()[1]}"),
        ):
            rounds = [measure(store, {**os.environ, **environment(root, uri)}) for _ in range(given.rounds)]
            moved, ended = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"  MLflow {name}: champion moved after {moved:.1f}, the command ended after {ended:.1f}")


def measure(store: Store, environ: dict[str, str]) -> tuple[float, float]:
    """Seconds to the ledger's entry, and to the command's end."""
    before = kinds(store)
    to = 3 - (before[-1][1] or 0)  # of v1 and v2 the other one
    command = [str(Path(sys.executable).with_name("nightshift")), "rollback", MODEL, "--to", str(to)]
    began = time.monotonic()
    child = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    entry = store.objects.local_path(f"ledger/{len(before) + 1:09d}.json")
    while not entry.exists() and child.poll() is None:
        time.sleep(0.02)
    moved = time.monotonic() - began
    if child.wait() != 0 or kinds(store)[-1] != ("rollback", to):
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return moved, time.monotonic() - began


if __name__ == "__main__":
    main()
