"""The engines that a spec can name, and the rules of their parameters. Nothing of a user's own class is imported."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, WithJsonSchema

from nightshift.spec.parameters import EngineParams, Value
from nightshift.spec.problem import Problem, did_you_mean, rejection
from nightshift.spec.spark_ml_params import SPARK_ML
from nightshift.spec.torch_params import TORCH
from nightshift.spec.xgboost_params import XGBOOST

if TYPE_CHECKING:
    from nightshift.spec.values import Task

PARAMS: dict[str, EngineParams] = {"xgboost": XGBOOST, "spark_ml": SPARK_ML, "torch": TORCH}
OWN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
OWN_WORDS = "a class of your own as package.module:Class"
ALLOWED = f"{', '.join(PARAMS)}, or {OWN_WORDS}"


def is_own(engine: str) -> bool:
    """Whether a spec's engine is a user's own class."""
    return ":" in engine


def rules_of(engine: str) -> EngineParams:
    """The rules that a spec is held against; those of an own class are known where the class is."""
    return _OWN_PARAMS if is_own(engine) else PARAMS[engine]


class _OwnParams:
    """Any scalar that a plan can carry."""

    def problems(self, params: Mapping[str, Value]) -> Iterator[Problem]:
        for name, value in params.items():
            if isinstance(value, float) and not math.isfinite(value):
                yield Problem(f"{value!r} is not a finite number.", ("params", name))

    def problems_of_task(self, params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
        yield from ()


_OWN_PARAMS = _OwnParams()


def workers(engine: str, number: int | str) -> Iterator[Problem]:
    """Only some engines take a number of workers."""
    if number == 1:
        return
    if is_own(engine):
        yield Problem(
            f"{engine} learns in one process.", ("workers",), allowed="1", hint="drop the key, or see docs/engines.md"
        )
    elif engine == "spark_ml":
        yield Problem(
            "spark_ml takes no number of workers: as many of its tasks work at once as Spark's executors have cores.",
            ("workers",),
            hint="drop it; NIGHTSHIFT_THREADS is the number of portions the rows are shared out in, and "
            "NIGHTSHIFT_SPARK_CORES limits a job's cores",
            is_key=True,
        )


def _known(engine: str) -> str:
    if engine in PARAMS:
        return engine
    path, colon, name = engine.partition(":")
    if colon and re.fullmatch(OWN, engine) and not any(map(keyword.iskeyword, [*path.split("."), name])):
        if path.split(".")[0] == "nightshift":
            raise rejection(Problem(f"{engine} is no class of your own.", allowed=ALLOWED))
        return engine
    raise rejection(
        Problem(f"{engine!r} is not allowed.", allowed=ALLOWED, hint=did_you_mean(engine, PARAMS) or _meant(engine))
    )


def _meant(engine: str) -> str | None:
    """The class that was probably meant by ``package.module.Class`` or ``package/module.py:Class``."""
    words = engine.strip().replace("/", ".").replace(".py:", ":").replace("::", ":").replace(" ", "")
    if ":" not in words:
        words = ":".join(words.rsplit(".", 1))
    return f"did you mean {words}?" if re.fullmatch(OWN, words) and words != engine else None


EngineName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema(
        {"anyOf": [{"enum": list(PARAMS)}, {"type": "string", "pattern": OWN, "patternErrorMessage": OWN_WORDS}]}
    ),
]
