"""A small model whose night is validated and waits for preprocess: a few rows a day, a side table, every kind of column."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from nightshift.plan import Interval, Plan
from nightshift.preprocess import run
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Ref, Store

UTC_US = pa.timestamp("us", tz="UTC")
NIGHT = date(2024, 3, 10)  # train is March 4, 5, 6, holdout March 7, 8; March 9 has no labels yet
TRAIN_DAYS = [date(2024, 3, day) for day in (4, 5, 6)]
HOLDOUT_DAYS = [date(2024, 3, day) for day in (7, 8)]
PER_DAY = 24
SQL = """\
SELECT s.at, s.id, s.y, s.x, s.n, s.kind,
       p.size
FROM source AS s
LEFT JOIN places AS p ON p.kind = s.kind
"""
SPEC: dict[str, Any] = {
    "version": 1,
    "model": "toy",
    "owner": "a@example.com",
    "source": {"kind": "files", "uri": "x/*.csv", "time": "at"},
    "key": ["at", "id"],
    "tables": {"places": {"kind": "files", "uri": "p.csv"}},
    "prepare": "toy.sql",
    "prepare_sql": SQL,
    "label": {"column": "y", "positive": ">= 10", "delay": "1d"},
    "features": {
        "numeric": ["x", "n", "size"],
        "categorical": ["kind"],
        "transforms": {"x": [{"kind": "impute"}, {"kind": "clip", "quantiles": [0.05, 0.95]}]},
    },
    "window": {"train": "3d", "holdout": "2d"},
    "training": {"engine": "xgboost"},
    "gates": {"minimum": 0.5, "versus_champion": {"least": {"days": 2}}},
}
PLACES = pa.table({"kind": ["a", "b", "c"], "size": pa.array([1, 2, 3], pa.int64())})


def day_rows(day: date, *, seed: int = 0, unlabelled: float = 0.1) -> pa.Table:
    chance = random.Random(f"{seed}-{day}")
    at = [datetime(day.year, day.month, day.day, hour, tzinfo=UTC) for hour in range(PER_DAY)]
    return pa.table(
        {
            "at": pa.array(at, UTC_US),
            "id": pa.array(range(PER_DAY), pa.int64()),
            "y": pa.array([None if chance.random() < unlabelled else chance.randint(0, 20) for _ in at], pa.int64()),
            "x": pa.array([None if chance.random() < 0.1 else round(chance.gauss(5, 2), 3) for _ in at], pa.float64()),
            "n": pa.array([chance.randint(-3, 3) for _ in at], pa.int64()),
            "kind": pa.array([chance.choice(["a", "b", "c", None]) for _ in at]),
        }
    )


def all_days(**options: Any) -> dict[date, pa.Table]:
    return {day: day_rows(day, **options) for day in [*TRAIN_DAYS, *HOLDOUT_DAYS, date(2024, 3, 9)]}


class ToyNight:
    """A store with validated days, and preprocess over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.open((root / "store").as_uri(), env="dev", model="toy")
        self.runs = 0

    def publish(self, dataset: str, interval: str, table: pa.Table, *, row_group: int | None = None) -> Ref:
        attempt = self.store.attempt(dataset, interval)
        attempt.put_table("rows", table)
        return attempt.publish(stage_key=f"{dataset} {interval} {attempt.id}", code="x").ref

    def validated(self, days: Mapping[date, pa.Table], tables: Mapping[str, pa.Table]) -> Ref:
        inputs = {f"valid/{day}": self.publish("valid", str(day), rows) for day, rows in days.items()}
        inputs |= {f"table.{name}": self.publish(f"table.{name}", "all", rows) for name, rows in tables.items()}
        attempt = self.store.attempt("validate", Interval.of_day(NIGHT - timedelta(days=1)).key)
        attempt.put("verdict.json", b"{}")
        return attempt.publish(stage_key=attempt.id, code="x", inputs=inputs).ref

    def plan(self, **changes: Any) -> Plan:
        return Plan(
            spec=ModelSpec.model_validate({**SPEC, **changes}),
            interval=Interval.of_day(NIGHT - timedelta(days=1)),
            storage=(self.root / "store").as_uri(),
            env="dev",
            mlflow_uri="sqlite://",
            run_id="test",
            trigger="test",
            threads=2,
            code_version="x",
        )

    def preprocess(
        self, days: Mapping[date, pa.Table] | None = None, tables: Mapping[str, pa.Table] | None = None, **changes: Any
    ) -> StageResult:
        given = self.validated(days or all_days(), tables or {"places": PLACES})
        return self.again(given, **changes)

    def again(self, given: Ref, **changes: Any) -> StageResult:
        self.runs += 1
        scratch = self.root / f"scratch {self.runs}"
        scratch.mkdir()
        return run(self.plan(**changes), StageIO(self.store, {"validate": given}, scratch))

    def table(self, result: StageResult, name: str) -> pa.Table:
        assert result.ref is not None
        return self.store.read_table(self.store.resolve(result.ref), name)
