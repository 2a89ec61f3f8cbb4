"""Trials as tasks of Spark, one slot each, wherever the cluster has one free.

The rows of a fold are broadcast, so an executor needs no access to the store; what a task gives back is the same that a
thread of this process would: the same rows, parameters, seed and number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nightshift.errors import EngineNotInstalled
from nightshift.spec.gate_metrics import MetricName
from nightshift.spec.models import Training
from nightshift.spec.spark_use import trains_on_spark
from nightshift.train.search.folds import Fold
from nightshift.train.search.records import Measured
from nightshift.train.search.trials import InThreads, Unit, measure

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext


@dataclass(frozen=True)
class OnSpark(InThreads):
    """Each trial is a job of one task; a task whose executor is lost is begun again by Spark.

    Attributes:
        context: The context of the application.
    """

    context: SparkContext = field(kw_only=True)
    _sent: dict[int, Broadcast[Fold]] = field(default_factory=dict, kw_only=True, repr=False)

    def _takes_turns(self, unit: Unit) -> bool:
        return trains_on_spark(unit.training)  # others have a process of their own each

    def _prepare(self, unit: Unit) -> None:
        super()._prepare(unit)
        if unit.fold not in self._sent and not trains_on_spark(unit.training):
            fold = self.folds[unit.fold]
            carried = replace(fold, learned=fold.learned.carried(), judged=fold.judged.carried())
            self._sent[unit.fold] = self.context.broadcast(carried)

    def _measure(self, unit: Unit) -> Measured:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        if trains_on_spark(unit.training):
            return super()._measure(unit)
        task = Task(self._sent[unit.fold], self.metric, self.threads)
        try:
            [found] = self.context.parallelize([unit.training], 1).map(task).collect()
        except (Py4JError, PySparkException) as error:
            told = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Measured(None, f"Spark could not run the trial: {told}", retryable=True)
        if isinstance(found, EngineNotInstalled):
            raise found
        assert isinstance(found, Measured), "a task gives what it measured"
        return found


@dataclass(frozen=True)
class Task:
    """What an executor's Python process does."""

    fold: Broadcast[Any]
    metric: MetricName
    threads: int

    def __call__(self, training: Training) -> Measured | EngineNotInstalled:
        """What was measured; an engine that is not there as a value, because Spark would try a task again."""
        try:
            return measure(self.fold.value, training, self.metric, threads=self.threads)
        except EngineNotInstalled as error:
            return error
