"""The prepare SQL: run, and its output checked against what the spec promises, with the place of every fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.errors import PrepareError
from nightshift.plan import Plan
from nightshift.preprocess.axis import BUCKET, TIME, axis_of
from nightshift.spec.label_column import label_column
from nightshift.spec.models import ModelSpec
from nightshift.transforms.fitting import NUMERIC_TYPES, check_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LABEL, FEATURES, WINDOW = "__label", "__features", "__window"
RESERVED = (TIME, BUCKET, LABEL, FEATURES, WINDOW)

LINE = re.compile(r"line (\d+)[, ]+(?:pos(?:ition)?) (\d+)")
SQLSTATE = re.compile(r"\s*SQLSTATE: \w+.*$")


@dataclass(frozen=True)
class Prepared:
    """Prepare's output, ready to be counted, fitted on and written.

    Attributes:
        frame: Every request column (prepare's output without the label), the axis (``__time``, or ``__bucket``),
            ``__label`` (tinyint, for regression double; null where unlabelled) and ``__window`` (train, holdout or
            outside).
        source: The rows that prepare was given.
        key: The key columns.
        columns: The request columns, in prepare's order.
        axis: ``__time``; of a static source ``__bucket``.
        label_type: Spark SQL type of ``__label``.
    """

    frame: DataFrame
    source: DataFrame
    key: tuple[str, ...]
    columns: tuple[str, ...]
    axis: str
    label_type: str


def prepare(spark: SparkSession, plan: Plan) -> Prepared:
    """Analyse the prepare SQL over the registered views. No row is read yet.

    Raises:
        PrepareError: Spark refuses the SQL, or its output is not what the spec needs.
    """
    spec = plan.spec
    with explained(spec):
        output = spark.sql(spec.prepare_sql)
    source = spark.table("source")
    _check_columns(spec, source, output)
    check_types(output, _request(spec))
    label = _label_sql(spec, output)
    _check_deterministic(spec, output)
    columns = tuple(name for name in output.columns if name != spec.label.column)
    types = {field.name: field.dataType.simpleString() for field in output.schema.fields}
    axis = axis_of(plan, types)
    frame = output.selectExpr(
        *(_normal(name, types[name], spec) for name in columns),
        f"{axis.sql} AS {axis.name}",
        f"{label} AS {LABEL}",
        f"{axis.window} AS {WINDOW}",
    )
    label_type = "DOUBLE" if spec.label.task == "regression" else "TINYINT"
    return Prepared(frame, source, spec.key, columns, axis.name, label_type)


@contextmanager
def explained(spec: ModelSpec) -> Iterator[None]:
    """Turn what Spark says about the user's SQL into an error that names file and line.

    Raises:
        PrepareError: Spark could not parse, resolve or compute the SQL.
    """
    from pyspark.errors import AnalysisException

    try:
        with computed(spec):
            yield
    except AnalysisException as error:
        raise PrepareError(*_place_and_reason(str(error), spec)) from error


@contextmanager
def computed(spec: ModelSpec) -> Iterator[None]:
    """The same for queries over the SQL's output: only faults of values, such as a division by zero.

    Raises:
        PrepareError: Spark could not compute the SQL.
    """
    from pyspark.errors import (
        ArithmeticException,
        ArrayIndexOutOfBoundsException,
        DateTimeException,
        NumberFormatException,
        SparkRuntimeException,
        UnsupportedOperationException,
    )

    try:
        yield
    except (
        ArithmeticException,
        ArrayIndexOutOfBoundsException,
        DateTimeException,
        NumberFormatException,
        SparkRuntimeException,
        UnsupportedOperationException,
    ) as error:
        raise PrepareError(*_place_and_reason(str(error), spec)) from error


def _place_and_reason(message: str, spec: ModelSpec) -> tuple[str]:
    first = SQLSTATE.sub("", message.strip().splitlines()[0])
    match = LINE.search(message)
    lines = spec.prepare_sql.splitlines()
    if match is None or not 1 <= int(match[1]) <= len(lines):
        return (f"{spec.prepare}: {first}",)
    number = int(match[1])
    # Errors while rows are computed count positions from 1, errors before that from 0.
    column = max(int(match[2]) - ("position" in match[0]), 0)
    return (f"{spec.prepare}, line {number}: {first}\n    {lines[number - 1]}\n    {' ' * column}^",)


def _check_columns(spec: ModelSpec, source: DataFrame, output: DataFrame) -> None:
    given = output.columns
    twice = sorted({name for name in given if [other.lower() for other in given].count(name.lower()) > 1})
    if twice:
        raise PrepareError(
            f"{spec.prepare}: the output has {', '.join(twice)} more than once.",
            hint="name the columns instead of using *, or give one of them another name with AS",
        )
    for role, names in (("key", spec.key), ("source.time", _time(spec)), ("label", [spec.label.column])):
        absent = [name for name in names if name not in given]
        if absent:
            raise PrepareError(
                f"{spec.prepare}: the output lacks {', '.join(absent)} ({role}).",
                hint=f"add it to the SELECT list; the output has {', '.join(given)}",
            )
    taken = sorted({name.lower() for name in given} & set(RESERVED))
    if taken:
        raise PrepareError(
            f"{spec.prepare}: the output has a column {taken[0]}, a name that Nightshift uses itself.",
            hint="give it another name with AS",
        )
    forbidden = [name for name in spec.features.forbidden if name in given and name != spec.label.column]
    if forbidden:
        raise PrepareError(
            f"{spec.prepare}: the output has {', '.join(forbidden)}, which features.forbidden says is known only "
            "after the prediction.",
            hint="leave it out of the SELECT list: every output column but the label is part of a request",
        )
    _check_unchanged_types(spec, source, output)


def _check_unchanged_types(spec: ModelSpec, source: DataFrame, output: DataFrame) -> None:
    """Keys and times are compared with the source's, so they must still be the same thing."""
    before, after = _types(source), _types(output)
    for name in dict.fromkeys((*spec.key, *_time(spec))):
        if name not in before:
            raise PrepareError(
                f"the source has no column {name}, which is part of the key or the time.",
                hint=f"the source has {', '.join(before)}",
            )
        if before[name] != after[name]:
            raise PrepareError(
                f"{spec.prepare}: {name} is {before[name]} in the source and {after[name]} in the output.",
                hint="select key and time columns as they are, and put a changed copy under another name",
            )


def _label_sql(spec: ModelSpec, output: DataFrame) -> str:
    """The expression that reads the label; raises PrepareError: the column does not hold what the task needs."""
    reader = label_column(spec.label)
    found = _types(output)[spec.label.column]
    numeric = (found in NUMERIC_TYPES and found != "boolean") or found.startswith("decimal")
    kind = "number" if numeric else {"string": "text"}.get(found, found)
    if kind not in reader.kinds:
        key = "label.positive" if spec.label.task == "binary" else "label.task"
        raise PrepareError(
            f"{spec.prepare}: the label {spec.label.column} is {found}, but {reader.says} "
            f"a {' or a '.join(reader.kinds)}.",
            hint=f"give another column as label.column, or change {key}",
        )
    return reader.sql(spec.label.column, kind)


def _check_deterministic(spec: ModelSpec, output: DataFrame) -> None:
    """A random or partition-dependent function would make every run of the same night another night."""
    if not output._jdf.queryExecution().analyzed().deterministic():
        raise PrepareError(
            f"{spec.prepare}: the SQL uses a function whose result changes from run to run, such as rand() or uuid().",
            hint="derive the value from the row, for example from a hash of its key",
        )


def _normal(name: str, kind: str, spec: ModelSpec) -> str:
    """Numbers that a request can hold: JSON has neither decimals nor, for a numeric feature, true and false."""
    exotic = kind == "boolean" or kind.startswith("decimal")
    if name in spec.features.numeric and name not in spec.key and exotic:
        return f"CAST(`{name}` AS DOUBLE) AS `{name}`"
    return f"`{name}`"


def _request(spec: ModelSpec) -> list[tuple[str, str]]:
    numeric = [(name, "numeric") for name in spec.features.numeric]
    return numeric + [(name, "categorical") for name in spec.features.categorical]


def _time(spec: ModelSpec) -> list[str]:
    return [] if spec.source.time is None else [spec.source.time]


def _types(frame: DataFrame) -> Mapping[str, str]:
    return {field.name: field.dataType.simpleString() for field in frame.schema.fields}
