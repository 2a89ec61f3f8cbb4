"""Fitting on the training window: as few passes over the rows as the declared transforms allow.

A transform is fitted on what the transforms before it give. One aggregate query answers the next question
of every numeric column at once, so the number of queries is that of the longest chain of questions (none
by default, one for impute by median, two more for scale), and one query finds the levels of all categories.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nightshift.errors import PrepareError
from nightshift.transforms.columns import NumericColumn
from nightshift.transforms.float32 import INFINITY, text_sql
from nightshift.transforms.protocol import Estimator

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

NUMERIC_TYPES = ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean")


def check_types(frame: DataFrame, request: Sequence[tuple[str, str]]) -> None:
    """Refuse request columns that are absent or whose type would need guessing.

    Raises:
        PrepareError: A column is not in the frame, a numeric one holds no numbers, a categorical one no text.
    """
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    absent = [name for name, _ in request if name not in types]
    if absent:
        raise PrepareError(
            f"features names {', '.join(absent)}, which prepare does not give.",
            hint=f"prepare gives {', '.join(types)}",
        )
    for name, kind in request:
        found = types[name]
        if kind == "numeric" and found not in NUMERIC_TYPES and not found.startswith("decimal"):
            raise PrepareError(
                f"features.numeric names {name}, but prepare gives it as {found}.",
                hint=f"cast it in the prepare SQL, for example try_cast({name} AS DOUBLE) AS {name}",
            )
        if kind == "categorical" and found != "string":
            raise PrepareError(
                f"features.categorical names {name}, but prepare gives it as {found}; categories are text.",
                hint=f"cast it in the prepare SQL: CAST({name} AS STRING) AS {name}",
            )


def fit_numeric(frame: DataFrame, columns: Sequence[NumericColumn]) -> tuple[NumericColumn, ...]:
    """Answer the questions of every numeric column, all columns in one query per round."""
    fitted = list(columns)
    while questions := [(place, *asked) for place, column in enumerate(fitted) if (asked := column.question())]:
        aggregates: list[str] = []
        slices: list[tuple[int, Estimator, slice]] = []
        for place, estimator, value in questions:
            wanted = estimator.aggregates(f"CASE WHEN abs({value}) < {INFINITY} THEN CAST({value} AS DOUBLE) END")
            slices.append((place, estimator, slice(len(aggregates), len(aggregates) + len(wanted))))
            aggregates.extend(wanted)
        log.info("transforms: %d statistics of %d columns in one query", len(aggregates), len(questions))
        row = frame.selectExpr(*(f"{aggregate} AS a{number}" for number, aggregate in enumerate(aggregates))).first()
        for place, estimator, part in slices:
            fitted[place] = fitted[place].answered(estimator.fit(row[part]))
    return tuple(fitted)


def find_levels(frame: DataFrame, limits: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The most frequent levels of every categorical column, in order of name.

    Args:
        frame: Rows of the training window.
        limits: How many levels each column may keep; ties are decided by name.
    """
    if not limits:
        return {}
    pairs = ", ".join(f"{text_sql(name)}, `{name}`" for name in limits)
    counts = (
        frame.selectExpr(f"stack({len(limits)}, {pairs}) AS (feature, level)")
        .where("level <> ''")
        .groupBy("feature", "level")
        .count()
        .selectExpr("feature", "level", "row_number() OVER (PARTITION BY feature ORDER BY count DESC, level) AS place")
        .where(f"place <= {max(limits.values())}")
    )
    kept: dict[str, list[str]] = {name: [] for name in limits}
    for feature, level, place in counts.collect():
        if place <= limits[feature]:
            kept[feature].append(level)
    log.info("transforms: levels %s", ", ".join(f"{name} {len(levels)}" for name, levels in kept.items()))
    return {name: tuple(sorted(levels)) for name, levels in kept.items()}
