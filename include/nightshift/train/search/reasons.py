"""Why trials failed, in few words: reasons that differ in their numbers only are one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?")


@dataclass(frozen=True)
class Reason:
    """What several trials failed with.

    Attributes:
        first: As the first of them says it.
        often: How many they are.
        varies: Others say it with other numbers.
    """

    first: str
    often: int
    varies: bool


def reasons_of(errors: Iterable[str]) -> list[Reason]:
    """The commonest first, of equally common ones the earliest."""
    alike: dict[str, list[str]] = {}
    for error in errors:
        alike.setdefault(NUMBERS.sub("0", error), []).append(error)
    found = (Reason(each[0], len(each), len(set(each)) > 1) for each in alike.values())
    return sorted(found, key=lambda reason: -reason.often)
