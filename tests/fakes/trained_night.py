"""A night up to train, without Spark: synthetic rows, hand-fitted transforms, and a real small booster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nightshift import train
from nightshift.ledger import Blessed, Candidate, Entry, Ledger, blessings
from nightshift.ledger.blessings import Blessing
from nightshift.plan import Interval, Plan, Trigger, Windows
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Ref, Store
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn

ROWS_PER_DAY = 250
LANES = ("air", "road", "sea")
FIRST = date(2024, 3, 2)
Change = Callable[[dict[str, Any]], dict[str, Any]]


def gates(**changes: Any) -> dict[str, Any]:
    """The section of a holdout of three short days: less than that of a real model has to be enough."""
    least = {"days": 2, "rows": 400, "of_each_class": 50}
    return {"minimum": 0.7, "slices": ["lane"], "versus_champion": {"margin": 0.02, "least": least}, **changes}


def small_spec(**changes: Any) -> ModelSpec:
    raw: dict[str, Any] = {
        "version": 1,
        "model": "parcels",
        "owner": "tests@example.com",
        "source": {"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "sent_at"},
        "key": ["parcel"],
        "prepare": "parcels.sql",
        "prepare_sql": "SELECT * FROM source",
        "label": {"column": "days_late", "positive": ">= 1", "delay": "1d"},
        "features": {"numeric": ["weight", "distance"], "categorical": ["lane"]},
        "window": {"train": "7d", "holdout": "3d"},
        "training": {"engine": "xgboost", "params": {"n_estimators": 12, "max_depth": 3, "learning_rate": 0.3}},
        "gates": gates(minimum=0.7),
    }
    return ModelSpec.model_validate({**raw, **changes})


def small_plan(root: Path, night: date = FIRST, *, trigger: Trigger = "test", spec: ModelSpec | None = None) -> Plan:
    return Plan(
        spec=spec or small_spec(),
        interval=Interval.of_day(night - timedelta(days=1)),
        storage=(root / "store").as_uri(),
        env="test",
        mlflow_uri=f"sqlite:///{root / 'mlflow.db'}",
        run_id=f"{trigger}__{night}",
        trigger=trigger,
        threads=1,
        code_version="c0de" * 16,
    )


def transforms(spec: ModelSpec) -> Transforms:
    """No numeric transforms, one_hot for the lane."""
    features = spec.features
    return Transforms(
        tuple(NumericColumn(name) for name in features.numeric),
        tuple(CategoricalColumn(name, "one_hot", 200, LANES) for name in features.categorical),
    )


def rows_of(window: Interval, *, flipped: float = 0.0) -> dict[str, Any]:
    """Columns of a table of preprocess, without the vectors; the same for a day whenever it is asked for.

    Args:
        window: The days.
        flipped: Share of labels that are wrong.
    """
    parts = []
    for day in window.days():
        random = np.random.default_rng(day.start.date().toordinal())
        weight = random.normal(size=ROWS_PER_DAY)
        lane = random.choice(LANES, ROWS_PER_DAY)
        margin = 2.5 * weight + np.where(lane == "sea", 1.0, 0.0) - 1.0
        labels = (random.random(ROWS_PER_DAY) < 1 / (1 + np.exp(-margin))).astype("int8")
        wrong = random.random(ROWS_PER_DAY) < flipped
        parts.append(
            {
                "parcel": [f"{day.key}-{number:04d}" for number in range(ROWS_PER_DAY)],
                "__time": [day.start + timedelta(minutes=5 * number) for number in range(ROWS_PER_DAY)],
                "__label": np.where(wrong, 1 - labels, labels).astype("int8").tolist(),
                "weight": [None if number % 50 == 0 else float(value) for number, value in enumerate(weight)],
                "distance": random.normal(size=ROWS_PER_DAY).tolist(),
                "lane": [None if number % 70 == 0 else str(value) for number, value in enumerate(lane)],
            }
        )
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def as_table(spec: ModelSpec, columns: Mapping[str, Any]) -> pa.Table:
    """With the vectors that Spark would have made."""
    label = pa.float64() if spec.label.task == "regression" else pa.int8()
    types = {"__time": pa.timestamp("us", tz="UTC"), "__label": label}
    table = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
    features = spec.features
    numbers = [[np.nan if value is None else value for value in columns[name]] for name in features.numeric]
    encoded = [[float(value == level) for value in columns[name]] for name in features.categorical for level in LANES]
    vectors = np.array([*numbers, *encoded], np.float32).T
    return table.append_column("__features", pa.array(list(vectors), pa.list_(pa.float32())))


def publish_preprocess(
    plan: Plan,
    *,
    flipped: float = 0.0,
    holdout: Change = lambda columns: columns,
    training: Change = lambda columns: columns,
) -> Ref:
    """The tables of a night.

    Args:
        plan: The night.
        flipped: Share of wrong labels in the training window.
        holdout: Changes the holdout's columns.
        training: Changes the training window's columns.
    """
    windows = Windows.of(plan.spec, plan.interval)
    probe = {
        "parcel": ["null", "unseen", "large"],
        "__time": [windows.holdout.start] * 3,
        "__label": [None] * 3,
        "weight": [None, 0.0, 1e9],
        "distance": [None, 0.0, -1e9],
        "lane": [None, "rail", ""],
    }
    attempt = Store.of(plan).attempt("preprocess", plan.interval.key)
    attempt.put("transforms.json", transforms(plan.spec).to_json())
    attempt.put_table("train", as_table(plan.spec, training(rows_of(windows.train, flipped=flipped))))
    attempt.put_table("holdout", as_table(plan.spec, holdout(rows_of(windows.holdout))))
    attempt.put_table("probe", as_table(plan.spec, probe))
    told = blessings.Check("as_told", True, None, None, "The test says that the data is fit.")
    blessings.write(attempt, Blessing.judged("data", [told], interval=plan.interval.key, evidence="none"))
    return attempt.publish(stage_key=f"{flipped}", code="code").ref


@dataclass(frozen=True)
class Night:
    """A night that is being run stage by stage.

    Attributes:
        plan: Its plan.
        io: With everything published so far upstream.
    """

    plan: Plan
    io: StageIO

    @property
    def store(self) -> Store:
        return self.io.store

    def after(self, result: StageResult) -> Night:
        assert result.ref is not None
        return replace(self, io=replace(self.io, upstream={**self.io.upstream, result.stage: result.ref}))

    def run(self, *stages: Any) -> tuple[Night, StageResult]:
        """Run stages in order; gives the night after them and the last one's result."""
        night = self
        for stage in stages:
            result = stage.run(night.plan, night.io)
            night = night.after(result)
        return night, result


