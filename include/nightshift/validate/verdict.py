"""What was found out about a day: outcomes of expectations, reasons for quarantine, problems that block it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nightshift.errors import ValidationFailed

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 5
"""Most values of rows that appear in messages, logs and verdicts."""
SHOWN_DAYS = 10
SHOWN_PROBLEMS = 8


@dataclass(frozen=True)
class Outcome:
    """One expectation on one day.

    Attributes:
        place: Where it stands in the spec, such as ``expectations[4]``.
        expectation: Its name in Great Expectations.
        column: Column it is about, if it is about one.
        expected: What was expected, in words.
        mostly: Share of rows that must pass.
        success: Whether it holds.
        rows: Rows it was judged on, nulls left out; 0 for an expectation about the whole day.
        failed: How many of them fail.
        samples: A few of the failing values.
        observed: What was observed, for an expectation about the whole day.
        error: Why it could not be judged.
    """

    place: str
    expectation: str
    column: str | None
    expected: str
    mostly: float
    success: bool
    rows: int = 0
    failed: int = 0
    samples: tuple[Any, ...] = ()
    observed: Any = None
    error: str | None = None

    @property
    def title(self) -> str:
        return f"{self.column}: {self.expected}" if self.column else self.expected

    def in_words(self) -> str:
        """Why it does not hold: what was expected, and how many rows of how many are otherwise."""
        if self.error is not None:
            return f"{self.title}: cannot be judged: {self.error}"
        if self.failed:
            return (
                f"{self.title}: {self.failed:,} of {self.rows:,} rows fail ({self.failed / self.rows:.2%}, "
                f"{1 - self.mostly:.2%} may), such as {', '.join(repr(value) for value in self.samples)}"
            )
        return f"{self.title}: observed {self.observed}"

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "samples": [_finite(value) for value in self.samples],
            "observed": _finite(self.observed),
        }


@dataclass
class DayVerdict:
    """One day.

    Attributes:
        day: Its key.
        rows: The rows that were judged, in the order of the snapshot.
        reasons: Why rows are set aside, by position.
        problems: What blocks the day.
        warnings: What is worth a look.
        outcomes: Of its expectations.
        documents: Pages to keep with the verdict, by name.
    """

    day: str
    rows: pa.Table
    reasons: dict[int, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcomes: Sequence[Outcome] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def set_aside(self, positions: Sequence[int], reason: str) -> None:
        for position in positions:
            self.reasons.setdefault(position, []).append(reason)

    def clean(self) -> pa.Table:
        """Rows that are not set aside."""
        return self.rows.take(self._positions(kept=True)).combine_chunks()

    def quarantine(self) -> pa.Table:
        """Rows that are set aside: the column ``reason`` and their own columns."""
        import pyarrow as pa

        positions = self._positions(kept=False)
        reasons = pa.array(["; ".join(self.reasons[position]) for position in positions.to_pylist()], pa.string())
        name = "reason" if "reason" not in self.rows.column_names else "__reason"
        return self.rows.take(positions).combine_chunks().add_column(0, name, reasons)

    def _positions(self, *, kept: bool) -> pa.Array:
        import numpy as np
        import pyarrow as pa

        out = np.zeros(self.rows.num_rows, dtype=bool)
        out[list(self.reasons)] = True
        return pa.array(np.flatnonzero(~out if kept else out))

    def check_budget(self, max_fraction: float) -> None:
        """Block the day if more rows would be set aside than may be."""
        total, rows = len(self.reasons), self.rows.num_rows
        if total <= max_fraction * rows:
            return
        counts = Counter(reason.split("; value is ")[0] for reasons in self.reasons.values() for reason in reasons)
        listed = "; ".join(f"{count:,} × {reason}" for reason, count in counts.most_common(SAMPLES))
        self.problems.append(
            f"{total:,} of {rows:,} rows would be quarantined ({total / rows:.2%}; "
            f"quarantine.max_fraction allows {max_fraction:.2%}): {listed}"
        )

    def to_json(self) -> bytes:
        """``verdict.json``."""
        return to_json(
            {
                "day": self.day,
                "verdict": "blocked" if self.problems else "passed",
                "rows_in": self.rows.num_rows,
                "quarantined": len(self.reasons),
                "problems": self.problems,
                "warnings": self.warnings,
                "expectations": [outcome.to_dict() for outcome in self.outcomes],
            }
        )


def _finite(value: Any) -> Any:
    """JSON has no words for infinite numbers."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any) -> bytes:
    """JSON for people and pages; dates and decimals become text."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode()


def blocked(problems: Mapping[str, Sequence[str]], evidence: Mapping[str, str]) -> ValidationFailed:
    """The error that a blocked night ends with.

    Args:
        problems: What is wrong, by day.
        evidence: URI of the stored verdict, by day.
    """
    days = sorted(problems)
    lines = []
    for day in days[:SHOWN_DAYS]:
        shown, more = problems[day][:SHOWN_PROBLEMS], len(problems[day]) - SHOWN_PROBLEMS
        lines += [f"  {day}: {problem}" for problem in shown] + ([f"  {day}: and {more} more"] if more > 0 else [])
        if day in evidence:
            lines.append(f"  {day}: evidence: {evidence[day]}")
    if len(days) > SHOWN_DAYS:
        lines.append(f"  and {len(days) - SHOWN_DAYS} more days")
    count = "1 day is" if len(days) == 1 else f"{len(days)} days are"
    return ValidationFailed(
        f"validation: {count} blocked, and nothing was published for {'it' if len(days) == 1 else 'them'}:\n"
        + "\n".join(lines),
        hint="correct the source and run the night again (in Airflow: clear it from ingest); "
        "if the data is right, change expectations, volume, data_checks or "
        "quarantine.max_fraction, or begin after the change with source.since",
    )
