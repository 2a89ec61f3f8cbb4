"""A plan as it is published and read back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nightshift
from nightshift.errors import IntegrityError
from nightshift.plan import Interval, Plan, canonical_json
from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec

SPEC = load_spec(Path(nightshift.__file__).parents[2] / "dags" / "models" / "flight_delays.yaml", check_sql=False)
PLAN = Plan(
    spec=SPEC,
    interval=Interval.of_day(date(2013, 7, 14)),
    storage="file:///store",
    env="dev",
    mlflow_uri="sqlite:///mlflow.db",
    run_id="manual__1",
    trigger="manual",
    threads=2,
    code_version="c" * 64,
)


def test_the_demo_plan_round_trips() -> None:
    again = Plan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()
    assert again.windows == PLAN.windows
    assert again.spec.prepare_sql


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
SHARES = st.floats(0, 1, exclude_min=True)
NUMBERS = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)
DURATIONS = st.integers(0, 999).map(lambda hours: f"{hours}h")
WHOLE_DAYS = st.integers(1, 999).map(lambda days: f"{days}d")
HOLDOUT_DAYS = st.integers(2, 999).map(lambda days: f"{days}d")
TABLES = st.one_of(
    st.fixed_dictionaries({"kind": st.just("files"), "uri": NAMES.map(lambda name: f"data/{name}.csv")}),
    st.fixed_dictionaries(
        {"kind": st.just("package"), "package": NAMES, "file": NAMES.map(lambda name: f"{name}.parquet")}
    ),
)
EXPECTATIONS = st.one_of(
    st.fixed_dictionaries({"column": NAMES, "between": st.tuples(st.none(), NUMBERS), "mostly": SHARES}),
    st.fixed_dictionaries(
        {"column": NAMES, "in_set": st.lists(st.text() | NUMBERS | st.booleans(), min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"column": NAMES, "not_null": st.just(True)}),
    st.fixed_dictionaries(
        {"expect": st.just("expect_x"), "kwargs": st.dictionaries(NAMES, NUMBERS | st.text() | st.none())}
    ),
)
TRANSFORMS = st.one_of(
    st.sampled_from([{"kind": "scale"}, {"kind": "log"}, {"kind": "impute", "strategy": "mean"}]),
    NUMBERS.map(lambda number: {"kind": "impute", "strategy": "constant", "value": number}),
    st.lists(NUMBERS, min_size=2, max_size=2).map(lambda bounds: {"kind": "clip", "bounds": sorted(bounds)}),
    st.lists(st.integers(-99, 99), min_size=1, max_size=4, unique=True).map(
        lambda edges: {"kind": "bucketize", "edges": sorted(edges)}
    ),
)


PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "n_estimators": st.integers(1, 1000),
        "gamma": st.integers(0, 9) | st.floats(0, 9),
        "subsample": st.floats(0.1, 1) | st.just(1),
        "grow_policy": st.sampled_from(["depthwise", "lossguide"]),
    },
)


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    columns = draw(
        st.lists(NAMES, min_size=4, max_size=8, unique=True).filter(
            lambda names: not {"label", "probability"} & {*names}
        )
    )
    key, time, label, *features = columns
    raw: dict[str, Any] = {
        "version": 1,
        "model": draw(NAMES),
        "owner": draw(st.text(min_size=1)),
        "description": draw(st.text()),
        "schedule": draw(st.sampled_from([None, "0 2 * * *", "*/15 0-6 * * mon"])),
        "source": {
            **draw(TABLES),
            "time": time,
            "since": draw(st.none() | st.dates(date(2000, 1, 1), date(2010, 1, 1)).map(date.isoformat)),
            "until": draw(st.none() | st.dates(date(2011, 1, 1), date(2020, 1, 1)).map(date.isoformat)),
        },
        "key": [key],
        "tables": draw(st.dictionaries(NAMES.filter(lambda name: name != "source"), TABLES, max_size=2)),
        "prepare": "x.sql",
        "prepare_sql": draw(st.text()),
        "expectations": draw(st.lists(EXPECTATIONS, max_size=3)),
        "quarantine": {"max_fraction": draw(st.floats(0, 1))},
        "label": {"column": label, "positive": ">= 15", "delay": draw(DURATIONS)},
        "features": {"numeric": features, "transforms": {features[0]: draw(st.lists(TRANSFORMS, max_size=3))}},
        "window": {"train": draw(WHOLE_DAYS), "holdout": draw(HOLDOUT_DAYS)},
        "training": {
            "engine": "xgboost",
            "params": draw(PARAMS),
            "threshold": draw(st.just("max_f1") | st.floats(0.01, 0.99)),
            "workers": draw(st.just("auto") | st.integers(1, 64)),
        },
        "gates": {"minimum": draw(st.floats(0, 1)), "versus_champion": {"least": {"days": 2}}},
    }
    return ModelSpec.model_validate(raw)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    spec=specs(),
    day=st.dates(date(1950, 1, 1), date(2050, 1, 1)),
    trigger=st.sampled_from(["scheduled", "manual", "backfill", "asset", "test", "cli"]),
    run_id=st.text(),
    threads=st.integers(1, 64),
)
def test_any_plan_round_trips(spec: ModelSpec, day: date, trigger: Any, run_id: str, threads: int) -> None:
    plan = replace(PLAN, spec=spec, interval=Interval.of_day(day), trigger=trigger, run_id=run_id, threads=threads)
    again = Plan.from_json(plan.to_json(), sha256=hashlib.sha256(plan.to_json()).hexdigest())
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert again.stage_key("train", {}) == plan.stage_key("train", {})
    # Equal is not enough: 1, 1.0 and True are equal, and not the same parameter or allowed value.
    assert canonical_json(again.spec.model_dump(mode="json")) == canonical_json(plan.spec.model_dump(mode="json"))


def test_an_interval_of_another_length_round_trips() -> None:
    interval = Interval(datetime(2024, 1, 1, 6, tzinfo=UTC), datetime(2024, 1, 3, 18, tzinfo=UTC))
    assert Plan.from_json(replace(PLAN, interval=interval).to_json()).interval == interval


def test_other_bytes_are_refused() -> None:
    data = PLAN.to_json()
    with pytest.raises(IntegrityError, match="do not have the digest"):
        Plan.from_json(data.replace(b"dev", b"prd"), sha256=hashlib.sha256(data).hexdigest())


def test_a_plan_of_another_format_is_refused() -> None:
    raw = {**json.loads(PLAN.to_json()), "format": 99}
    with pytest.raises(IntegrityError, match="another version of Nightshift"):
        Plan.from_json(json.dumps(raw).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"model": "x"}},
        {"interval": ["2024-01-02"]},
        {"interval": ["2024-01-02", "2024-01-01"]},
        {"extra": 1},
        {"spec": None},
    ],
    ids=str,
)
def test_a_damaged_plan_is_refused(change: dict[str, Any]) -> None:
    raw = {**json.loads(PLAN.to_json()), **change}
    with pytest.raises(IntegrityError, match="the plan cannot be read"):
        Plan.from_json(json.dumps(raw).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff"])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Plan.from_json(data)
