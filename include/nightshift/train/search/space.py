"""The space of a study: one choice of the family, then the parameters of that family, under its name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from nightshift.plan import digest_of
from nightshift.spec.models import Training
from nightshift.spec.parameters import Value
from nightshift.spec.search_rules import FamilySpace, families

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

FAMILY = "family"


@dataclass(frozen=True)
class Point:
    """What one trial tries.

    Attributes:
        family: Name of the family.
        engine: Name of its engine.
        params: All of its parameters, fixed ones included.
    """

    family: str
    engine: str
    params: Mapping[str, Value]

    @property
    def key(self) -> str:
        """The same for every trial that tries the same."""
        return digest_of({"engine": self.engine, "params": dict(self.params)})[:16]

    def of(self, training: Training) -> Training:
        """The section that trains with this point and nothing else."""
        return training.model_copy(update={"engine": self.engine, "params": dict(self.params), "search": None})

    def __str__(self) -> str:
        told = ", ".join(f"{name} {_short(value)}" for name, value in self.params.items())
        return f"{self.family}: {told}" if told else self.family


@dataclass(frozen=True)
class Family:
    """One engine with a space of its own; a spec may list an engine twice.

    Attributes:
        name: The engine's name; with a number where it occurs more than once.
        space: What is fixed and what is searched.
        distributions: What is searched, as Optuna takes it.
    """

    name: str
    space: FamilySpace
    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def of(cls, name: str, space: FamilySpace) -> Family:
        return cls(name, space, {one: _distribution(space, one) for one in space.searched})

    @property
    def size(self) -> int | None:
        """How many points there are; None where a range has every number between its ends."""
        counts = [_count(one) for one in self.distributions.values()]
        return None if None in counts else math.prod(each for each in counts if each is not None)

    def suggest(self, trial: Trial) -> Point:
        return self.point({name: _ask(trial, f"{self.name}.{name}", one) for name, one in self.distributions.items()})

    def point(self, searched: Mapping[str, Value]) -> Point:
        return Point(self.name, self.space.engine, {**self.space.fixed, **searched})

    def points(self) -> Iterator[tuple[Point, dict[str, Value]]]:
        """Every point of a family with a size, and how Optuna calls its values."""
        assert self.size is not None, "there is no end of points"
        for number in range(self.size):
            searched, left = {}, number
            for name, one in self.distributions.items():
                left, place = divmod(left, _count(one) or 1)
                searched[name] = _value(one, place)
            named = {f"{self.name}.{name}": value for name, value in searched.items()}
            yield self.point(searched), {FAMILY: self.name, **named}


def families_of(training: Training) -> tuple[Family, ...]:
    """The families of a section with a search, its own engine's first."""
    spaces = families(training)
    often = Counter(space.engine for space in spaces)
    seen: Counter[str] = Counter()
    found = []
    for space in spaces:
        seen[space.engine] += 1
        name = space.engine if often[space.engine] == 1 else f"{space.engine}-{seen[space.engine]}"
        found.append(Family.of(name, space))
    return tuple(found)


def suggest(trial: Trial, known: Sequence[Family]) -> Point:
    """The point of a trial."""
    if len(known) == 1:
        return known[0].suggest(trial)
    by_name = {family.name: family for family in known}
    return by_name[trial.suggest_categorical(FAMILY, list(by_name))].suggest(trial)


def another(known: Sequence[Family], tried: Collection[str]) -> dict[str, Value] | None:
    """Where there are points that were not tried, as Optuna is told: some of its values, or all; None: nowhere.

    Args:
        known: The families.
        tried: Keys of points.
    """
    for family in known:
        if family.size is None:
            return {FAMILY: family.name}
    points = (named for family in known for point, named in family.points() if point.key not in tried)
    return next(points, None)


def _distribution(space: FamilySpace, name: str) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found = space.searched[name]
    if found.low is None or found.high is None:
        return CategoricalDistribution(found.choices)
    if space.is_whole(name):
        return IntDistribution(int(found.low), int(found.high), log=found.log, step=int(found.step or 1))
    return FloatDistribution(float(found.low), float(found.high), log=found.log, step=found.step)


def _ask(trial: Trial, name: str, found: BaseDistribution) -> Value:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(found, IntDistribution):
        return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
    if isinstance(found, FloatDistribution):
        number = trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)
        return number if found.step is None else _value(found, round((number - found.low) / found.step))
    assert isinstance(found, CategoricalDistribution), f"{name} has a distribution of {type(found).__name__}"
    value: Value = trial.suggest_categorical(name, found.choices)  # type: ignore[assignment]  # only what a spec can say
    return value


def _count(found: BaseDistribution) -> int | None:
    """How many values there are; None: no end of them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(found, CategoricalDistribution):
        return len(found.choices)
    if isinstance(found, FloatDistribution) and found.step is None:
        return None
    assert isinstance(found, IntDistribution | FloatDistribution), f"a distribution is no {type(found).__name__}"
    return 1 + round((found.high - found.low) / (found.step or 1))


def _value(found: BaseDistribution, place: int) -> Value:
    """The value at a place; of steps the number that people would write, 0.3 and not 0.30000000000000004."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(found, CategoricalDistribution):
        value: Value = found.choices[place]  # type: ignore[assignment]  # only what a spec can say
        return value
    if isinstance(found, IntDistribution):
        return found.low + place * found.step
    assert isinstance(found, FloatDistribution), f"a distribution is no {type(found).__name__}"
    return float(Decimal(str(found.low)) + place * Decimal(str(found.step)))


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
