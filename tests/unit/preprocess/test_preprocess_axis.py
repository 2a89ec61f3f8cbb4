"""What tells training from holdout, as SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nightshift.errors import PrepareError
from nightshift.jobs.planning import make_plan
from nightshift.plan import Interval, Plan
from nightshift.preprocess.axis import axis_of
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec

DIGITS = Path(__file__).parents[3] / "dags" / "models" / "digits.yaml"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path), "NIGHTSHIFT_MODELS": str(DIGITS.parent)})
    return make_plan(load_spec(DIGITS), Interval.of_day(date(2024, 3, 1)), settings, run_id="r", trigger="test")


def keyed(plan: Plan, *key: str) -> Plan:
    return replace(plan, spec=plan.spec.model_copy(update={"key": key}))


def test_rows_of_low_buckets_are_held_out(plan: Plan) -> None:
    axis = axis_of(plan, {"row": "string"})
    assert axis.name == "__bucket"
    assert axis.window == f"CASE WHEN {axis.sql} < 2500 THEN 'holdout' ELSE 'train' END"


@pytest.mark.parametrize("kind", ["double", "float"])
def test_a_key_without_an_exact_text_is_refused(plan: Plan, kind: str) -> None:
    with pytest.raises(PrepareError, match=f"digits.sql: weight is a {kind}, and as part of the key"):
        axis_of(keyed(plan, "row", "weight"), {"row": "string", "weight": kind})


def test_every_other_key_is_taken(plan: Plan) -> None:
    types: dict[str, Any] = {"a": "bigint", "b": "date", "c": "boolean", "d": "decimal(5,2)", "e": "timestamp"}
    assert "CAST(`d` AS STRING)" in axis_of(keyed(plan, *types), types).sql
