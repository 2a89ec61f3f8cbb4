"""The command line on a checkout of its own: set up, a night under Airflow, the same night without, a prediction."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.tiny_model import FIRST_NIGHT, write_model

from nightshift.plan import STAGES

pytestmark = [pytest.mark.jvm, pytest.mark.airflow, pytest.mark.long]

ROOT = Path(__file__).parents[2]
NIGHTSHIFT = Path(sys.prefix) / "bin" / "nightshift"
NIGHT = FIRST_NIGHT.isoformat()


class Checkout:
    """A project folder, and its command line in processes of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "plugins", root / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "dags").mkdir()
        for name in ("retraining.py", "spec_errors.py", ".airflowignore"):
            shutil.copy(ROOT / "dags" / name, root / "dags" / name)
        write_model(root)

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.shell([str(NIGHTSHIFT), *arguments], timeout=timeout)

    def shell(self, command: list[str], *, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT_"))}
        return subprocess.run(
            command, cwd=self.root, env=kept, capture_output=True, text=True, timeout=timeout, check=False
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Set up."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    done = made.run("init")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def night(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """One night by ``nightshift demo``, under Airflow."""
    done = checkout.run("demo", "--model", "parcels", "--nights", NIGHT, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_set_up_leaves_nothing_broken(checkout: Checkout) -> None:
    checks = json.loads(checkout.run("doctor", "--json").stdout)
    assert [check for check in checks if check["state"] == "error"] == []


def test_set_up_again_changes_nothing(checkout: Checkout) -> None:
    assert "Already set up" in checkout.run("init").stdout


def test_a_night_under_airflow_shows_every_stage(night: subprocess.CompletedProcess[str]) -> None:
    for stage in STAGES:
        assert f"✓ {stage}" in night.stderr
    assert "promoted" in night.stdout
    assert f"parcels/{NIGHT}.html" in night.stdout


def test_the_predict_line_works_when_it_is_pasted(checkout: Checkout, night: subprocess.CompletedProcess[str]) -> None:
    line = next(line for line in night.stdout.splitlines() if " predict parcels " in line)
    done = checkout.shell(["sh", "-c", line])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 <= found["probability"] <= 1
    assert found["model_version"] == 1


def test_a_prediction_is_explained(checkout: Checkout, night: subprocess.CompletedProcess[str]) -> None:
    row = checkout.run("predict", "parcels", "--example").stdout
    done = checkout.run("explain-prediction", "parcels", row, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["columns"], "each column is told"
    assert told["base"] + sum(one["adds"] for one in told["columns"]) == pytest.approx(told["score"])


def test_the_same_night_without_airflow_repeats_nothing(
    checkout: Checkout, night: subprocess.CompletedProcess[str]
) -> None:
    done = checkout.run("run", "parcels", "--night", NIGHT, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(stage["stage"], stage["reused"]) for stage in found["stages"]] == [(stage, True) for stage in STAGES]
    assert found["report"].endswith(f"parcels/{NIGHT}.html")


def test_history_and_status_know_it(checkout: Checkout, night: subprocess.CompletedProcess[str]) -> None:
    (found,) = json.loads(checkout.run("history", "parcels", "--json").stdout)
    assert (found["night"], found["verdict"], found["model_version"]) == (NIGHT, "promoted", 1)
    assert found["challenger"] > 0.6
    assert all(found["seconds"][stage] > 0 for stage in STAGES)
    (status,) = json.loads(checkout.run("status", "--json").stdout)
    assert (status["champion_version"], status["age"]) == (1, 0)


def test_the_report_has_all_its_parts(checkout: Checkout, night: subprocess.CompletedProcess[str]) -> None:
    page = (checkout.root / ".nightshift" / "reports" / "parcels" / f"{NIGHT}.html").read_text()
    assert f"Night {NIGHT}: model v1 is the first champion: AUC" in page
    assert ">Verdict: " in page
    for part in (
        "ROC",
        "Calibration",
        "Scores",
        "By lane",
        "What it looks at",
        "Rows by day",
        "Expectations",
        "Lineage",
    ):
        assert f">{part}</h" in page
    assert len(page.encode()) < 500_000
