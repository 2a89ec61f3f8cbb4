"""Types of columns, decided over whole files and kept from day to day.

A day that happens to hold only nulls or only whole numbers must not change a column's type: readers of
many days need one schema. So types form an order, and the wider one wins: nothing < int64 < double.
Everything else that disagrees is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from nightshift.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

NULL_WORDS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Words that mean "no value" among numbers; in text they are text: NA is also Namibia."""
UNKNOWN = "null"
"""Type of a column that has had no value yet; stored as double."""
MOMENT = "timestamp[us, tz=UTC]"

_INEXACT = r"^[-+]?(0[0-9]|[0-9]{16,}$)"
_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?"


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The one type that stands for a family: int64, double, string, timestamp in UTC …; None for nested ones."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    families = (
        (types.is_integer, pa.int64()),
        (types.is_floating, pa.float64()),
        (types.is_timestamp, pa.timestamp("us", tz="UTC")),
        (types.is_string, pa.string()),
        (types.is_large_string, pa.string()),
        (types.is_string_view, pa.string()),
        (types.is_date, pa.date32()),
    )
    for belongs, plain in families:
        if belongs(kind):
            return plain
    return kind if types.is_boolean(kind) or types.is_decimal128(kind) or types.is_null(kind) else None


def kind_of(column: pa.ChunkedArray) -> str:
    """Type that a column's values have: text is looked at, other columns say it themselves.

    Text is a number only if it can be written back as it was or is a decimal number: 01234 stays text,
    and so do whole numbers of 16 and more digits beyond int64.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return UNKNOWN
    if not pa.types.is_string(column.type):
        return str(column.type)
    # Only distinct values matter, and most columns have few.
    values = _without_null_words(pa.chunked_array([pc.unique(column)]))
    if values.null_count == len(values):
        return UNKNOWN
    if (number := _number_kind(values)) is not None:
        return number
    if _is_boolean(values):
        return "bool"
    return MOMENT if _as_moments(values) is not None else "string"


def unify(left: str, right: str) -> str:
    """The narrowest type that holds both."""
    if right in (left, UNKNOWN):
        return left
    if left == UNKNOWN:
        return right
    return "double" if {left, right} == {"int64", "double"} else "string"


def settle(found: Iterable[Mapping[str, str]], before: Iterable[Mapping[str, str]], *, as_text: bool) -> dict[str, str]:
    """Types of this night's columns.

    Args:
        found: Types by column, of each file that was read.
        before: Types by column, of the days already stored, oldest first.
        as_text: The files are text, so that any value can stay text.

    Returns:
        For each column that was found: the type it had before, or the wider number type; what was found,
        where that is another type altogether (validation then reports the change).
    """
    stored: dict[str, str] = {}
    for types in before:
        for name, kind in types.items():
            stored[name] = _widen(stored.get(name, UNKNOWN), kind, as_text=as_text)
    settled: dict[str, str] = {}
    for types in found:
        for name, kind in types.items():
            settled[name] = unify(settled.get(name, UNKNOWN), kind)
    return {name: _widen(stored.get(name, UNKNOWN), kind, as_text=as_text) for name, kind in settled.items()}


def _widen(before: str, found: str, *, as_text: bool) -> str:
    both = unify(before, found)
    # Text that looks like numbers for once stays text; numbers that become text are a change to report.
    stays_text = before == "string" and (as_text or found == UNKNOWN)
    return found if both == "string" and not stays_text else both


def convert(column: pa.ChunkedArray, kind: str, *, name: str) -> pa.ChunkedArray:
    """A column in its settled type.

    Args:
        column: Text of a csv file, or typed values.
        kind: The settled type.
        name: Of the column, for messages.

    Raises:
        SourceError: A value cannot be represented exactly.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = type_named(kind, like=column.type)
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if not pa.types.is_string(column.type) or wanted == column.type:
        return _cast(column, wanted, name)
    values = _without_null_words(column)
    if values.null_count == len(values):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if kind == MOMENT:
        return cast("pa.ChunkedArray", _as_moments(values))
    if kind == "bool":
        return pc.equal(pc.utf8_lower(values), "true")
    converted = _cast(values, wanted, name)
    return pc.if_else(pc.is_nan(converted), None, converted) if kind == "double" else converted


def type_named(kind: str, *, like: pa.DataType | None = None) -> pa.DataType:
    """The Arrow type with a name; ``like`` where it is one that names cannot carry (decimals)."""
    import pyarrow as pa

    known = {
        UNKNOWN: pa.float64(),
        "double": pa.float64(),
        "int64": pa.int64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "date32[day]": pa.date32(),
        MOMENT: pa.timestamp("us", tz="UTC"),
    }
    return known.get(kind, like)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(wanted)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"column {name} of type {column.type} cannot be stored as {wanted}: {str(error).splitlines()[0]}",
            hint="other rows or days of the column have that type; give it one type in the source",
        ) from error


def _without_null_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_in(column, pa.array(NULL_WORDS)), None, column)


def _number_kind(values: pa.ChunkedArray) -> str | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        whole = values.cast(pa.int64())
        if pc.all(pc.equal(whole.cast(pa.string()), values)).as_py():
            return "int64"
    except pa.ArrowInvalid:
        pass
    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.match_substring_regex(values, _INEXACT)).as_py() else "double"


def _is_boolean(values: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.all(pc.is_in(pc.utf8_lower(values.drop_null()), pa.array(["true", "false"]))).as_py())


def _as_moments(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """ISO text as timestamps; None if any value is something else, or some have a zone and some have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(values, f"^{_DATE}{_CLOCK}$")).as_py():
        return None
    utc = pa.timestamp("us", tz="UTC")
    for kind in (utc, pa.timestamp("us")):
        try:
            return values.cast(kind).cast(utc)
        except pa.ArrowInvalid:
            continue
    return None


def read_moments(column: pa.ChunkedArray, *, name: str) -> pa.ChunkedArray:
    """The time column as timestamps in UTC, microseconds; null where a value is no moment.

    ISO text with Z, with an offset or without a zone (then UTC); timestamps; dates mean their midnight.

    Raises:
        SourceError: The column holds something that is no time at all, such as numbers.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    utc = pa.timestamp("us", tz="UTC")
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), utc)])
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(utc, safe=False)
    if not pa.types.is_string(column.type):
        raise SourceError(
            f"the time column {name} has type {column.type}, which is no time.",
            hint="use ISO text such as 2013-07-14T10:00:00Z, a timestamp or a date",
        )
    if (whole := _as_moments(column)) is not None:
        return whole
    # Mixed zones or bad values: row by row. Dates before 1678 and after 2261 are no moments to pandas.
    iso = pc.match_substring_regex(column, f"^{_DATE}({_CLOCK})?$")
    kept = pc.if_else(pc.fill_null(iso, False), column, None)
    moments = pd.to_datetime(kept.to_pandas(), utc=True, format="ISO8601", errors="coerce")
    return pa.chunked_array([pa.Array.from_pandas(moments.astype("datetime64[us, UTC]"), type=utc)])
