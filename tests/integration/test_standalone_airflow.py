"""A night under Airflow whose Spark stages run on a cluster: the task's log, its link, and no secret in any of it."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.spark_cluster import spark_cluster
from tests.fakes.workplace import Workplace

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

STORE_SECRET = "canary-of-the-store-4711"


def test_a_night_on_the_cluster_with_a_link_to_its_application(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "workplace")
    with spark_cluster(tmp_path / "cluster") as cluster:
        workplace.environ |= {**cluster.environment, "AWS_SECRET_ACCESS_KEY": STORE_SECRET}
        ran = workplace.test("2024-03-02")
        assert ran.returncode == 0, ran.stdout[-4000:]
        assert cluster.applications() == []
        [application] = cluster.applications(completed=True)
    assert application["name"] == "parcels preprocess 2024-03-01"
    assert "deploy: succeeded" in ran.stdout
    assert re.findall(r"preprocess: Spark application (\S+) on", ran.stdout) == [application["id"]]

    database = workplace.root / "airflow" / "airflow.db"
    with closing(sqlite3.connect(database)) as connection:
        links = connection.execute("SELECT task_id, value FROM xcom WHERE key = 'spark_ui'").fetchall()
    page = f"{cluster.ui}/app/?appId={application['id']}"
    assert [(task, json.loads(value)) for task, value in links] == [("preprocess", page)]
    for secret in (cluster.secret, STORE_SECRET):
        assert secret not in ran.stdout
        assert secret.encode() not in database.read_bytes()
