"""Schedules: cron of five fields, in UTC."""

from __future__ import annotations

import re
from functools import lru_cache

from nightshift.spec.problem import Problem, reject, rejection

FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12 or jan-dec"),
    ("day of the week", "0-7 or sun-sat"),
)
ALLOWED = 'cron in UTC, five fields: minute hour day-of-month month day-of-week, such as "0 2 * * *"'
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# Names of days and months, and L for the last day. croniter also knows R and H: another time at every parse.
WORDS = re.compile(r"sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|l", re.IGNORECASE)


@lru_cache(maxsize=256)
def check_cron(text: str) -> str:
    """The expression itself, if a scheduler can use it.

    Raises:
        ValueError: It cannot; the message names the field.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise rejection(_wrong_length(text, fields))
    wrong = [number for number in range(len(FIELDS)) if not _is_valid(fields, number)]
    reject(
        Problem(
            f"{text!r} is not a cron expression: its {FIELDS[number][0]} is {fields[number]!r}.",
            allowed=f"{FIELDS[number][1]}, *, lists (1,15), ranges (1-5) and steps (*/6)",
        )
        for number in wrong
    )
    _check_comes(text)
    return text


def _wrong_length(text: str, fields: list[str]) -> Problem:
    preset = PRESETS.get(text.strip().lower())
    hint = f'write "{preset}"' if preset else None
    if len(fields) == len(FIELDS) + 1:
        hint = "leave the seconds out"
    count = f"{len(fields)} cron field{'' if len(fields) == 1 else 's'}"
    return Problem(f"{text!r} has {count} instead of 5.", allowed=ALLOWED, hint=hint)


def _is_valid(fields: list[str], number: int) -> bool:
    from croniter import croniter

    if re.search("[a-z]", WORDS.sub("", fields[number]), re.IGNORECASE):
        return False
    alone = ["*"] * len(fields)
    alone[number] = fields[number]
    return bool(croniter.is_valid(" ".join(alone)))


def _check_comes(text: str) -> None:
    from croniter import CroniterBadCronError, CroniterBadDateError, croniter

    try:
        croniter(text, 0.0).get_next(float)
    except (CroniterBadCronError, CroniterBadDateError):
        problem = Problem(f"{text!r} never comes.", allowed=ALLOWED, hint="look at the day and the month")
        raise rejection(problem) from None
