"""Which side table multiplies rows: the join columns that it has more than once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nightshift.spec.models import ModelSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def repeated_join_keys(spark: SparkSession, spec: ModelSpec) -> list[str]:
    """A sentence for each side table whose join columns do not name one row.

    Only joins on columns of a declared table are looked at; a join on expressions of a subquery is not.
    """
    found = []
    for table, columns in join_columns(spec.prepare_sql, set(spec.tables)):
        quoted = [f"`{name}`" for name in columns]
        repeated = (
            spark.table(table)
            .where(" AND ".join(f"{name} IS NOT NULL" for name in quoted))
            .groupBy(*columns)
            .count()
            .where("count > 1")
            .orderBy("count", *columns, ascending=[False, *(True for _ in columns)])
        )
        row = repeated.selectExpr(*(f"string({name}) AS {name}" for name in quoted), "count").first()
        if row is not None:
            example = ", ".join(f"{name}={row[name]}" for name in columns)
            found.append(f"{table} on ({', '.join(columns)}): {row['count']} rows with {example}")
    return found


def join_columns(sql: str, tables: set[str]) -> Iterator[tuple[str, list[str]]]:
    """For each join with a declared table, that table and its columns in the join's condition.

    Args:
        sql: The prepare SQL.
        tables: Names of the declared side tables.
    """
    import sqlglot
    from sqlglot import exp

    for join in sqlglot.parse_one(sql, dialect="spark").find_all(exp.Join):
        table = join.this
        if not isinstance(table, exp.Table) or table.name not in tables:
            continue
        using = [identifier.name for identifier in join.args.get("using") or []]
        condition = join.args.get("on")
        named = condition.find_all(exp.Column) if condition is not None else []
        columns = [column.name for column in named if column.table == table.alias_or_name]
        if using or columns:
            yield table.name, sorted({*using, *columns})
