"""What follows from the measurements of ``bench_training.py``: the crossover, and the tables of ``docs/benchmarks.md``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Sides = dict[str, dict[str, float]]
COLUMNS = 20
PARAMS = {"n_estimators": 100, "max_depth": 6, "learning_rate": 0.1}
BEGIN, END = "<!-- measured by tests/bench/bench_training.py -->", "<!-- until here -->"


def crossover_of(by_rows: Mapping[str, Sides]) -> dict[str, float]:
    """What ``train/workers.py`` decides by, in CPU seconds: straight lines through the smallest and the largest size."""
    native, spark = (rise(by_rows, side, "cpu_seconds") for side in ("stage_1", "spark_2"))
    # From the second size on: below it, what the process takes whatever the size is most of its memory.
    each = rise(by_rows, "stage_1", "peak_mib", smallest=1)
    first = min(by_rows, key=int)
    start = by_rows[first]["cluster_2"]["cpu_seconds"] - spark * work(first)
    return {
        "thread_seconds": round(native, 2),
        "worker_cost": round(spark / native, 2),
        "start_seconds": round(start, 1),
        "bytes_per_value": round(each * 2**20 / (1e9 / int(PARAMS["n_estimators"])), 1),
    }


def rise(by_rows: Mapping[str, Sides], side: str, what: str, *, smallest: int = 0) -> float:
    """How much more it is for 1e9 values looked at.

    Args:
        by_rows: What was measured.
        side: Of which side.
        what: Which number of it.
        smallest: The size that the line goes through first, counted from the smallest.
    """
    sizes = sorted((rows for rows in by_rows if side in by_rows[rows]), key=int)
    (x0, y0), (x1, y1) = ((work(rows), by_rows[rows][side][what]) for rows in (sizes[smallest], sizes[-1]))
    return (y1 - y0) / (x1 - x0)


def work(rows: str) -> float:
    """1e9 values looked at: rows x columns x trees."""
    return int(rows) * COLUMNS * int(PARAMS["n_estimators"]) / 1e9


def page(document: Mapping[str, Any]) -> str:
    """What ``docs/benchmarks.md`` says of one engine's measurements."""
    given, by_rows = document["conditions"], document["measured"]
    loads = [told["load"] for sides in by_rows.values() for told in sides.values()]
    versions = ", ".join(f"{name} {given[name]}" for name in ("python", "xgboost-cpu", "pyspark", "pyarrow"))
    params = ", ".join(f"{name} {value}" for name, value in given["params"].items())
    lines = [
        f"Measured {given['date']} on {given['machine']}, busy with other work meanwhile (load {min(loads):.0f} to "
        f"{max(loads):.0f}), so CPU seconds count: {versions}. {given['columns']} columns, {params}.",
        "",
        "| rows | bare `xgb.train`, CPU s | the stage, CPU s | ratio | bare, MiB | the stage, MiB | ratio | rounds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rows, sides in sorted(by_rows.items(), key=lambda item: int(item[0])):
        bare, ours = sides["bare_1"], sides["stage_1"]
        numbers = [
            *(f"{side['cpu_seconds']:.1f}" for side in (bare, ours)),
            f"**{ours['cpu_seconds'] / bare['cpu_seconds']:.2f}**",
            *(f"{side['peak_mib']:.0f}" for side in (bare, ours)),
            f"**{ours['peak_mib'] / bare['peak_mib']:.2f}**",
            str(min(bare["rounds"], ours["rounds"])),
        ]
        lines.append(f"| {int(rows):,} | {' | '.join(numbers)} |")
    return "\n".join([*lines, "", *_spark_table(by_rows), "", *_crossover_table(document["crossover"])])


def _spark_table(by_rows: Mapping[str, Sides]) -> list[str]:
    lines = [
        "| rows | where | CPU s | of native training | wall, s | peak of all processes, MiB | rounds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = {
        "stage_1": "natively, 1 thread",
        "spark_1": "local Spark, 1 worker",
        "spark_2": "local Spark, 2 workers",
        "cluster_2": "standalone cluster, 2 workers",
    }
    for rows, sides in sorted(by_rows.items(), key=lambda item: int(item[0])):
        for side in (name for name in words if name in sides):
            told = sides[side]
            ratio = told["cpu_seconds"] / sides["stage_1"]["cpu_seconds"]
            lines.append(
                f"| {int(rows):,} | {words[side]} | {told['cpu_seconds']:.1f} | {ratio:.1f} | {told['seconds']:.0f} | "
                f"{told['peak_mib']:.0f} | {told['rounds']:.0f} |"
            )
    return lines


def _crossover_table(crossover: Mapping[str, float]) -> list[str]:
    from nightshift.train.workers import Crossover

    measured = Crossover(**crossover)
    workers = (2, 4, 8, 16, 32, 64)
    lines = [
        f"| threads of native training | {' | '.join(f'{number} workers' for number in workers)} |",
        f"| --- |{' --- |' * len(workers)}",
    ]
    for threads in (1, 2, 4, 8, 16):
        values = COLUMNS * int(PARAMS["n_estimators"])
        rows = (measured.rows(values, threads=threads, workers=number) for number in workers)
        lines.append(f"| {threads} | {' | '.join(map(_rounded, rows))} |")
    return lines


def _rounded(rows: float) -> str:
    """With two digits: more were not measured."""
    return "never" if math.isinf(rows) else f"{float(f'{rows:.2g}'):,.0f}"
