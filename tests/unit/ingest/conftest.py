"""A small model over small files, and a night of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightshift.ingest import run
from nightshift.plan import Plan, resolve_interval
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Manifest, Store

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Lab:
    """A project folder with a data folder, a store, and a spec that tests change."""

    folder: Path
    spec: dict[str, Any] = field(
        default_factory=lambda: {
            "version": 1,
            "model": "rides",
            "owner": "tests@example.com",
            "source": {"kind": "files", "uri": "data/rides.csv", "time": "at"},
            "key": ["id"],
            "prepare": "rides.sql",
            "label": {"column": "late", "positive": ">= 1", "delay": "1d"},
            "features": {"numeric": ["km"]},
            "window": {"train": "1d", "holdout": "2d"},
            "training": {"engine": "xgboost"},
            "gates": {"minimum": 0.5, "versus_champion": {"least": {"days": 2}}},
            "quarantine": {"max_fraction": 0.5},
        }
    )

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def source(self, **changes: Any) -> None:
        self.spec["source"] = {**self.spec["source"], **changes}

    def plan(self, night: str) -> Plan:
        spec = ModelSpec.model_validate(self.spec)
        return Plan(
            spec=spec,
            interval=resolve_interval(now=NOW, night=night),
            storage=(self.folder / "store").as_uri(),
            env="test",
            mlflow_uri="",
            run_id="r",
            trigger="test",
            threads=1,
            code_version="x",
        )

    @property
    def store(self) -> Store:
        return Store.of(self.plan("2024-03-05"))

    def ingest(self, night: str) -> StageResult:
        plan = self.plan(night)
        return run(plan, StageIO(Store.of(plan), {}, self.folder / "scratch"))

    def raw(self, day: str) -> Manifest:
        found = self.store.latest("raw", day)
        assert found is not None
        return found

    def rows(self, day: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.store.read_table(self.raw(day), "rows").to_pylist()
        return rows

    def quarantine(self, day: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.store.read_table(self.raw(day), "quarantine").to_pylist()
        return rows

    def published(self) -> list[str]:
        """Every visible version."""
        root = self.folder / "store"
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("v??????.json"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return Lab(tmp_path)


@pytest.fixture
def four_days(lab: Lab) -> Callable[..., str]:
    """Text of a csv file with two rows on each day of the window of night 2024-03-05, and extra lines."""

    def text(*extra: str, days: tuple[int, ...] = (1, 2, 3, 4)) -> str:
        lines = ["id,at,km,city,late"]
        for day in days:
            lines += [f"{day}a,2024-03-0{day}T06:00:00Z,{day}.5,Bonn,1", f"{day}b,2024-03-0{day}T18:00:00Z,7,NA,0"]
        return "\n".join([*lines, *extra]) + "\n"

    return text
