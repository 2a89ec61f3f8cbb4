"""The engine torch on two workers against one: what a start costs, and what an epoch then takes.

    python tests/bench/bench_torch.py [--rows 200000] [--epochs 2 62] [--width 256] [--batch 4096] [--rounds 3] [--write]

Stage train runs with few and with more epochs, each time in a new process, as in a night. The difference is what the
epochs take; what is left is the start: torch, Spark's session, the ranks. One worker takes as many threads as
a night would (2), two take one each. Best of the rounds. ``--write`` brings ``docs/benchmarks.md`` up to date.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured by tests/bench/bench_torch.py -->", "<!-- until here: torch -->"


def stage_seconds(arguments: argparse.Namespace, *, workers: int, epochs: int) -> float:
    """From the published rows to the published model, in this process."""
    sys.path.insert(0, str(ROOT))
    from tests.fakes.training_window import given, rows_of

    from nightshift.train import run

    params = {"epochs": epochs, "hidden_width": arguments.width, "batch_size": arguments.batch}
    with tempfile.TemporaryDirectory(prefix="bench-torch-", ignore_cleanup_errors=True) as root:
        rows = rows_of(arguments.rows)
        plan, io = given(Path(root), rows, files=4, engine="torch", workers=workers, params=params, threshold=0.5)
        began = time.perf_counter()
        run(plan, io)
        return time.perf_counter() - began


def in_a_new_process(workers: int, epochs: int) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", str(workers), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, nargs=2, default=[2, 62])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="bring docs/benchmarks.md up to date")
    parser.add_argument("--one", type=int, nargs=2, metavar=("WORKERS", "EPOCHS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if find_spec("torch") is None:
        print("torch is not installed: make torch")
        return
    if arguments.one:
        print(stage_seconds(arguments, workers=arguments.one[0], epochs=arguments.one[1]))
        return
    few, many = sorted(arguments.epochs)
    best: dict[tuple[int, int], float] = {}
    loads: list[float] = []
    for number in range(arguments.rounds):
        for workers in (1, 2):
            for epochs in (few, many):
                loads.append(os.getloadavg()[0])
                took = in_a_new_process(workers, epochs)
                best[workers, epochs] = min(took, best.get((workers, epochs), took))
                print(f"round {number}: {workers} workers, {epochs} epochs {took:7.2f} s", flush=True)
    epoch = {workers: (best[workers, many] - best[workers, few]) / (many - few) for workers in (1, 2)}
    start = {workers: best[workers, few] - few * epoch[workers] for workers in (1, 2)}
    text = page(arguments, start, epoch, loads)
    print(text)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def page(arguments: argparse.Namespace, start: dict[int, float], epoch: dict[int, float], loads: list[float]) -> str:
    """What ``docs/benchmarks.md`` says."""
    lines = [
        f"Measured {datetime.now(UTC).date()} on {os.cpu_count()} cores (load {min(loads):.0f} to {max(loads):.0f}), torch "
        f"{version('torch')}: {arguments.rows:,} rows, batches of {arguments.batch:,}, width {arguments.width}, best of "
        f"{arguments.rounds}, wall seconds.",
        "",
        "| workers | start, s | an epoch, s | epoch against one worker |",
        "| --- | --- | --- | --- |",
        *(f"| {n} | {start[n]:.1f} | {epoch[n]:.2f} | {epoch[n] / epoch[1]:.2f} |" for n in (1, 2)),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
