"""A day compared with the days before it: how many rows, which columns, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from nightshift.errors import SpecError
from nightshift.shift.comparison import compare
from nightshift.shift.summary import Summary, summarize
from nightshift.spec.data_checks import CheckName, DataChecks
from nightshift.spec.models import ModelSpec, Volume
from nightshift.spec.problem import did_you_mean
from nightshift.validate.verdict import DayVerdict

NEEDED = 3
"""Fewest earlier days that make a comparison."""
WIDER = {("int64", "double")}
LATER: tuple[CheckName, ...] = ("nulls", "sentinel", "dominance", "explosion")
"""Checks that columns are let off which are known only after the prediction: the newest days have little of them."""


def check_volume(verdict: DayVerdict, limits: Volume, earlier: Sequence[int]) -> None:
    """Block a day with too few rows, or far more or fewer than the days before.

    Args:
        verdict: The day.
        limits: Of the spec.
        earlier: Rows of the earlier days, oldest first.
    """
    rows = verdict.rows.num_rows
    if rows < limits.minimum:
        verdict.problems.append(f"{rows:,} rows; volume.minimum is {limits.minimum:,}")
    trailing = earlier[-limits.trailing_days :]
    if len(trailing) < NEEDED:
        return
    usual = median(trailing)
    low, high = limits.versus_trailing
    ratio = rows / usual if usual else float("inf")
    if not low <= ratio <= high:
        verdict.problems.append(
            f"{rows:,} rows are {ratio:.2f} times the median of the {len(trailing)} days before ({usual:,.0f}); "
            f"volume.versus_trailing allows {low:g} to {high:g}"
        )


def check_schema(verdict: DayVerdict, earlier: Mapping[str, str], earlier_day: str) -> bool:
    """Block a day that lost a column or changed a type; warn of added columns and of wider numbers.

    Args:
        verdict: The day.
        earlier: Types by column of an earlier day.
        earlier_day: Its key.

    Returns:
        Whether the day has every column, in the type it had.
    """
    now = {field.name: str(field.type) for field in verdict.rows.schema}
    problems = []
    for name, kind in earlier.items():
        if name not in now:
            problems.append(f"column {name} ({kind}) is missing; {earlier_day} has it")
        elif (kind, now[name]) in WIDER:
            verdict.warnings.append(f"column {name} is {now[name]}; on {earlier_day} it was {kind}")
        elif kind != now[name]:
            problems.append(f"column {name} is {now[name]}; on {earlier_day} it was {kind}")
    verdict.warnings += [
        f"column {name} ({kind}) is new; {earlier_day} does not have it"
        for name, kind in now.items()
        if name not in earlier
    ]
    verdict.problems += problems
    return not problems


def check_content(verdict: DayVerdict, dials: DataChecks, earlier: Sequence[Mapping[str, Summary]]) -> None:
    """Block a day in which a column's unit, nulls, categories or most frequent values are suddenly others.

    Args:
        verdict: The day.
        dials: What ``dials_of`` gives.
        earlier: Summaries by column of the earlier days, oldest first.
    """
    for name in verdict.rows.column_names:
        before = [day[name] for day in earlier if name in day]
        if len(before) < NEEDED:
            continue
        checks = compare(verdict.day, name, summarize(verdict.rows.column(name)), before, dials)
        verdict.problems += [check.text for check in checks if not check.passed]


def dials_of(spec: ModelSpec) -> DataChecks:
    """The spec's dials for raw days: columns that are known only later may be empty in the newest of them."""
    relaxed = dict(spec.data_checks.relaxed)
    for column in (spec.label.column, *spec.features.forbidden):
        relaxed[column] = (*relaxed.get(column, ()), *LATER)
    return spec.data_checks.model_copy(update={"relaxed": relaxed})


def require_known(spec: ModelSpec, raw: Sequence[str]) -> None:
    """Refuse to let a column off that is nowhere.

    Args:
        spec: The spec.
        raw: The source's columns.

    Raises:
        SpecError: ``data_checks.relaxed`` names a column that neither the source nor the features have.
    """
    known = list(dict.fromkeys((*raw, *spec.features.numeric, *spec.features.categorical)))
    for column in spec.data_checks.relaxed:
        if column not in known:
            raise SpecError(
                f"data_checks.relaxed.{column}: neither the source nor the features have such a column.",
                hint=did_you_mean(column, known) or f"there are {', '.join(known)}",
            )
