"""``airflow dags test`` of the examples that the README's commands leave out, as they stand in ``dags/models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes.workplace import ROOT, Workplace

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

EXAMPLES = ROOT / "dags" / "models"
BUSY = "\ndeploy: {latency: {budget: 10s, versus_champion: 1000}}  # the machine of a test may be busy\nretries: 0\n"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("examples"))


def night(workplace: Workplace, model: str, night: str) -> str:
    """Output of a night that Airflow calls successful."""
    text = (EXAMPLES / f"{model}.yaml").read_text()
    assert "deploy:" not in text
    (workplace.models / f"{model}.yaml").write_text(text + BUSY)
    (workplace.models / f"{model}.sql").write_text((EXAMPLES / f"{model}.sql").read_text())
    ran = workplace.airflow("dags", "test", f"{model}__retraining", night)
    assert ran.returncode == 0, ran.stdout[-6000:]
    return ran.stdout


def champions(workplace: Workplace, model: str) -> list[dict[str, object]]:
    entries = sorted((workplace.root / "nightshift").glob(f"**/{model}/ledger/*.json"))
    return [json.loads(Path(entry).read_text()) for entry in entries]


def test_minutes_in_the_air(workplace: Workplace) -> None:
    told = night(workplace, "flight_air_time", "2013-07-15")
    assert "evaluate: first, succeeded: RMSE" in told
    assert "deploy: v1 is promoted, ledger entry 1" in told
    assert [entry["kind"] for entry in champions(workplace, "flight_air_time")] == ["promotion"]


@pytest.mark.torch
def test_digits_are_learned_once(workplace: Workplace) -> None:
    first = night(workplace, "digits", "2024-03-01")
    assert "train: torch on " in first
    assert "deploy: v1 is promoted, ledger entry 1" in first
    second = night(workplace, "digits", "2024-03-02")
    assert "Nothing has changed since night 2024-03-01" in second
    assert "train: torch on " not in second
    assert [entry["kind"] for entry in champions(workplace, "digits")] == ["promotion"]
