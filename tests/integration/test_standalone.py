"""A stage on a real Spark cluster: the same bytes as on one machine, on every worker, and no secret anywhere."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.spark_cluster import SparkCluster, spark_cluster
from tests.fakes.toy_night import PLACES, ToyNight, all_days

from nightshift.jobs import Job, publish, run_job
from nightshift.jobs.placement import application_in
from nightshift.stage import StageResult

pytestmark = pytest.mark.jvm

STORE_SECRET = "canary-of-the-store-4711"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def use_cluster(cluster: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SparkCluster:
    variables = {
        **cluster.environment,
        "NIGHTSHIFT_HOME": str(tmp_path / "home"),
        "NIGHTSHIFT_SPARK_EVENTS": (tmp_path / "events").as_uri(),
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": STORE_SECRET,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return cluster


class Witness:
    """Reads a job's lines, and looks around while the job is at work.

    Attributes:
        lines: What the job said.
        application: Id of its application.
        commands: Command lines of every process of this machine.
        pages: What the master's and the driver's pages said.
    """

    def __init__(self, cluster: SparkCluster) -> None:
        self._cluster = cluster
        self.lines: list[str] = []
        self.application: str | None = None
        self.commands = ""
        self.pages: dict[str, str] = {}

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        found = application_in(line)
        if found is None:
            return
        self.application = found
        self.commands = "\n".join(
            " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        )
        app = self._read("master", f"{self._cluster.ui}/app/?appId={found}")
        driver = re.search(r'href="(http://127\.0\.0\.1:\d+)/?"', app)
        assert driver is not None, app
        for page in ("environment/", "executors/"):
            self._read(page, f"{driver[1]}/{page}")
        self._read("api", f"{driver[1]}/api/v1/applications/{found}/environment")

    def _read(self, name: str, url: str) -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            self.pages[name] = answer.read().decode()
        return self.pages[name]


def outputs(night: ToyNight, result: StageResult) -> dict[str, Any]:
    assert result.ref is not None
    manifest = night.store.resolve(result.ref)
    return {
        "outputs": {name: (output.digest, output.rows, output.schema) for name, output in manifest.outputs.items()},
        "transforms": night.store.read(manifest, "transforms.json"),
        "key": manifest.stage_key,
        "digest": manifest.digest,
        "rows": [repr(row) for name in manifest.outputs for row in night.table(result, name).to_pylist()],
    }


def test_the_cluster_gives_what_one_machine_gives_and_shows_no_secret(
    tmp_path: Path, use_cluster: SparkCluster
) -> None:
    given: dict[str, Any] = {}
    witness = Witness(use_cluster)
    for target in ("local", "standalone"):
        night = ToyNight(tmp_path / target)
        validated = night.validated(all_days(), {"places": PLACES})
        job = Job("preprocess", publish(night.plan()), {"validate": validated})
        on_cluster = target == "standalone"
        result = run_job(job, on_line=witness if on_cluster else print, on_cluster=on_cluster)
        given[target] = outputs(night, result)
    log = "\n".join(witness.lines)

    assert given["standalone"] == given["local"]
    assert set(given["local"]["outputs"]) == {"train", "holdout", "probe"}
    assert " ERROR " not in log
    assert witness.application is not None
    assert use_cluster.applications() == []
    assert [app["state"] for app in use_cluster.applications(completed=True)] == ["FINISHED"]

    [folder] = (tmp_path / "events").glob(f"*{witness.application}")
    packed = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    told = _history(folder)
    assert {event["Task Info"]["Executor ID"] for event in told if event["Event"] == "SparkListenerTaskEnd"} == {
        "0",
        "1",
    }
    text = json.dumps(told)
    for secret in (use_cluster.secret, STORE_SECRET):
        assert secret not in witness.commands
        assert secret not in log
        assert secret.encode() not in packed
        assert secret not in text
        for page, content in witness.pages.items():
            assert secret not in content, page
    assert "spark.authenticate.secret" in witness.pages["api"], "it is a setting, and its value is not shown"


def _history(folder: Path) -> list[dict[str, Any]]:
    """The events of an application; the log is compressed with zstd."""
    import pyarrow as pa

    [events] = folder.glob("events_*")
    with pa.CompressedInputStream(pa.OSFile(str(events)), "zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]
