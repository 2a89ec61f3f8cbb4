"""One thing that is wrong with a spec, before anybody knows in which file and line it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic_core import PydanticCustomError

YamlPath = tuple[str | int, ...]
PROBLEMS = "spec_problems"


# What a spec's reader leaves a text, as it does not fit into 64 bits: see yaml_source.INTEGER and NUMBER.
_LONG_NUMBER = re.compile(r"\s*[-+]?([0-9]{20,}|([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]{3,})\s*")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: What is wrong, as a sentence that names the value.
        at: Where in the YAML: relative to the model that raises it, absolute once it is reported.
        allowed: What may stand there.
        hint: What to do about it.
        line: Line where it stands, counted from 1, when it is not the line of ``at``.
        column: Column in that line, counted from 1, for syntax errors.
        in_sql: ``line`` is a line of the prepare file.
        is_key: It is about the key itself, not about its value.
    """

    message: str
    at: YamlPath = ()
    allowed: str | None = None
    hint: str | None = None
    line: int | None = None
    column: int | None = None
    in_sql: bool = False
    is_key: bool = False


def reject(problems: Iterable[Problem]) -> None:
    """Raise every problem as one error that pydantic understands; do nothing if there is none.

    Raises:
        PydanticCustomError: There was at least one; also a ValueError.
    """
    found = tuple(problems)
    if found:
        raise rejection(*found)


def rejection(*problems: Problem) -> PydanticCustomError:
    """The error to raise for these problems; also a ValueError."""
    # The text is passed as a value: pydantic would read the braces of a user's text as placeholders.
    return PydanticCustomError(PROBLEMS, "{text}", {"text": "; ".join(map(in_words, problems)), "problems": problems})


def in_words(problem: Problem) -> str:
    """The problem on one line, for errors without a file: specs that were built by code."""
    place = f"{path_text(problem.at)}: " if problem.at else ""
    allowed = f" Allowed: {problem.allowed}." if problem.allowed else ""
    hint = f" Hint: {problem.hint}" if problem.hint else ""
    return f"{place}{problem.message}{allowed}{hint}"


def path_text(path: YamlPath) -> str:
    """``expectations[2].between``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant, or None."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """The hint for a mistyped word, or None when nothing is near."""
    found = nearest(word, choices)
    return f"did you mean {found}?" if found else None


def of_long_number(value: object) -> str | None:
    """What to do about a text that its writer took for a number; None: it looks like none."""
    if not isinstance(value, str) or not _LONG_NUMBER.fullmatch(value):
        return None
    return "a number has at most 19 digits, and its exponent 2; what is longer is read as text"
