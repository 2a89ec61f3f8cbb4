"""What an engine's own parameters may be. Plain Python: a spec is checked without loading any library."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nightshift.spec.problem import Problem, YamlPath, of_long_number

if TYPE_CHECKING:
    from nightshift.spec.values import Task

Value = int | float | str | bool
SMALLEST, LARGEST = 1.1754944e-38, 3.4028234e38
"""Of the float32 that have all of their digits."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from ``low`` to ``high``."""

    low: int
    high: int

    def admits(self, value: Value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """Finite numbers from ``low`` to ``high``; with ``above`` the low end is not allowed itself."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def admits(self, value: Value) -> bool:
        if isinstance(value, bool | str) or not math.isfinite(value):
            return False
        low_holds = value > self.low if self.above else value >= self.low
        return low_holds and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "a finite number"
        low = f"{'above' if self.above else 'at least'} {self.low:g}"
        if self.high == math.inf:
            return f"a number {low}"
        return f"a number {low} and {'below' if self.below else 'at most'} {self.high:g}"


@dataclass(frozen=True)
class Single(Real):
    """The same, for a library that reads them as float32 and refuses what becomes 0 or infinite there."""

    def admits(self, value: Value) -> bool:
        return super().admits(value) and (value == 0 or SMALLEST <= abs(float(value)) <= LARGEST)

    def words(self, value: Value) -> str:
        """What is allowed, and what float32 has to do with it where that is why a value is not."""
        return f"{self} that float32 can hold" if super().admits(value) else str(self)


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def admits(self, value: Value) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def admits(self, value: Value) -> bool:
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class SomeOf:
    """How many of several things: one of a few words, a number of them, or a share above 0 and at most 1."""

    words: tuple[str, ...]

    def admits(self, value: Value) -> bool:
        if isinstance(value, str):
            return value in self.words
        if isinstance(value, float):
            return 0 < value <= 1
        return not isinstance(value, bool) and value >= 1

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}, a whole number from 1, or a share such as 0.5"


Rule = Whole | Real | OneOf | Flag | SomeOf


def _not_allowed(value: Value, rule: Rule, at: YamlPath) -> Problem:
    allowed = rule.words(value) if isinstance(rule, Single) else str(rule)
    return Problem(f"{value!r} is not {allowed}.", at, allowed=allowed, hint=of_long_number(value))


class EngineParams(Protocol):
    """The rules of one engine."""

    def problems(self, params: Mapping[str, Value]) -> Iterator[Problem]:
        """Parameters that the engine would ignore or misread, or that are not a spec's to set.

        Args:
            params: The section ``params``; places in the problems are relative to ``training``.
        """

    def problems_of_task(self, params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
        """Parameters that are good for another task only, by their place in the spec."""


@dataclass(frozen=True)
class Parameters:
    """Parameters by name; what most engines need for ``EngineParams``.

    Attributes:
        allowed: Every parameter that a spec may set.
        elsewhere: What to do about names that people write instead.
        by_task: What a parameter may be where the task says more than ``allowed``; None: it does nothing there.
    """

    allowed: Mapping[str, Rule]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    by_task: Mapping[Task, Mapping[str, Rule | None]] = field(default_factory=dict)

    def problems(self, params: Mapping[str, Value]) -> Iterator[Problem]:
        """See ``EngineParams.problems``."""
        for name, value in params.items():
            rule, at = self.allowed.get(name), ("params", name)
            if rule is None:
                allowed = None if self._near(name) else ", ".join(self.allowed)
                message = f"{name} is no parameter that a spec can set."
                yield Problem(message, at, allowed=allowed, hint=self._hint(name), is_key=True)
            elif not rule.admits(value):
                yield _not_allowed(value, rule, at)

    def problems_of_task(self, params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
        """See ``EngineParams.problems_of_task``."""
        for name, value in params.items():
            at, general = ("training", "params", name), self.allowed.get(name)
            if general is None or not general.admits(value):
                continue
            rule = self.by_task.get(task, {}).get(name, general)
            if rule is None:
                yield Problem(f"{name} does nothing for {task}.", at, hint="drop it", is_key=True)
            elif not rule.admits(value):
                yield _not_allowed(value, rule, at)

    def _near(self, name: str) -> str | None:
        return next(iter(difflib.get_close_matches(name, [*self.allowed, *self.elsewhere], n=1)), None)

    def _hint(self, name: str) -> str | None:
        near = self._near(name)
        if near is None:
            return None
        if near == name:
            return self.elsewhere[name]
        return f"did you mean {near}? {self.elsewhere[near]}" if near in self.elsewhere else f"did you mean {near}?"
