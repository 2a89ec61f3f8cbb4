"""One environment for every test: set before anything imports Airflow, and never the developer's own."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis

ROOT = Path(__file__).parent.parent
STATE = Path(tempfile.mkdtemp(prefix="nightshift-tests-"))
atexit.register(shutil.rmtree, STATE, ignore_errors=True)

for name in [name for name in os.environ if name.startswith(("AIRFLOW", "NIGHTSHIFT_", "MLFLOW_"))]:
    if not name.startswith("NIGHTSHIFT_TEST_"):  # what the tests themselves are told, such as where a MinIO is
        del os.environ[name]
os.environ.update(
    AIRFLOW_HOME=str(STATE / "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    NIGHTSHIFT_HOME=str(STATE / "home"),
    NIGHTSHIFT_MODELS=str(ROOT / "dags" / "models"),
    PYSPARK_PYTHON=sys.executable,
    MLFLOW_DISABLE_TELEMETRY="true",
    GX_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
)

# A deadline would fail a test for what else the machine is doing.
hypothesis.settings.register_profile("nightshift", deadline=None)
hypothesis.settings.load_profile("nightshift")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which stores kept the contract, where that was asked."""
    from tests.fakes.minio import whereabouts

    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if any(getattr(report, "nodeid", "").startswith("tests/contract/") for report in reports):
        terminalreporter.write_line(whereabouts())
