"""Time: the interval of a night, of a stored day, and of a source without days; from a run to its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from nightshift.errors import NightSkipped, SpecError

DAY = timedelta(days=1)
# The longest window a spec can ask for still begins in year 1 or later.
FIRST_YEAR = 1900
EVERYTHING = "all"


@dataclass(frozen=True, order=True)
class Interval:
    """Half-open time range ``[start, end)`` in UTC.

    Attributes:
        start: Its first moment; any time zone is taken and turned into UTC.
        end: The first moment after it.

    Raises:
        ValueError: A bound is naive or the range is empty.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _in_utc(self.start))
        object.__setattr__(self, "end", _in_utc(self.end))
        if self.start >= self.end:
            raise ValueError(f"the interval [{self.start.isoformat()}, {self.end.isoformat()}) is empty")

    @classmethod
    def of_day(cls, day: date) -> Interval:
        start = datetime.combine(day, time(), tzinfo=UTC)
        return cls(start, start + DAY)

    @classmethod
    def of_key(cls, key: str) -> Interval:
        """The interval that ``key`` names. Raises ValueError: It names none."""
        if key == EVERYTHING:
            return EVER
        start, _, end = key.partition("--")
        if not end:
            return cls.of_day(date.fromisoformat(start))
        return cls(*(datetime.strptime(bound, "%Y%m%dT%H%M%S%z") for bound in (start, end)))

    @property
    def key(self) -> str:
        """Name in storage: ``2013-07-14`` for one UTC day, ``all`` for all time, else both bounds."""
        if self == EVER:
            return EVERYTHING
        if self.end - self.start == DAY and self.start.time() == time():
            return self.start.date().isoformat()
        return f"{self.start:%Y%m%dT%H%M%SZ}--{self.end:%Y%m%dT%H%M%SZ}"

    @property
    def night(self) -> date:
        """The date on which a run for this interval happens: the day after its last."""
        return self.end.date()

    def days(self) -> Iterator[Interval]:
        """The UTC days that lie wholly inside, oldest first; all time, which a static source is for, is one piece."""
        if self == EVER:
            yield self
            return
        day = self.start if self.start.time() == time() else datetime.combine(self.start.date() + DAY, time(), UTC)
        while day + DAY <= self.end:
            yield Interval(day, day + DAY)
            day += DAY

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return "all rows" if self == EVER else f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"


def _in_utc(moment: datetime) -> datetime:
    """Raises ValueError: The moment is naive; Python would take it for local time."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; write for example {moment.isoformat()}+00:00")
    return moment.astimezone(UTC)


EVER = Interval(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
"""All time: what the one snapshot of a static source is for, as others are for a day."""


def resolve_interval(
    *,
    now: datetime,
    data_interval_end: datetime | None = None,
    night: str | date | None = None,
    until: datetime | None = None,
) -> Interval:
    """The interval of a run: the last complete UTC day before the moment the run stands for.

    That moment is the midnight of ``night`` when one is asked for, else ``data_interval_end`` (scheduled,
    backfill and ``dags test`` runs have one), else ``now`` (asset-triggered runs and runs with a null
    logical date have none). A run at 2013-07-15T02:00Z, ``dags test X 2013-07-15`` and
    ``night=2013-07-15`` all mean ``[2013-07-14, 2013-07-15)``.

    Args:
        now: The moment it is, with a time zone.
        data_interval_end: End of the run's data interval, in any time zone, if Airflow gave it one.
        night: The night that was asked for by hand.
        until: First UTC day the source no longer has.

    Raises:
        SpecError: ``night`` is not a date, or the night has not come yet.
        NightSkipped: The source has no data any more (``until``).
        ValueError: A moment is naive.
    """
    today = datetime.combine(_in_utc(now).date(), time(), UTC)
    if night is not None:
        end = datetime.combine(_parse_night(night), time(), UTC)
    else:
        end = datetime.combine(_in_utc(data_interval_end or now).date(), time(), UTC)
    if end.year < FIRST_YEAR:
        raise SpecError(f"night {end.date()} is before {FIRST_YEAR}.", hint="write it as YYYY-MM-DD")
    if end > today:
        raise SpecError(
            f"night {end.date()} has not come yet; its data is [{(end - DAY).date()}, {end.date()}).",
            hint=f"the newest night is {today.date()}",
        )
    interval = Interval(end - DAY, end)
    if until is not None and interval.start >= until:
        raise NightSkipped(
            f"night {interval.night}: the source ends at {until.date()} (source.until); {interval} has no data."
        )
    return interval


def _parse_night(night: str | date) -> date:
    if isinstance(night, datetime):
        return _in_utc(night).date()
    if isinstance(night, date):
        return night
    try:
        return date.fromisoformat(night.strip())
    except ValueError:
        raise SpecError(f"night is {night!r}, which is not a date.", hint="write it as YYYY-MM-DD") from None
