"""How long one row takes: the challenger and the champion, called in turn in one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.errors import DataError
from nightshift.model.session import Scorer

if TYPE_CHECKING:
    import pyarrow as pa

CALLS = 500
WARM_UP = 50


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a call with one row.

    Attributes:
        calls: How many were measured of each model, after the warm-up.
        p50_ms, p95_ms: Of the challenger.
        champion_p50_ms: Of the champion, between the same calls; None where there is none to compare with.
    """

    calls: int
    p50_ms: float
    p95_ms: float
    champion_p50_ms: float | None


def measure(challenger: Scorer, champion: Scorer | None, rows: pa.Table, *, calls: int = CALLS) -> Latency:
    """Score one row at a time, a call of each model in turn, so that whatever else the machine does slows both.

    Args:
        challenger: The loaded version.
        champion: The loaded champion; left out where it cannot score these rows.
        rows: Rows to take in turn.
        calls: How many calls to measure, after some that are not.
    """
    single = [rows.slice(place, 1) for place in range(len(rows))]
    if champion is not None:
        try:
            champion.score(single[0])
        except DataError:
            champion = None
    models = [challenger] if champion is None else [challenger, champion]
    taken: list[list[float]] = [[] for _ in models]
    for number in range(WARM_UP + calls):
        row = single[number % len(single)]
        for model, seconds in zip(models, taken, strict=True):
            began = time.perf_counter()
            model.score(row)
            seconds.append(time.perf_counter() - began)
    measured = [sorted(seconds[WARM_UP:]) for seconds in taken]
    return Latency(
        calls=calls,
        p50_ms=_quantile(measured[0], 0.50),
        p95_ms=_quantile(measured[0], 0.95),
        champion_p50_ms=_quantile(measured[1], 0.50) if champion is not None else None,
    )


def _quantile(ordered: list[float], share: float) -> float:
    return round(1000 * ordered[int(share * (len(ordered) - 1))], 4)
