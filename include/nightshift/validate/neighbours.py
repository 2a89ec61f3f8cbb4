"""A day compared with the days before it: how many rows, which columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from nightshift.spec.models import Volume
from nightshift.validate.verdict import DayVerdict

NEEDED = 3
"""Fewest earlier days that make a comparison."""
WIDER = {("int64", "double")}


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
