"""Which parameters of xgboost a spec may set. Plain Python: a spec is checked without loading xgboost."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.values import Task

Value = int | float | str | bool


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
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def admits(self, value: Value) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


OBJECTIVES: dict[Task, tuple[str, ...]] = {
    "binary": ("binary:logistic",),
    "multiclass": ("multi:softprob",),
    "regression": ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"),
}
"""What may be learned, by task, the default first: each gives the score itself, a probability or the label's value."""
_SHARE = Real(0, 1, above=True)
ALLOWED: dict[str, Whole | Real | OneOf] = {
    "n_estimators": Whole(1, 100_000),
    "max_depth": Whole(0, 30),
    "max_leaves": Whole(0, 1 << 20),
    "max_bin": Whole(2, 65_535),
    "grow_policy": OneOf(("depthwise", "lossguide")),
    "learning_rate": _SHARE,
    "min_child_weight": Real(0),
    "gamma": Real(0),
    "max_delta_step": Real(0),
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "colsample_bylevel": _SHARE,
    "colsample_bynode": _SHARE,
    "reg_alpha": Real(0),
    "reg_lambda": Real(0),
    "scale_pos_weight": Real(0, above=True),
    "base_score": Real(-math.inf),
    "objective": OneOf(tuple(sorted({name for names in OBJECTIVES.values() for name in names}))),
}
# What a parameter may be where the task says more than ``ALLOWED``; None: it does nothing there.
BY_TASK: dict[Task, dict[str, Real | None]] = {
    "binary": {"base_score": Real(0, 1, above=True, below=True)},
    # The same number for every class: it falls out of the softmax.
    "multiclass": {"base_score": None, "scale_pos_weight": None},
    "regression": {"scale_pos_weight": None},
}
_ELSEWHERE = {
    "eta": "write learning_rate",
    "alpha": "write reg_alpha",
    "lambda": "write reg_lambda",
    "min_split_loss": "write gamma",
    "num_boost_round": "write n_estimators",
    "num_round": "write n_estimators",
    "seed": "set training.seed",
    "random_state": "set training.seed",
    "nthread": "set NIGHTSHIFT_THREADS",
    "n_jobs": "set NIGHTSHIFT_THREADS",
    "num_workers": "set training.workers",
    "num_class": "it is the number of label.classes",
    "tree_method": "it is always hist",
    "booster": "it is always gbtree",
    "device": "it is always cpu",
    "missing": "it is always NaN; nulls become NaN",
    "eval_metric": "the gates choose the metric that counts",
    "verbosity": "progress is logged by the train stage",
    "early_stopping_rounds": "set n_estimators; the holdout is for judging, not for stopping",
}


def problems(params: Mapping[str, Value]) -> Iterator[Problem]:
    """Parameters that xgboost would ignore or misread, or that are not a spec's to set."""
    for name, value in params.items():
        rule, at = ALLOWED.get(name), ("params", name)
        if rule is None:
            allowed = None if _near(name) else ", ".join(ALLOWED)
            message = f"{name} is no parameter that a spec can set."
            yield Problem(message, at, allowed=allowed, hint=_hint(name), is_key=True)
        elif not rule.admits(value):
            yield Problem(f"{value!r} is not {rule}.", at, allowed=str(rule))


def problems_of_task(params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
    """Parameters that are good for another task only, by their place in the spec."""
    for name, value in params.items():
        at, general = ("training", "params", name), ALLOWED.get(name)
        if general is None or not general.admits(value):
            continue
        if name == "objective" and value not in OBJECTIVES[task]:
            learner = next(other for other, names in OBJECTIVES.items() if value in names)
            yield Problem(
                f"{value} learns {learner}, and the task is {task}.",
                at,
                allowed=", ".join(OBJECTIVES[task]),
                hint="drop it, or see label.task",
            )
        rule = BY_TASK[task].get(name, general)
        if rule is None:
            yield Problem(f"{name} does nothing for {task}.", at, hint="drop it", is_key=True)
        elif not rule.admits(value):
            yield Problem(f"{value!r} is not {rule}.", at, allowed=str(rule))


def _near(name: str) -> str | None:
    return next(iter(difflib.get_close_matches(name, [*ALLOWED, *_ELSEWHERE], n=1)), None)


def _hint(name: str) -> str | None:
    near = _near(name)
    if near is None:
        return None
    if near == name:
        return _ELSEWHERE[name]
    return f"did you mean {near}? {_ELSEWHERE[near]}" if near in _ELSEWHERE else f"did you mean {near}?"
