"""Real kills of a real Airflow: ``kill -9`` as soon as a cluster was asked for, and the reaper's own DAG."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.aws import AwsDouble, aws_double
from tests.fakes.emr_account import PROGRAMS, emr_workplace
from tests.fakes.workplace import AIRFLOW, ROOT, Workplace

pytestmark = [pytest.mark.airflow, pytest.mark.long]

NIGHT = "2024-03-02"
MINUTES = 5


@pytest.fixture
def double() -> Iterator[AwsDouble]:
    with aws_double(programs=PROGRAMS) as started:
        yield started


@pytest.fixture
def workplace(double: AwsDouble, tmp_path: Path) -> Workplace:
    made = emr_workplace(tmp_path, double)
    shutil.copy(ROOT / "dags" / "housekeeping.py", made.root / "dags")
    return made


def kill_after_create(workplace: Workplace, double: AwsDouble) -> None:
    """Begin a night, and kill everything of it when AWS has been asked for a cluster."""
    night = subprocess.Popen(
        [AIRFLOW, "dags", "test", "parcels__retraining", NIGHT],
        env=workplace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + MINUTES * 60
        while not double.journal.of("RunJobFlow"):
            assert night.poll() is None, "the night ended before it asked for a cluster"
            assert time.monotonic() < deadline
    finally:
        os.killpg(night.pid, signal.SIGKILL)
        night.wait()


def test_a_night_that_is_killed_leaves_a_cluster_that_emr_ends(workplace: Workplace, double: AwsDouble) -> None:
    kill_after_create(workplace, double)
    assert len(double.alive()) == 1
    double.advance(14 * 60)
    assert len(double.alive()) == 1
    double.advance(2 * 60)
    assert double.alive() == []


def test_the_reaper_ends_it_past_its_deadline_and_says_so_loudly(workplace: Workplace, double: AwsDouble) -> None:
    kill_after_create(workplace, double)
    quiet = workplace.airflow("dags", "test", "nightshift__reaper", NIGHT)
    assert quiet.returncode == 0, quiet.stdout[-4000:]
    assert "LEAKED" not in quiet.stdout, "its run may go on: Airflow's database says that it is running"
    [cluster] = double.alive()
    cluster.tags["deadline"] = "2024-03-02T10:00:00Z"
    stranger = double.client("emr").run_job_flow(
        **{**double.journal.sent("RunJobFlow"), "Name": "not ours", "Tags": []}
    )
    loud = workplace.airflow("dags", "test", "nightshift__reaper", NIGHT)
    assert loud.returncode == 0, loud.stdout[-4000:]
    assert f"LEAKED: the cluster {cluster.id} of parcels" in loud.stdout
    assert "its deadline was 2024-03-02 10:00 UTC" in loud.stdout
    assert [each.id for each in double.alive()] == [stranger["JobFlowId"]]
