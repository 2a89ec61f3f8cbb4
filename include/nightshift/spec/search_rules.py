"""What a search may look like: the form of a range, and that an engine can be asked for every point of the space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nightshift.spec import engines
from nightshift.spec.parameters import EngineParams, Value
from nightshift.spec.problem import Problem, YamlPath, did_you_mean, of_long_number, path_text, reject

if TYPE_CHECKING:
    from nightshift.spec.models import ModelSpec, Training
    from nightshift.spec.search import Range, Search
    from nightshift.spec.values import Task

MOST_TRIALS, MOST_MINUTES, MOST_FOLDS, MOST_AT_ONCE = 1000, 7 * 24 * 60, 20, 64
MOST_CORNERS = 256
"""Combinations of ends and choices that are looked at; beyond, each is looked at beside the first of the others."""
FORMS = "[low, high], {low: …, high: …, log: true, step: …} or {choices: […]}"
OF_RANGE, OF_CHOICES = ("low", "high", "log", "step"), ("choices",)


# -- one range ---------------------------------------------------------------------------------------------


def read_range(value: Any) -> dict[str, Any]:
    """The keys of a range, whatever form it is written in.

    Raises:
        PydanticCustomError: It has no form that a range can have.
    """
    if isinstance(value, list | tuple):
        if len(value) != 2 or not all(map(_is_number, value)):
            hint = next(filter(None, map(of_long_number, value)), None)
            if hint is None and value:
                hint = f"write {{choices: [{', '.join(map(str, value))}]}}"
            reject([Problem("a list is a range: its lowest and its highest number.", allowed=FORMS, hint=hint)])
        value = {"low": value[0], "high": value[1]}
    elif _is_value(value):
        return {"choices": (value,)}
    elif not isinstance(value, dict):
        reject([Problem("this is no range.", allowed=FORMS)])
    known = OF_CHOICES if "choices" in value else OF_RANGE
    reject(
        Problem("unknown key.", (key,), ", ".join(known), did_you_mean(key, known), is_key=True)
        for key in value
        if key not in known
    )
    reject(_choices(value["choices"]) if "choices" in value else _bounds(value))
    return {**value, "choices": tuple(value["choices"])} if "choices" in value else dict(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_value(value: Any) -> bool:
    return isinstance(value, bool | str) or _is_number(value)


def _choices(given: Any) -> Iterator[Problem]:
    if not isinstance(given, list | tuple) or not all(map(_is_value, given)):
        yield Problem("choices are a list of values.", ("choices",), allowed="numbers, texts, true and false")
    elif not given:
        yield Problem("there are no choices.", ("choices",), allowed="a list of values")
    else:
        for number, one in enumerate(given):
            if any(one == other and type(one) is type(other) for other in given[:number]):
                yield Problem(f"{one!r} is listed twice.", ("choices", number))


def _bounds(given: Mapping[str, Any]) -> Iterator[Problem]:
    if missing := [key for key in ("low", "high") if key not in given]:
        yield Problem(f"a range needs {' and '.join(missing)}.", allowed=FORMS)
        return
    wrong = [key for key in ("low", "high", "step") if given.get(key) is not None and not _is_number(given[key])]
    wrong += [key for key in ("low", "high") if given[key] is None]
    if wrong or not isinstance(given.get("log", False), bool):
        for key in wrong:
            yield Problem(
                f"{given[key]!r} is not a number.", (key,), allowed="a finite number", hint=of_long_number(given[key])
            )
        if not isinstance(given.get("log", False), bool):
            yield Problem(f"{given['log']!r} is not allowed.", ("log",), allowed="true or false")
        return
    low, high, step = given["low"], given["high"], given.get("step")
    if low >= high:
        hint = f"write [{high}, {low}]" if low > high else f"for one value, write {low} alone"
        yield Problem(f"the range from {low} to {high} has no room.", allowed="low below high", hint=hint)
    elif given.get("log") and low <= 0:
        yield Problem(f"a logarithmic range cannot begin at {low}.", allowed="low above 0", hint="drop log: true")
    elif step is not None and given.get("log"):
        yield Problem("a logarithmic range has no steps.", ("step",), hint="drop step or log", is_key=True)
    elif step is not None and (step <= 0 or (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))):
        yield Problem(f"steps of {step} from {low} never meet {high}.", ("step",), hint="change step or high")


# -- the section -------------------------------------------------------------------------------------------


def engine(name: str) -> Iterator[Problem]:
    """An engine's name, at its own place."""
    if name not in engines.PARAMS:
        known = ", ".join(engines.PARAMS)
        yield Problem(f"{name!r} is no engine.", allowed=known, hint=did_you_mean(name, engines.PARAMS))


