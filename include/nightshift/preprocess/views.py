"""What the prepare SQL reads: the view ``source`` over the days of both windows, one view per side table.

Days may differ in the type of a column: one may hold only whole numbers where another has fractions, or
only nulls, whose type means nothing. The parquet footers say so, and the view has the type that holds all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from nightshift.errors import DataError, IntegrityError
from nightshift.plan import Plan
from nightshift.storage import Manifest, Ref, Store

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

ROWS = "rows"


@dataclass(frozen=True)
class Snapshot:
    """One parquet file and what its footer says.

    Attributes:
        path: Where it is, as Spark takes it.
        ref: The version it belongs to.
        rows: How many rows it has.
        types: Arrow type of each column.
        empty: Columns that hold nothing but nulls.
    """

    path: str
    ref: Ref
    rows: int
    types: Mapping[str, pa.DataType]
    empty: frozenset[str]


def days_of(plan: Plan, store: Store, inputs: Mapping[str, Ref]) -> list[Manifest]:
    """The validated days of the training and holdout windows, oldest first.

    Raises:
        DataError: There is none.
    """
    windows = plan.windows
    days = dict.fromkeys(day for window in (windows.train, windows.holdout) for day in window.days())
    names = [f"valid/{day.key}" for day in days]
    found = [store.resolve(inputs[name]) for name in names if name in inputs]
    if not found:
        raise DataError(
            f"no day of the windows {windows.train} and {windows.holdout} has validated data.",
            hint="source.since and source.until say which days exist; run ingest and validate for this night first",
        )
    return found


def register(spark: SparkSession, store: Store, plan: Plan, days: list[Manifest], inputs: Mapping[str, Ref]) -> int:
    """Make the views; gives the number of rows of ``source``.

    Args:
        spark: The session.
        store: Where the versions are.
        plan: The run's plan.
        days: What ``source`` shows.
        inputs: Has the side tables, as ``table.<name>``.

    Raises:
        DataError: Days disagree about a column's type.
        IntegrityError: A file is not the one that was published, or a side table was not handed on.
    """
    files = [file for day in days for file in _snapshots(store, day)]
    _view(spark, files, name="source")
    for table in plan.spec.tables:
        ref = inputs.get(f"table.{table}")
        if ref is None:
            raise IntegrityError(f"validate did not hand on the side table {table}.", hint="clear the run's first task")
        _view(spark, _snapshots(store, store.resolve(ref)), name=table)
    rows = sum(file.rows for file in files)
    log.info("%d days, %d rows; side tables: %s", len(days), rows, ", ".join(plan.spec.tables) or "none")
    return rows


def _snapshots(store: Store, manifest: Manifest) -> list[Snapshot]:
    """Files of a version's rows, each checked against its digest."""
    import pyarrow.parquet as pq

    prefix = manifest.outputs[ROWS].prefix + "/"
    entries = [entry for entry in manifest.files if entry.path.startswith(prefix)]
    found = []
    for entry, path in zip(entries, store.uris(manifest, ROWS), strict=True):
        footer = pq.read_metadata(BytesIO(store.read(manifest, entry.path)))
        types = {field.name: _plain(field.type) for field in footer.schema.to_arrow_schema()}
        found.append(Snapshot(path, manifest.ref, footer.num_rows, types, _empty_columns(footer)))
    return found


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type as Spark reads it: how Arrow keeps a text in memory says nothing about the file."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _empty_columns(footer: pa.parquet.FileMetaData) -> frozenset[str]:
    """Columns whose statistics count as many nulls as rows; those without statistics are not empty."""
    if footer.num_rows == 0:
        return frozenset(footer.schema.to_arrow_schema().names)
    nulls: dict[str, int] = {}
    for group in (footer.row_group(number) for number in range(footer.num_row_groups)):
        for column in (group.column(number) for number in range(group.num_columns)):
            statistics = column.statistics
            counted = statistics.null_count if statistics is not None and statistics.has_null_count else 0
            nulls[column.path_in_schema] = nulls.get(column.path_in_schema, 0) + counted
    return frozenset(name for name, count in nulls.items() if count == footer.num_rows)


def common_types(files: Iterable[Snapshot], *, name: str) -> dict[str, pa.DataType]:
    """The narrowest type of each column that holds every file's values.

    Raises:
        DataError: There is none; the message names the column and two of the versions.
    """
    import pyarrow as pa

    found: dict[str, tuple[pa.DataType, Snapshot]] = {}
    for file in files:
        for column, stored in file.types.items():
            before, where = found.get(column, (pa.null(), file))
            kind = pa.null() if column in file.empty else stored
            wider = _wider(before, kind)
            if wider is None:
                raise DataError(
                    f"{name}: column {column} is {before} in {where.ref} and {kind} in {file.ref}.",
                    hint="give the column one type in the source, or start the window after the change",
                )
            found[column] = (wider, where if wider == before else file)
    return {column: kind for column, (kind, _) in found.items()}


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    numbers = [kind for kind in (left, right) if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    if len(numbers) < 2:
        return None
    return pa.int64() if all(map(pa.types.is_integer, numbers)) else pa.float64()


def _view(spark: SparkSession, files: list[Snapshot], *, name: str) -> None:
    types = common_types(files, name=name)
    groups: dict[tuple[tuple[str, str], ...], list[Snapshot]] = {}
    for file in files:
        groups.setdefault(tuple((column, str(kind)) for column, kind in sorted(file.types.items())), []).append(file)
    frames = [_read(spark, group, types) for group in groups.values()]
    frame = frames[0]
    for other in frames[1:]:
        frame = frame.unionByName(other)
    frame.createOrReplaceTempView(name)


def _read(spark: SparkSession, files: list[Snapshot], types: Mapping[str, pa.DataType]) -> DataFrame:
    """Files of one physical schema, in the common types. Giving the schema saves Spark a job that infers it."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    physical = {column: kind for column, kind in files[0].types.items() if not pa.types.is_null(kind)}
    stored = from_arrow_schema(pa.schema(physical.items()), prefer_timestamp_ntz=True)
    # A column without any value anywhere is a double, which prepare can do the most with.
    wanted = from_arrow_schema(
        pa.schema((column, pa.float64() if pa.types.is_null(kind) else kind) for column, kind in types.items()),
        prefer_timestamp_ntz=True,
    )
    columns = []
    for field in wanted.fields:
        # A moment without a zone is UTC.
        target = field.dataType.simpleString().replace("timestamp_ntz", "timestamp")
        same = field.name in physical and stored[field.name].dataType.simpleString() == target
        value = f"`{field.name}`" if field.name in physical else "NULL"
        columns.append(value if same else f"CAST({value} AS {target}) AS `{field.name}`")
    return spark.read.schema(stored).parquet(*(file.path for file in files)).selectExpr(*columns)
