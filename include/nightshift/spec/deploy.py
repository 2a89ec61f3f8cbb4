"""The section ``deploy``: where a model serves, and what it may take there."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from nightshift.spec.base import SpecModel
from nightshift.spec.problem import Problem, rejection

MILLISECONDS = re.compile(r"([1-9][0-9]{0,5})\s*(ms|s)")
MILLISECONDS_WORDS = "milliseconds or seconds, such as 50ms or 2s"
MEMORY = re.compile(r"([1-9][0-9]{0,5})\s*(MB|GB)")
MEMORY_WORDS = "megabytes or gigabytes, such as 512MB or 4GB"


def parse_milliseconds(value: Any) -> int:
    """``50ms`` or ``2s`` in milliseconds.

    Raises:
        ValueError: It is something else.
    """
    return _parse(value, MILLISECONDS, {"ms": 1, "s": 1000}, "a time", MILLISECONDS_WORDS)


def format_milliseconds(value: int) -> str:
    """The shortest text that ``parse_milliseconds`` reads back."""
    return f"{value}ms" if value % 1000 else f"{value // 1000}s"


def parse_memory(value: Any) -> int:
    """``512MB`` or ``4GB`` in megabytes, of which a gigabyte has 1024.

    Raises:
        ValueError: It is something else.
    """
    return _parse(value, MEMORY, {"MB": 1, "GB": 1024}, "an amount of memory", MEMORY_WORDS)


def format_memory(value: int) -> str:
    """The shortest text that ``parse_memory`` reads back."""
    return f"{value}MB" if value % 1024 else f"{value // 1024}GB"


def _parse(value: Any, pattern: re.Pattern[str], units: dict[str, int], what: str, allowed: str) -> int:
    match = pattern.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        bare = re.fullmatch(r"[1-9][0-9]{0,5}", str(value).strip())
        hint = f"write {', '.join(f'{bare[0]}{unit}' for unit in units)}, whichever is meant" if bare else None
        raise rejection(Problem(f"{value!r} is not {what}.", allowed=allowed, hint=hint))
    return int(match[1]) * units[match[2]]


def _schema(pattern: re.Pattern[str], words: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*{pattern.pattern}\s*$", "patternErrorMessage": words})


Milliseconds = Annotated[
    int,
    BeforeValidator(parse_milliseconds),
    PlainSerializer(format_milliseconds, return_type=str),
    _schema(MILLISECONDS, MILLISECONDS_WORDS),
]
Megabytes = Annotated[
    int,
    BeforeValidator(parse_memory),
    PlainSerializer(format_memory, return_type=str),
    _schema(MEMORY, MEMORY_WORDS),
]


class LatencyBounds(SpecModel):
    """How long a call with one row may take, on one thread and without a network."""

    budget: Milliseconds = Field(default=50, json_schema_extra={"default": "50ms"})
    """Of 95 % of the calls, the slowest may take this long."""
    versus_champion: Annotated[float, Field(ge=1)] = 1.5
    """How many times as long as the champion's half of the calls may take, called in turn in the same process."""


class Deploy(SpecModel):
    """Where the model serves, and what it may take there; a version that takes more is not promoted."""

    target: Literal["local"] = "local"
    """Where the model serves."""
    latency: LatencyBounds = LatencyBounds()
    """How long one row may take."""
    memory: Megabytes = Field(default=4096, json_schema_extra={"default": "4GB"})
    """Address space of the process that loads and scores a version before it may ship."""