def search(given: Search) -> Iterator[Problem]:
    """One bound, and something to choose from."""
    if (given.trials is None) == (given.minutes is None):
        both = "trials and minutes both bound the search." if given.trials else "nothing bounds the search."
        hint = "trials: 30 tries the same points on every machine; minutes: 10 as many as there is time for"
        yield Problem(both, allowed="exactly one of trials and minutes", hint=hint)
    if not given.engines and all(space.is_constant for space in given.params.values()):
        hint = "add params, such as params: {max_depth: [3, 8]}, or engines; or drop search"
        yield Problem("there is nothing to search: every parameter has one value.", hint=hint)


@dataclass(frozen=True)
class FamilySpace:
    """An engine, what is fixed of its parameters, what is searched, and where that stands below ``training``."""

    engine: str
    fixed: Mapping[str, Value]
    searched: Mapping[str, Range]
    at: YamlPath

    @property
    def rules(self) -> EngineParams:
        return engines.PARAMS[self.engine]

    def corners(self) -> Iterator[dict[str, Value]]:
        """Points whose validity is that of the whole space: ranges at both of their ends, with all choices."""
        names = list(self.searched)
        ends = [self.searched[name].ends for name in names]
        if math.prod(map(len, ends)) > MOST_CORNERS:
            first = [one[0] for one in ends]
            for place, one in enumerate(ends):
                for value in one:
                    yield {**self.fixed, **dict(zip(names, [*first[:place], value, *first[place + 1 :]], strict=True))}
            return
        for point in itertools.product(*ends):
            yield {**self.fixed, **dict(zip(names, point, strict=True))}

    def is_whole(self, name: str) -> bool:
        """Whether a range is of whole numbers: both ends are, and the engine takes them and nothing between two."""
        space = self.searched[name]
        if not isinstance(space.low, int) or not isinstance(space.high, int):
            return False
        point, at = next(self.corners()), ("params", name)
        taken, between = (
            all(problem.at != at for problem in self.rules.problems({**point, name: value}))
            for value in (space.low, space.low + 0.5)
        )
        return taken and not between


def families(training: Training) -> tuple[FamilySpace, ...]:
    """Each engine of the study, the section's own first; of a spec with a search."""
    found = training.search
    assert found is not None, "only a search has families"
    own = FamilySpace(training.engine, training.params, found.params, ("search", "params"))
    others = (
        FamilySpace(
            one.engine,
            {name: space.ends[0] for name, space in one.params.items() if space.is_constant},
            {name: space for name, space in one.params.items() if not space.is_constant},
            ("search", "engines", number, "params"),
        )
        for number, one in enumerate(found.engines)
    )
    return (own, *others)


def of_training(training: Training) -> Iterator[Problem]:
    """What a search demands of the section around it; places are relative to ``training``."""
    if training.search is None:
        return
    if engines.is_own(training.engine):
        yield Problem(
            f"{training.engine} cannot be searched: nobody knows what its parameters may be before it is imported.",
            ("search",),
            hint=f"drop search, or search one of {', '.join(engines.PARAMS)}",
            is_key=True,
        )
        return
    for name, space in training.search.params.items():
        at: YamlPath = ("search", "params", name)
        if name in training.params:
            yield Problem(f"{name} is fixed in training.params too.", at, hint="drop one of the two", is_key=True)
        elif space.is_constant:
            yield Problem(
                f"{name} has one value only.", at, hint=f"write {name}: {space.ends[0]} below training.params"
            )
    yield from _workers(training)
    yield from _twice(families(training))
    for family in families(training):
        yield from _of_points(family, lambda point, of=family: of.rules.problems(point))
        yield from _steps(family)


def _twice(known: Sequence[FamilySpace]) -> Iterator[Problem]:
    """An engine may be listed again, with other parameters."""
    for number, family in enumerate(known):
        for earlier in known[:number]:
            if replace(family, at=()) == replace(earlier, at=()):
                which = "training.engine" if earlier is known[0] else path_text(earlier.at[:-1])
                yield Problem(
                    f"this is {which} once more, with the same params.",
                    family.at[:-1],
                    hint="give it params of its own, or drop it",
                )
                break


