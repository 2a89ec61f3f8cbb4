"""What ``training.workers: auto`` means: the size from which several workers are faster, or memory that is too small.

Nothing is asked of a cluster, nor of the clock: the window's size, the configuration, and what was measured once
decide, so the same night comes to the same number again. ``tests/bench/bench_training.py`` measures.
"""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Self

from nightshift.plan import Plan
from nightshift.settings import Settings
from nightshift.spark import submitted_to
from nightshift.spec.spark_use import most_workers
from nightshift.spec.training_rules import MOST_WORKERS
from nightshift.train.engines.xgboost import params_of

log = logging.getLogger(__name__)

MEASURED = "crossover.json"
SHARE_OF_MEMORY = 0.5
"""Of the machine's memory a job may plan with: it is seldom alone there."""
# What a container may use, where it is limited; the second is of older systems.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
GIB = 2**30


@dataclass(frozen=True)
class Crossover:
    """What was measured of an engine.

    Attributes:
        thread_seconds: Native training, of one thread, for 1e9 values looked at: rows x features x trees.
        worker_cost: How many times as long a worker takes for the same.
        start_seconds: What training on a cluster takes besides, whatever its size.
        bytes_per_value: Memory of native training for each value of the window: rows x features. What a process takes
            whatever the size does not count: the process of a distributed training takes it too.
    """

    thread_seconds: float
    worker_cost: float
    start_seconds: float
    bytes_per_value: float

    @classmethod
    def of(cls, engine: str) -> Self:
        """What is shipped of one of the spec's ``MEASURED_ENGINES``."""
        return cls(**json.loads(files("nightshift.train").joinpath(MEASURED).read_text())[engine]["crossover"])

    def rows(self, values_of_a_row: int, *, threads: int, workers: int) -> float:
        """The rows from which so many workers are faster than so many threads; infinite where they never are.

        Args:
            values_of_a_row: Features x trees.
            threads: Of native training; they share the work evenly, and so do workers.
            workers: One core each.
        """
        saved = self.thread_seconds / 1e9 * (1 / threads - self.worker_cost / workers)
        return self.start_seconds / (saved * values_of_a_row) if saved > 0 else math.inf


@dataclass(frozen=True)
class Facts:
    """What the decision depends on.

    Attributes:
        rows: Of the training window.
        features: Length of its vectors.
        trees: That are to be learned, all classes together.
        threads: Of native training.
        slots: Workers that can be at once on other machines than this; 1: Spark has none, None: nothing says.
        memory: Bytes of this machine.
    """

    rows: int
    features: int
    trees: int
    threads: int
    slots: int | None
    memory: int


@dataclass(frozen=True)
class Decision:
    """A number of workers, and why, as the log says it."""

    workers: int
    because: str


def with_workers(plan: Plan, *, rows: int, features: int) -> Plan:
    """The plan with a number in place of auto: whoever writes that number gets the same result, by the same key.

    Args:
        plan: The run's plan.
        rows: Of the training window.
        features: Length of its vectors.

    Raises:
        SettingsError: A variable holds a value that cannot be used.
    """
    training, label = plan.spec.training, plan.spec.label
    if training.workers != "auto":
        return plan
    trees = int(params_of(training)["n_estimators"]) * max(1, len(label.classes))
    slots = most_workers(plan.spec, submitted_to() or "local", cores=Settings.from_environment().spark_cores)
    facts = Facts(rows, features, trees, plan.threads, slots, memory_of_machine())
    decision = decide(facts, Crossover.of(training.engine))
    size = f"{rows} rows x {features} features, {trees} trees"
    log.info("train: workers: auto means %d for %s: %s", decision.workers, size, decision.because)
    number = training.model_copy(update={"workers": decision.workers})
    return replace(plan, spec=plan.spec.model_copy(update={"training": number}))


def decide(facts: Facts, measured: Crossover) -> Decision:
    """One worker, or as many as there are slots: never a number between, never more."""
    needed = measured.bytes_per_value * facts.rows * facts.features
    fits = needed <= facts.memory * SHARE_OF_MEMORY
    room = (
        f"it needs about {needed / GIB:.1f} GiB, {'within' if fits else 'above'} half of this machine's "
        f"{facts.memory / GIB:.1f}"
    )
    slots = min(facts.slots or 1, MOST_WORKERS)
    if slots == 1:
        why = (
            "nothing says how many cores of the cluster a job has"
            if facts.slots is None
            else "Spark has no other cores"
        )
        return Decision(1, f"{why}; {room}")
    if not fits:
        return Decision(slots, room)
    least = measured.rows(facts.features * facts.trees, threads=facts.threads, workers=slots)
    pair = f"{slots} workers are faster than {facts.threads} threads"
    if math.isinf(least):
        return Decision(1, f"{pair} at no size; {room}")
    if facts.rows < least:
        return Decision(1, f"{pair} only from about {least:,.0f} rows; {room}")
    return Decision(slots, f"{pair} from about {least:,.0f} rows")


def memory_of_machine() -> int:
    """Bytes of memory that this machine has, or this container may use."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in LIMITS:
        text = path.read_text().strip() if path.is_file() else ""
        amounts += [int(text)] if text.isdecimal() else []
    return min(amounts)