def trained_night(root: Path, night: date = FIRST, *, plan: Plan | None = None, **preprocess: Any) -> Night:
    """A night after train; arguments as for ``publish_preprocess``."""
    plan = plan or small_plan(root, night)
    scratch = root / "scratch" / plan.interval.key
    scratch.mkdir(parents=True, exist_ok=True)
    upstream = {"preprocess": publish_preprocess(plan, **preprocess)}
    return Night(plan, StageIO(Store.of(plan), upstream, scratch)).run(train)[0]


def promote(night: Night, version: int, *, digest: str | None = None, run_key: str | None = None) -> Entry:
    """Make a trained night's model champion: by its own evaluation if it has one, else by the test's word.

    Args:
        night: After train, or after evaluate.
        version: The number it gets.
        digest: What the ledger is told of its graph; the truth by default.
        run_key: Of the entry.
    """
    train, key = night.io.upstream["train"], night.plan.interval.key
    about = digest or night.io.given("train").file("graph.onnx").sha256
    candidate = Candidate(version, about, night.plan.interval, train, f"run-{version}")
    ledger = Ledger(night.store)
    opponent = ledger.champion()
    refs = {"quality": night.io.upstream.get("evaluate")}
    told = blessings.Check("as_told", True, None, None, "The test says that the model is fit.")
    for kind, stage in (("quality", "evaluate"), ("infra", "deploy")):
        if refs.get(kind) is None:
            attempt = night.store.attempt(stage, key)
            blessings.write(attempt, Blessing.judged(kind, [told], interval=key, evidence="none", about=about))
            result = {"champion_version": opponent.model_version if opponent else None}
            refs[kind] = attempt.publish(
                stage_key=f"{stage} v{version}", code="code", inputs={"train": train}, result=result
            ).ref
    blessed = Blessed.collect(night.store, candidate, quality=refs["quality"], infra=refs["infra"])
    entry = ledger.promote(blessed, reason="test", by="test", run_key=run_key or f"key-{version}")
    assert isinstance(entry, Entry), entry
    return entry
