"""``airflow dags test`` as a CI runs it: one process, no scheduler, an exit status that tells."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.fakes.tiny_model import write_day
from tests.fakes.workplace import Workplace

pytestmark = [pytest.mark.airflow, pytest.mark.jvm]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


def test_a_good_night_exits_with_0(workplace: Workplace) -> None:
    ran = workplace.test("2024-03-02")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "night 2024-03-02: [2024-03-01T00:00Z, 2024-03-02T00:00Z)" in ran.stdout
    assert "deploy: succeeded" in ran.stdout


@pytest.mark.long
def test_a_refusal_exits_with_0_and_says_why(workplace: Workplace) -> None:
    edit(workplace.models / "parcels.yaml", "minimum: 0.6", "minimum: 0.99")
    try:
        ran = workplace.test("2024-03-02")
    finally:
        edit(workplace.models / "parcels.yaml", "minimum: 0.99", "minimum: 0.6")
    assert ran.returncode == 0, ran.stdout[-4000:]
    skipped = [line for line in ran.stdout.splitlines() if "Skipping task." in line]
    assert len(skipped) == 1
    assert "0.99" in skipped[0]


def test_bad_data_exits_with_1_and_ends_with_the_reason(workplace: Workplace) -> None:
    day = write_day(workplace.root / "data", date(2024, 3, 2))
    edit(day, "distance", "miles")
    ran = workplace.test("2024-03-03")
    assert ran.returncode == 1
    last = "\n".join(ran.stdout.splitlines()[-8:])
    assert "DagRun failed" in last
    assert "distance" in last
    assert "UP_FOR_RETRY" not in ran.stdout


def test_a_night_after_the_last_exits_with_0(workplace: Workplace) -> None:
    edit(workplace.models / "parcels.yaml", "since: 2024-02-19", "since: 2024-02-19, until: 2024-03-04")
    ran = workplace.test("2024-03-05")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "the source ends at 2024-03-04 (source.until)" in ran.stdout
