"""The data blessing: validate's verdict and the checks of the prepared windows, in one stored verdict."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataNotBlessed
from nightshift.ledger import blessings
from nightshift.ledger.blessings import Blessing, Check, WaivedBy, waive_command
from nightshift.plan import CODE_OF_STAGE, Plan, code_digest
from nightshift.preprocess.axis import BUCKET, HOLDOUT, TIME, TRAIN
from nightshift.preprocess.history import STATS, History, NightStats, about
from nightshift.preprocess.label_shift import Labels, check_labels
from nightshift.preprocess.leakage import Window, strengths
from nightshift.preprocess.overlap import check_overlap
from nightshift.preprocess.prepared import LABEL
from nightshift.preprocess.shift import Strength, check_past, check_strength, check_unseen
from nightshift.preprocess.tables import parts, read
from nightshift.shift.comparison import compare
from nightshift.shift.summary import Summary, summarize
from nightshift.spec.models import Label
from nightshift.spec.values import Task
from nightshift.storage import Attempt, Manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

log = logging.getLogger(__name__)

DAY_MICROSECONDS = 86_400_000_000
SHOWN = 12


def bless(plan: Plan, attempt: Attempt, validated: Manifest, history: History, waiver: WaivedBy | None) -> Blessing:
    """Judge the windows that an attempt holds, and put the verdict and its numbers into the attempt.

    A failed verdict is published by itself, as evidence: the attempt will never be.

    Args:
        plan: The night.
        attempt: Has the tables ``train`` and ``holdout``.
        validated: What validate published.
        history: Earlier nights.
        waiver: One for this night's data, or None.

    Raises:
        DataNotBlessed: A check fails that nobody waived; nothing is to be published.
        StorageError: The store failed.
    """
    train, holdout = (read(attempt, name, columns=_columns(plan)) for name in (TRAIN, HOLDOUT))
    night = judge(plan, train, holdout, history)
    key = list(plan.spec.key)
    overlap = check_overlap(parts(attempt, TRAIN, columns=key), read(attempt, HOLDOUT, columns=key), key)
    listed = [_validation(validated), overlap, *condense(night.checks), *_relaxed(plan)]
    stats = night.stats.to_json()
    attempt.put(STATS, stats)
    evidence = f"preprocess/{plan.interval.key}/{STATS}"
    blessing = Blessing.judged("data", listed, interval=plan.interval.key, evidence=evidence, waiver=waiver)
    for check in blessing.failed:
        log.error("%s%s", "waived: " if blessing.counts else "", check.text)
    if not blessing.counts:
        kept = replace(blessing, evidence=f"{blessings.UNBLESSED}/{plan.interval.key}/{STATS}")
        code = code_digest(CODE_OF_STAGE["preprocess"])
        inputs = {"validate": validated.ref}
        blessings.keep_failed(attempt.store, kept, code=code, inputs=inputs, files={STATS: stats})
        raise refused(plan, blessing, waiver)
    blessings.write(attempt, blessing)
    return blessing


@dataclass(frozen=True)
class Judged:
    """Every check of a night's windows, and the numbers for later nights."""

    checks: list[Check]
    stats: NightStats


def judge(plan: Plan, train: pa.Table, holdout: pa.Table, history: History) -> Judged:
    """Hold both windows against each other, against their own days, and against earlier nights.

    Args:
        plan: The night.
        train: The features, ``__time`` and ``__label`` of the training window, in any order of rows; of a static source
            there is no ``__time``.
        holdout: The same of the holdout.
        history: Earlier nights.
    """
    dials, features = plan.spec.data_checks, plan.spec.features
    tables = (train, holdout)
    days = (_days(train), _days(holdout))
    label = plan.spec.label
    labels = (_labels(train, days[0], label), _labels(holdout, days[1], label))
    checks = list(check_labels(*labels, history.measures(label.task), dials, label))
    alone: dict[str, tuple[float | None, float | None]] = {}
    magnitudes: dict[str, dict[str, Any]] = {}
    for column in (*features.numeric, *features.categorical):
        alone[column] = strengths(*(_window(*window, column, label.task) for window in zip(tables, days, strict=True)))
        both = (
            Strength(alone[column][0], labels[0].days, label.task),
            Strength(alone[column][1], labels[1].days, label.task),
        )
        known = column in features.known_strong
        checks += check_strength(column, both, history.strengths(column), dials, known_strong=known)
        by_day: dict[str, Summary] = {}
        for table, numbers in zip(tables, days, strict=True):
            by_day |= _summaries(table.column(column), numbers) if TIME in table.column_names else {}
        checks += _days_compared(plan, column, by_day)
        magnitudes[column] = {day: found["magnitudes"] for day, found in by_day.items() if found.get("magnitudes")}
        for night, earlier in list(history.nights.items())[:1]:
            checks += check_past(column, magnitudes[column], earlier.magnitudes.get(column, {}), night, dials)
    for column in features.categorical:
        checks += check_unseen(column, train.column(column), holdout.column(column), dials)
    facts = {name: (found.rows, *found.facts) for name, found in zip((TRAIN, HOLDOUT), labels, strict=True)}
    return Judged(checks, NightStats(about(plan), alone, facts, magnitudes))


