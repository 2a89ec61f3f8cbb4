"""The study: Optuna proposes points in batches, a batch is measured fold by fold, and told in the order it was asked.

The sampler gets a seed of its own for each batch, and sees only the results of earlier batches. So a study bounded by
trials depends on seed, space and rows, and on nothing that happens while it runs: not on who was faster, nor on a kill.
Who begins a study again asks the same questions, and finds the answers that were recorded. No point is tried twice, so
a study of few points ends when it has tried them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import DataError, JobError
from nightshift.spec.gate_metrics import METRICS, MetricName
from nightshift.spec.models import Training
from nightshift.train.search.folds import Fold
from nightshift.train.search.reasons import reasons_of
from nightshift.train.search.records import Measured, Records
from nightshift.train.search.space import Point, another, families_of, suggest
from nightshift.train.search.trials import Trials, Unit

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

# Nothing is pruned before so many trials are complete; the first are far apart.
PRUNES_AFTER = 5
# So often a point that was tried is answered by asking again, before one that was not is looked for.
REPEATS = 20
State = Literal["complete", "pruned", "failed"]


@dataclass
class Told:
    """One trial and what became of it.

    Attributes:
        number: From 0, in the order of the study.
        point: What was tried.
        values: The metric on each fold that it was learned on.
        state: ``pruned``: it ended before the last fold, because it was worse than half of the others.
        error: Why it failed.
        retryable: Another try of a failed one may succeed.
        seconds: How long its folds took together.
    """

    number: int
    point: Point
    values: list[float] = field(default_factory=list)
    state: State = "complete"
    error: str | None = None
    retryable: bool = False
    seconds: float = 0.0

    @property
    def mean(self) -> float | None:
        return round(sum(self.values) / len(self.values), 10) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the folds; None where there are less than two."""
        from statistics import stdev

        return round(stdev(self.values), 10) if len(self.values) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "family": self.point.family,
            "engine": self.point.engine,
            "params": dict(self.point.params),
            "state": self.state,
            "values": self.values,
            "mean": self.mean,
            "spread": self.spread,
            "error": self.error,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Study:
    """A study while it runs.

    Attributes:
        training: The spec's section, with a search.
        metric: What is measured.
        folds: The folds.
        trials: What measures.
        records: What is known already.
    """

    training: Training
    metric: MetricName
    folds: Sequence[Fold]
    trials: Trials
    records: Records

    def __post_init__(self) -> None:
        import optuna

        assert self.training.search is not None, "a study is of a search"
        self._asked = self.training.search
        self._families = families_of(self.training)
        self._began = time.monotonic() - self.records.spent
        self._told: list[Told] = []
        self._tried: set[str] = set()
        self._best: Told | None = None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize" if METRICS[self.metric].higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNES_AFTER)
            if self._asked.prune
            else optuna.pruners.NopPruner(),
        )

    @property
    def spent(self) -> float:
        """Seconds of the search, those before a kill included."""
        return round(time.monotonic() - self._began, 3)

    def run(self) -> tuple[tuple[Told, ...], Told]:
        """Run it to its bound, or until there is nothing left to try.

        Returns:
            All trials in order; and the complete one with the best mean, of equal ones the first.

        Raises:
            DataError: No trial was complete.
            JobError: Every trial failed with something that may pass.
            StorageError: The rows could not be read, or a record not be written.
        """
        while batch := self._next_batch():
            self._measure(batch)
            for trial, told in batch:
                self._tell(trial, told)
        if self._best is None:
            raise self._none_complete()
        return tuple(self._told), self._best

    # -- one batch -----------------------------------------------------------------------------------

    def _next_batch(self) -> list[tuple[optuna.Trial, Told]]:
        """The next trials; none where the bound is reached, or every point of the space is tried."""
        import optuna

        first, size = len(self._told), self._asked.parallel
        if self._asked.trials is not None:
            size = min(size, self._asked.trials - first)
        if size <= 0 or self._is_late(first):
            return []
        seed = seed_of(self.training.seed, first)
        samplers = (optuna.samplers.TPESampler(seed=seed), optuna.samplers.RandomSampler(seed=seed ^ 1))
        batch = []
        for number in range(first, first + size):
            found = self._untried(*samplers)
            if found is None:
                log.info("search: all %d points of the space are tried", len(self._tried))
                break
            batch.append((found[0], Told(number, found[1])))
        return batch

    def _is_late(self, first: int) -> bool:
        """Whether no batch may begin any more; those that had begun before a kill are gone on with."""
        minutes = self._asked.minutes
        return minutes is not None and self.spent >= 60 * minutes and first >= self.records.begun

    def _untried(
        self, sampler: optuna.samplers.BaseSampler, at_random: optuna.samplers.BaseSampler
    ) -> tuple[optuna.Trial, Point] | None:
        """A point that is no earlier one; None where there is none. To measure one again would say the same again."""
        from optuna.trial import TrialState

        self._study.sampler = sampler
        for asked in range(REPEATS + 1):
            if asked == REPEATS:
                params = another(self._families, self._tried)
                if params is None:
                    return None
                self._study.enqueue_trial(params)
            trial = self._study.ask()
            point = suggest(trial, self._families)
            if point.key not in self._tried:
                self._tried.add(point.key)
                return trial, point
            self._study.tell(trial, state=TrialState.FAIL)  # the sampler learns nothing from it
            self._study.sampler = at_random
        return None

    def _measure(self, batch: Sequence[tuple[optuna.Trial, Told]]) -> None:
        """Fold by fold, all trials that are left at once."""
        left = list(batch)
        for number in range(len(self.folds)):
            for (_, told), found in zip(left, self._on_fold(number, [told.point for _, told in left]), strict=True):
                told.seconds += found.seconds
                if found.value is None:
                    told.state, told.error, told.retryable = "failed", found.error, found.retryable
                else:
                    told.values.append(found.value)
            left = [(trial, told) for trial, told in left if told.state == "complete"]
            if number == len(self.folds) - 1:
                return
            for trial, told in left:
                assert told.mean is not None, "it has a value of this fold"
                trial.report(told.mean, step=number)
                if trial.should_prune():
                    told.state = "pruned"
            left = [(trial, told) for trial, told in left if told.state == "complete"]

    def _on_fold(self, number: int, points: Sequence[Point]) -> list[Measured]:
        """What became of each point: as recorded, else measured now."""
        known = [self.records.find(point.key, number) for point in points]
        new = [point for point, found in zip(points, known, strict=True) if found is None]
        units = [Unit(point.key, number, self._judged(point)) for point in new]
        fresh = iter(self.trials.run(units, self._record) if units else [])
        return [found or next(fresh) for found in known]

    def _judged(self, point: Point) -> Training:
        """The section that learns a fold: the metrics are of probabilities, so no threshold is looked for."""
        training = point.of(self.training)
        binary = self.folds[0].learned.label.task == "binary"
        return training.model_copy(update={"threshold": 0.5}) if binary else training

    def _record(self, unit: Unit, measured: Measured) -> None:
        self.records.add(unit.point, unit.fold, measured, spent=self.spent, begun=len(self._tried))

    def _tell(self, trial: optuna.Trial, told: Told) -> None:
        from optuna.trial import TrialState

        self._told.append(told)
        if told.state == "complete":
            self._study.tell(trial, told.mean)
            if self._best is None or self._is_better(told, self._best):
                self._best = told
        else:
            self._study.tell(trial, state=TrialState.PRUNED if told.state == "pruned" else TrialState.FAIL)
        log.info("%s", self._line(told))

    def _is_better(self, one: Told, other: Told) -> bool:
        assert one.mean is not None, "it is complete"
        assert other.mean is not None, "it is complete"
        return one.mean > other.mean if METRICS[self.metric].higher_is_better else one.mean < other.mean

    # -- words ---------------------------------------------------------------------------------------

    def _line(self, told: Told) -> str:
        minutes = f"({self.spent / 60:.1f} of {self._asked.minutes} min)"
        bound = f"of {self._asked.trials}" if self._asked.trials else minutes
        leader = self._best
        best = "none complete so far" if leader is None else f"best {leader.mean:.5f} by {leader.point.family}"
        if told.state == "failed":
            became = f"failed: {told.error}"
        else:
            spread = "" if told.spread is None else f" ± {told.spread:.5f}"
            pruned = f", pruned after fold {len(told.values)}" if told.state == "pruned" else ""
            became = f"{self.metric} {told.mean:.5f}{spread}{pruned}"
        return f"search: trial {told.number + 1} {bound}: {became}; {told.point}; {told.seconds:.1f} s; {best}"

    def _none_complete(self) -> DataError | JobError:
        if not self._told:
            return DataError(
                "the time of the search was over before its first trial.", hint="raise training.search.minutes"
            )
        why = reasons_of(told.error or "" for told in self._told)[0]
        such = " much as this one" if why.varies else ""
        text = f"all {len(self._told)} trials of the search failed; {why.often} of them{such}: {why.first}"
        if all(told.retryable for told in self._told):
            return JobError(text)
        return DataError(text, hint="narrow training.search to what the engine can learn from these rows")


def seed_of(seed: int, first: int) -> int:
    """The sampler's seed for the batch that begins with this trial: 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {first}".encode()).digest()[:4], "big")
