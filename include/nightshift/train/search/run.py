"""A search from beginning to end: folds, records, the study, and what is said of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nightshift.plan import Plan, digest_of, library_versions
from nightshift.spark import session, submitted_to
from nightshift.spec.models import Training
from nightshift.spec.spark_use import any_trains_on_spark
from nightshift.train.search.folds import Fold, folds_of
from nightshift.train.search.on_spark import OnSpark
from nightshift.train.search.records import Records
from nightshift.train.search.study import Study, Told
from nightshift.train.search.trials import InThreads, Trials
from nightshift.train.window import TrainingWindow

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class Found:
    """A finished search.

    Attributes:
        training: The section that trains with the best point, and searches no more.
        best: The best trial.
        evidence: Everything, for ``search.json``.
    """

    training: Training
    best: Told
    evidence: dict[str, Any]

    @property
    def card(self) -> dict[str, Any]:
        """For ``model.json``; the digest is of all of the evidence but the seconds, which no two searches share."""
        trials = [{name: value for name, value in one.items() if name != "seconds"} for one in self.evidence["trials"]]
        return {
            "metric": self.evidence["metric"],
            "trials": len(trials),
            "best": self.best.mean,
            "digest": digest_of({**self.evidence, "trials": trials}),
        }

    def __str__(self) -> str:
        best = f"best {self.evidence['metric']} {self.best.mean:.5g} by {self.best.point.family}"
        return f"{len(self.evidence['trials'])} trials, {best}"


def search(plan: Plan, window: TrainingWindow, stage_key: str) -> Found:
    """Find the parameters and the engine to train with.

    Args:
        plan: The run's plan, whose spec has a search.
        window: The whole training window.
        stage_key: Key of the stage's result; a search with the same key goes on where an earlier one was killed.

    Raises:
        DataError: A fold cannot be learned from or judged on, or no trial was complete.
        EngineNotInstalled: An engine of the search cannot be imported where its trials run.
        JobError: Spark failed, or every trial did with something that may pass.
        StorageError: The store failed.
    """
    training, metric = plan.spec.training, plan.spec.gates.metric
    asked = training.search
    assert asked is not None, "the spec has a search"
    held = plan.windows.holdout
    folds = folds_of(window, plan.windows.train, holdout=held.end - held.start, count=asked.folds)
    for fold in folds:
        fold.check(metric)
    records = Records.open(window.store, plan.interval.key, stage_key)
    bound = f"{asked.trials} trials" if asked.trials else f"{asked.minutes} minutes"
    log.info("search: %s, %d folds, %d at once", bound, len(folds), asked.parallel)
    with _trials(plan, window, folds) as trials:
        told, best = Study(training, metric, folds, trials, records).run()
    states = Counter(one.state for one in told)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    log.info("search: %s; best %s %.5f, trial %d (%s)", counts, metric, best.mean, best.number + 1, best.point)
    return Found(best.point.of(training), best, _evidence(plan, folds, told, best))


@contextmanager
def _trials(plan: Plan, window: TrainingWindow, folds: tuple[Fold, ...]) -> Iterator[Trials]:
    """Where trials run: several at once on the slots of a cluster, if this job was submitted to one."""
    training, metric = plan.spec.training, plan.spec.gates.metric
    at_once = 1 if training.search is None else training.search.parallel
    on_slots = at_once > 1 and submitted_to() is not None
    # Each has its share, also on a cluster and where fewer run at once: the number of threads is part of the result.
    threads = max(1, plan.threads // at_once)
    if not (on_slots or any_trains_on_spark(training)):
        yield InThreads(folds, metric, at_once, threads)
        return
    with session(
        window.title, threads=plan.threads, scratch=window.scratch, rows=window.rows, storage=window.root
    ) as spark:
        if on_slots:
            log.info("search: trials are tasks of Spark")
            yield OnSpark(folds, metric, at_once, threads, context=spark.sparkContext)
        else:
            yield InThreads(folds, metric, at_once, threads)


def _evidence(plan: Plan, folds: tuple[Fold, ...], told: tuple[Told, ...], best: Told) -> dict[str, Any]:
    asked = plan.spec.training.search
    assert asked is not None, "the spec has a search"
    return {
        "format": FORMAT,
        "metric": plan.spec.gates.metric,
        "seed": plan.spec.training.seed,
        "optuna": library_versions(("optuna",))["optuna"],
        "search": asked.model_dump(mode="json", exclude_defaults=True),
        "folds": [fold.to_dict() for fold in folds],
        "trials": [trial.to_dict() for trial in told],
        "best": best.number,
    }