def _columns(plan: Plan) -> list[str]:
    axis = BUCKET if plan.spec.source.static else TIME
    return [*dict.fromkeys((*plan.spec.features.numeric, *plan.spec.features.categorical)), axis, LABEL]


def _labels(table: pa.Table, days: npt.NDArray[np.int64], label: Label) -> Labels:
    import numpy as np

    return Labels.of(table.column(LABEL).to_numpy(), len(np.unique(days)), label)


def _days(table: pa.Table) -> npt.NDArray[np.int64]:
    """The UTC day of each row, as a number; rows without a time are alone, as if each had a day of its own."""
    import numpy as np
    import pyarrow as pa

    if TIME not in table.column_names:
        return np.arange(table.num_rows)
    time = table.column(TIME)
    if pa.types.is_date(time.type):
        time = time.cast(pa.timestamp("us"))
    moments = time.cast(pa.timestamp("us", tz=getattr(time.type, "tz", None))).cast(pa.int64()).to_numpy()
    found: npt.NDArray[np.int64] = moments // DAY_MICROSECONDS
    return found


def _window(table: pa.Table, days: npt.NDArray[np.int64], column: str, task: Task) -> Window:
    return Window(table.column(column), table.column(LABEL).to_numpy(), days, task)


def _summaries(column: pa.ChunkedArray, days: npt.NDArray[np.int64]) -> dict[str, Summary]:
    """A column's summary by day, oldest first; one day's rows are looked at at a time."""
    import numpy as np
    import pyarrow as pa

    order = np.argsort(days, kind="stable")
    there, starts = np.unique(days[order], return_index=True)
    ordered = column.take(pa.array(order))
    ends = [*starts[1:].tolist(), len(days)]
    return {
        f"{datetime.fromtimestamp(int(day) * 86_400, UTC):%Y-%m-%d}": summarize(ordered.slice(start, end - start))
        for day, start, end in zip(there, starts.tolist(), ends, strict=True)
    }


def _days_compared(plan: Plan, column: str, by_day: Mapping[str, Summary]) -> list[Check]:
    """Each day against those before it. Days of the source were judged when they came; here come joined columns too."""
    found: list[Check] = []
    before: list[Summary] = []
    for day, summary in by_day.items():
        checks = compare(day, column, summary, before, plan.spec.data_checks)
        found += checks
        if all(check.passed for check in checks):
            before.append(summary)
    return found


def condense(checks: Iterable[Check]) -> list[Check]:
    """Every failed check, and of those that passed the one nearest to its bound of each kind."""
    failed: list[Check] = []
    nearest: dict[str, Check] = {}
    made: dict[str, int] = {}
    for check in checks:
        if not check.passed:
            failed.append(check)
            continue
        kind = check.name.partition(".")[0]
        made[kind] = made.get(kind, 0) + 1
        if kind not in nearest or _tightness(check) > _tightness(nearest[kind]):
            nearest[kind] = check
    passed = [
        Check(kind, True, check.value, check.bound, f"{made[kind]:,} held; the nearest to its bound: {check.text}")
        for kind, check in sorted(nearest.items())
    ]
    return [*failed, *passed]


def _tightness(check: Check) -> tuple[float, str]:
    assert isinstance(check.value, (int, float))
    assert isinstance(check.bound, (int, float))
    return check.value / check.bound, check.text


def _validation(validated: Manifest) -> Check:
    """Validate publishes nothing for a night that it blocks, so a version of it is a verdict."""
    result = validated.result
    rows, aside = result.get("rows_in", 0), result.get("quarantined", 0)
    return Check(
        "validation",
        True,
        aside,
        None,
        f"validate passed {result.get('days', 0)} days: {rows:,} rows, {aside:,} of them quarantined",
    )


def _relaxed(plan: Plan) -> list[Check]:
    relaxed = plan.spec.data_checks.relaxed
    if not relaxed:
        return []
    listed = "; ".join(f"{column} off {', '.join(names)}" for column, names in sorted(relaxed.items()))
    return [Check("relaxed", True, len(relaxed), None, f"the spec lets columns off checks: {listed}")]


def refused(plan: Plan, blessing: Blessing, waiver: WaivedBy | None = None) -> DataNotBlessed:
    """The error that a night ends with whose data must not be learned from."""
    lines = [f"  {check.name}: {check.text}" for check in blessing.failed[:SHOWN]]
    more = len(blessing.failed) - SHOWN
    if more > 0:
        lines.append(f"  and {more} more")
    if waiver is not None:
        lines.append(waiver.shortfall(blessing.checks))
    count = "1 check fails" if len(blessing.failed) == 1 else f"{len(blessing.failed)} checks fail"
    return DataNotBlessed(
        f"night {plan.interval.night}: the data is not blessed, {count}, and nothing was published:\n"
        + "\n".join(lines),
        hint="correct the source or the prepare SQL and run the night again; if the data is right, say so in the spec "
        f"as each line tells, or take it upon yourself: {waive_command(plan.model, plan.interval.night, 'data')}",
    )