def algorithm_is_fixed(training: Training) -> Iterator[Problem]:
    """What the parameters of the section's own engine depend on stands in ``training.params``."""
    searched = {} if training.search is None else training.search.params
    if training.engine == "spark_ml" and "algorithm" in searched and "algorithm" not in training.params:
        yield Problem(
            "the algorithm of training.engine is not searched: it says what its other parameters may be.",
            ("search", "params", "algorithm"),
            hint="set training.params.algorithm to one; the params of an entry of search.engines may list several, "
            "such as {engine: spark_ml, params: {algorithm: {choices: [gbt, random_forest]}}}",
            is_key=True,
        )


def _steps(family: FamilySpace) -> Iterator[Problem]:
    """From one whole number to another the steps are whole."""
    for name, space in family.searched.items():
        if space.step is not None and not float(space.step).is_integer() and family.is_whole(name):
            yield Problem(
                f"steps of {space.step:g} lead between whole numbers, and {name} takes no others.",
                (*family.at, name, "step"),
                allowed="a whole number",
            )


def _workers(training: Training) -> Iterator[Problem]:
    """What the number of workers must be, so that every trial can have as many."""
    assert training.search is not None, "only a search has trials"
    if training.workers == "auto":
        yield Problem(
            "a search tries trees and depths on which the best number of workers depends.",
            ("workers",),
            allowed="a number, where there is a search",
        )
    elif training.search.parallel > 1 and training.workers > 1:
        yield Problem(
            f"each trial takes {training.workers} of Spark's slots (training.workers), one trial after another.",
            ("search", "parallel"),
            allowed="1 where training.workers is more than 1",
            hint="drop parallel, or set training.workers to 1",
        )
    for family in families(training):
        if family.engine == "torch" and training.workers != 1:
            yield Problem(
                "a network that is tried in a search learns in one process.", ("workers",), allowed="1", hint="drop it"
            )
        elif family.engine != training.engine:
            yield from engines.workers(family.engine, training.workers)


def _of_points(family: FamilySpace, problems: Any) -> Iterator[Problem]:
    """What is wrong with the corners, each said once, at the place of the range or value that it is about."""
    said: set[tuple[YamlPath, str]] = set()
    for point in family.corners():
        for problem in problems(point):
            name = str(problem.at[-1]) if problem.at else ""
            if name not in family.searched and family.at == ("search", "params"):
                continue  # the section's own rules say it
            placed = replace(problem, at=(*family.at, name) if name else family.at)
            if name in family.searched and not problem.is_key:
                placed = replace(placed, message=_of_range(family.searched[name], problem.message))
            if (placed.at, placed.message) not in said:
                said.add((placed.at, placed.message))
                yield placed


def _of_range(space: Range, message: str) -> str:
    if space.low is None:
        return message
    return f"the range goes from {space.low:g} to {space.high:g}, and {message}"


# -- rules between sections --------------------------------------------------------------------------------


def search_suits_task(spec: ModelSpec) -> Iterator[Problem]:
    """Every point of the space must be one for the task."""
    if spec.training.search is None or engines.is_own(spec.training.engine):
        return
    task: Task = spec.label.task
    for family in families(spec.training):
        for problem in _of_points(family, lambda point, of=family: of.rules.problems_of_task(point, task)):
            yield replace(problem, at=("training", *problem.at))


def window_has_room_for_folds(spec: ModelSpec) -> Iterator[Problem]:
    """Each fold is a day or more, and there is a day or more before the first."""
    if spec.training.search is None or spec.window is None:
        return
    folds, days = spec.training.search.folds, spec.window.train // timedelta(days=1)
    if days <= folds:
        yield Problem(
            f"{folds} folds need {folds + 1} days or more, and window.train has {days}.",
            ("training", "search", "folds"),
            allowed=f"1 to {days - 1}" if days > 1 else None,
            hint="lengthen window.train, or lower folds",
        )


def folds_have_time(spec: ModelSpec) -> Iterator[Problem]:
    """What is judged comes after what was learned; rows of a static source have no time."""
    if spec.training.search is not None and spec.source.static:
        yield Problem(
            "the folds of a search follow one another in time, and rows of a static source have none.",
            ("training", "search"),
            hint="drop it",
            is_key=True,
        )


BETWEEN_SECTIONS: Sequence[Any] = (
    (folds_have_time, {"source", "training"}),
    (search_suits_task, {"label", "training"}),
    (window_has_room_for_folds, {"training", "window"}),
)
