"""The scalar types of a spec: durations, days, names. Their patterns are shared with editors through the schema."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from nightshift.spec.cron import check_cron
from nightshift.spec.problem import Problem, rejection

DURATION = re.compile(r"([0-9]{1,5})\s*([dh])")
DURATION_WORDS = "days or hours, such as 60d or 36h"
DAY_WORDS = "a UTC day, such as 2014-01-01"
# What people write for a duration, and its length in our units.
OTHER_UNITS = {"day": (1, "d"), "days": (1, "d"), "hour": (1, "h"), "hours": (1, "h"), "hr": (1, "h")}
OTHER_UNITS |= {"hrs": (1, "h"), "w": (7, "d"), "week": (7, "d"), "weeks": (7, "d")}


def parse_duration(value: Any) -> timedelta:
    """``60d`` or ``36h`` as a timedelta.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, timedelta):
        return value
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise rejection(Problem(f"{value!r} is not a duration.", allowed=DURATION_WORDS, hint=_nearest_duration(value)))
    amount = int(match[1])
    return timedelta(days=amount) if match[2] == "d" else timedelta(hours=amount)


def _nearest_duration(value: Any) -> str | None:
    match = re.fullmatch(r"([0-9]{1,5})\s*([a-z]*)\.?", str(value).strip().lower())
    if match is not None and not match[2]:
        return f"write {match[1]}d for days, {match[1]}h for hours"
    if match is None or match[2] not in OTHER_UNITS:
        return None
    factor, unit = OTHER_UNITS[match[2]]
    return f"write {int(match[1]) * factor}{unit}"


def format_duration(value: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads back; whole hours."""
    hours = int(value.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def parse_utc_day(value: Any) -> datetime:
    """A date, or a UTC midnight, as an aware datetime.

    Raises:
        ValueError: It is something else, or a moment within a day.
    """
    moment = _moment(value)
    if moment is None or moment.time() != datetime.min.time():
        written = value.isoformat() if isinstance(value, date) else str(value)
        raise rejection(Problem(f"{written!r} is not a whole day of the calendar.", allowed=DAY_WORDS))
    return moment


def _moment(value: Any) -> datetime | None:
    """The moment in UTC, or None if it is none."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]{1,5}\s*[dh]\s*$", "patternErrorMessage": DURATION_WORDS}),
]
UtcDay = Annotated[
    datetime,
    BeforeValidator(parse_utc_day),
    PlainSerializer(lambda moment: moment.date().isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date"}),
]


# What each pattern means; editors show it too (patternErrorMessage).
WORDS = {
    r"^[a-z][a-z0-9_]{0,62}$": "lower-case letters, digits and _, beginning with a letter, 63 at most",
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$": "a column name: letters, digits and _, not beginning with a digit",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$": "a package name, as in Python's import statement",
    r"^[A-Za-z0-9_-]+\.sql$": "the name of a .sql file that lies beside the spec, without folders",
    r"^\s*(>=|<=|>|<|==|!=)\s*[^\s=].*$": 'an operator (>=, <=, >, <, ==, !=) and a value, such as ">= 15"',
    r"^expect_[a-z0-9_]+$": "a name such as expect_column_values_to_be_unique",
}
_NAME, _COLUMN, _PACKAGE, _SQL, _POSITIVE, _EXPECTATION = WORDS


def _text(pattern: str) -> Any:
    return Field(pattern=pattern, json_schema_extra={"patternErrorMessage": WORDS[pattern]})


ModelName = Annotated[str, _text(_NAME)]
TableName = Annotated[str, _text(_NAME)]
Column = Annotated[str, _text(_COLUMN)]
PackageName = Annotated[str, _text(_PACKAGE)]
SqlFile = Annotated[str, _text(_SQL)]
PositiveClass = Annotated[str, _text(_POSITIVE)]
Task = Literal["binary", "multiclass", "regression"]
ClassName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 128}, {"type": "integer"}]}),
]
ExpectationName = Annotated[str, _text(_EXPECTATION)]
Cron = Annotated[str, AfterValidator(check_cron)]
