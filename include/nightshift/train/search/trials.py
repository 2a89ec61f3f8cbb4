"""Where trials run: in threads of this process, which share its cores and one copy of the rows."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from nightshift.errors import EngineNotInstalled, NightshiftError, StorageError
from nightshift.spec.gate_metrics import MetricName
from nightshift.spec.models import Training
from nightshift.spec.spark_use import trains_on_spark
from nightshift.train.engines import engine_of
from nightshift.train.search.folds import Fold
from nightshift.train.search.records import Measured
from nightshift.train.search.scoring import value_of

# Engines tell their own progress to these; of a trial only its end is worth a line.
CHATTY = ("nightshift.train.engines", "nightshift.train.window")
# Their random numbers, threads and settings are those of the whole process.
ONE_OF_A_PROCESS = ("torch",)


@dataclass(frozen=True)
class Unit:
    """One point on one fold.

    Attributes:
        point: Key of the point.
        fold: Number of the fold.
        training: The section to train with.
    """

    point: str
    fold: int
    training: Training


Done = Callable[[Unit, Measured], None]


class Trials(Protocol):
    """Something that measures several units at once."""

    def run(self, units: Sequence[Unit], done: Done) -> list[Measured]:
        """Measure.

        Args:
            units: All of one fold.
            done: Is told of each as soon as it is measured, from any thread.

        Returns:
            What became of each, in their order.

        Raises:
            StorageError: The rows could not be read, or ``done`` could not write.
            EngineNotInstalled: An engine cannot be imported where it ran.
        """
        ...


@dataclass(frozen=True)
class InThreads:
    """Trials as threads of this process: what takes long in them is native code, which lets the others run.

    Attributes:
        folds: The folds.
        metric: What is measured.
        at_once: Most trials at the same time.
        threads: Threads of each.
    """

    folds: Sequence[Fold]
    metric: MetricName
    at_once: int
    threads: int

    def run(self, units: Sequence[Unit], done: Done) -> list[Measured]:
        """See ``Trials.run``. Those that take turns do so in this thread."""
        with quiet(), ThreadPoolExecutor(self.at_once, thread_name_prefix="trial") as pool:
            for unit in units:
                self._prepare(unit)
            begun = [None if self._takes_turns(unit) else pool.submit(self._one, unit, done) for unit in units]
            return [
                self._one(unit, done) if future is None else future.result()
                for unit, future in zip(units, begun, strict=True)
            ]

    def _takes_turns(self, unit: Unit) -> bool:
        """Whether a trial runs beside no other of its kind: Spark's slots are shared by one."""
        return trains_on_spark(unit.training) or unit.training.engine in ONE_OF_A_PROCESS

    def _prepare(self, unit: Unit) -> None:
        """Read the rows, once for all trials and before there are several threads that ask for them."""
        fold = self.folds[unit.fold]
        if not trains_on_spark(unit.training):
            fold.learned.read()
        fold.judged.read()

    def _one(self, unit: Unit, done: Done) -> Measured:
        found = self._measure(unit)
        done(unit, found)
        return found

    def _measure(self, unit: Unit) -> Measured:
        return measure(self.folds[unit.fold], unit.training, self.metric, threads=self.threads)


def measure(fold: Fold, training: Training, metric: MetricName, *, threads: int) -> Measured:
    """Learn a point on a fold and judge it on the rows that follow; what it fails with is part of the answer.

    Raises:
        StorageError: The rows could not be read.
        EngineNotInstalled: The engine cannot be imported here, which is no property of the point.
    """
    began = time.monotonic()
    try:
        asked, labels = fold.judged.vectors, fold.judged.labels.to_numpy()
        fitted = engine_of(training).fit(fold.learned, training, threads=threads, asked=asked)
        value = value_of(metric, labels, fitted.scores)
    except StorageError:
        raise
    except ImportError as error:
        raise EngineNotInstalled(
            f"the engine {training.engine} cannot be imported where a trial ran ({sys.executable}): {error}",
            hint="install its package there, or drop the engine from training.search",
        ) from error
    except NightshiftError as error:
        return Measured(None, error.message, error.retryable, round(time.monotonic() - began, 3))
    except Exception as error:  # noqa: BLE001 whatever a library makes of parameters that do not go together
        told = (str(error).strip().splitlines() or [""])[0]
        passing = isinstance(error, OSError | MemoryError)
        return Measured(None, f"{type(error).__name__}: {told}", passing, round(time.monotonic() - began, 3))
    return Measured(value, seconds=round(time.monotonic() - began, 3))


@contextmanager
def quiet() -> Iterator[None]:
    """Engines say nothing below a warning while the block runs."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
