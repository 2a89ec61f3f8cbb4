"""Jobs in environments of their own: what the lock of jobs installs, and the dependency archive beside a cluster's Spark.

Both are made from the package index, as ``nightshift package`` and an image would; neither has Airflow, nor this checkout.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyspark
import pytest
from tests.fakes.tiny_model import FIRST_NIGHT, write_model

from nightshift.java import find_java
from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.jobs.release import Release, build_release
from nightshift.plan import STAGES, Interval
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.stage import StageResult
from nightshift.stamps import platform_name, python_minor
from nightshift.storage import Ref, Store

pytestmark = [pytest.mark.long, pytest.mark.jvm, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-job.txt"
UV = Path(sys.prefix) / "bin" / "uv"
KEPT = ("HOME", "LANG", "PATH", "TMPDIR")
ON_CLUSTER = STAGES[: STAGES.index("register")]


class Site:
    """Storage and an MLflow database of its own, and a night that is planned."""

    def __init__(self, root: Path, models: Path) -> None:
        self.home = root / "home"
        settings = Settings.from_environment({"NIGHTSHIFT_MODELS": str(models), "NIGHTSHIFT_HOME": str(self.home)})
        interval = Interval.of_day(FIRST_NIGHT - timedelta(days=1))
        spec = load_spec(models / "parcels.yaml")
        self.plan = publish(make_plan(spec, interval, settings, run_id="test", trigger="test"))
        self.store = Store.open(settings.storage, env=settings.env, model="parcels")

    def contents(self, results: Mapping[str, StageResult]) -> dict[str, str]:
        """Content digests of every version that the stages published, and of each table in it."""
        found = {}
        for stage, result in results.items():
            assert result.ref is not None
            found[stage] = result.ref.digest
            outputs = self.store.resolve(result.ref).outputs
            found |= {f"{stage}/{name}": output.digest for name, output in outputs.items()}
        return found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec, and its data: where the data is, is in what ingest publishes."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Of this checkout, for this machine."""
    folder = tmp_path_factory.mktemp("release")
    return build_release(LOCK, folder, python=python_minor(), platform=platform_name())


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the lock of jobs; gives its interpreter."""
    folder = tmp_path_factory.mktemp("locked") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [UV, "pip", "install", "--quiet", "--python", folder, "--require-hashes", "-r", LOCK]
    subprocess.run([*command, "--build-constraints", ROOT / "requirements-build.txt"], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def night(locked: Path, release: Release, models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contents of a night, every stage of it in the environment of the lock."""
    site = Site(tmp_path_factory.mktemp("night"), models)
    results: dict[str, StageResult] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(release.code))
        patch.setenv("JAVA_HOME", str(find_java().home))
        for stage in STAGES:
            refs = {name: result.ref for name, result in results.items() if result.ref}
            results[stage] = run_job(Job(stage, site.plan, refs), python=str(locked), on_line=print)
    assert [result.status for result in results.values()] == ["succeeded"] * len(STAGES)
    return site.contents({stage: results[stage] for stage in ON_CLUSTER})


def test_the_lock_of_jobs_runs_every_stage_of_a_night_without_airflow(night: dict[str, str], locked: Path) -> None:
    assert night
    done = subprocess.run([locked, "-c", "import airflow"], capture_output=True, text=True, check=False)
    assert "No module named 'airflow'" in done.stderr


# -- the archive, as on a machine of EMR ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dependency archive, unpacked."""
    folder = tmp_path_factory.mktemp("packages") / release.dependencies.name.split("-")[2]
    with tarfile.open(release.dependencies) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def node(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a step: a Python with nothing in it, Spark's own files, and the packages."""
    venv = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    return {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "JAVA_HOME": str(find_java().home),
        "NIGHTSHIFT_HOME": str(venv.parent / "home"),
        "PYSPARK_PYTHON": str(venv / "bin" / "python"),
        "PYTHONPATH": str(packages),
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def step(
    stage: str, site: Site, release: Release, node: Mapping[str, str], refs: Mapping[str, Ref], *more: str
) -> tuple[int, dict[str, Any], str]:
    """A stage as a step of a cluster runs it; gives status, result and output."""
    result = site.home / f"{stage}.json"
    done = subprocess.run(
        [
            *(f"{node['SPARK_HOME']}/bin/spark-submit", "--master", "local[2]", "--conf", "spark.ui.enabled=false"),
            *("--py-files", str(release.code), str(release.entry), *Job(stage, site.plan, refs).arguments()),
            *(*more, "--result", str(result)),
        ],
        env=dict(node), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(result.read_text()) if result.is_file() else {}, done.stdout


def test_the_archive_holds_everything_but_spark(packages: Path, node: Mapping[str, str]) -> None:
    """Imported by a Python that has nothing else, and by no path of the machine that it was built on."""
    modules = (
        "great_expectations",
        "mlflow",
        "numpy",
        "obstore",
        "onnx",
        "onnxruntime",
        "pandas",
        "pyarrow",
        "xgboost",
    )
    program = f"import {', '.join(modules)}; print('\\n'.join(m.__file__ for m in ({', '.join(modules)})))"
    done = subprocess.run(
        [node["PYSPARK_PYTHON"], "-W", "ignore", "-c", program],
        env=dict(node),
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.startswith(f"{packages}/") for line in done.stdout.splitlines()} == {True}
    assert not (packages / "pyspark").exists()
    assert not (packages / "py4j").exists()
    assert not (packages / "bin").exists()


def test_nothing_in_the_archive_names_this_machine(packages: Path, release: Release) -> None:
    mine = re.compile("|".join(re.escape(str(path)) for path in (release.code.parent, ROOT, sys.prefix)).encode())
    found = [path for path in packages.rglob("*") if path.is_file() and mine.search(path.read_bytes())]
    assert found == []


def test_a_night_on_the_archive_equals_that_of_the_lock(
    release: Release, node: Mapping[str, str], night: dict[str, str], models: Path, tmp_path: Path
) -> None:
    site = Site(tmp_path, models)
    lock = json.loads(release.description.read_text())["lock"]
    results: dict[str, StageResult] = {}
    for stage in ON_CLUSTER:
        refs = {name: result.ref for name, result in results.items() if result.ref}
        status, result, said = step(stage, site, release, node, refs, "--dependencies", lock)
        assert status == 0, said
        results[stage] = StageResult.from_dict(result)
    assert {stage: asdict(result)["status"] for stage, result in results.items()} == dict.fromkeys(
        ON_CLUSTER, "succeeded"
    )
    assert site.contents(results) == night


def test_a_step_on_other_packages_is_refused(
    release: Release, node: Mapping[str, str], models: Path, tmp_path: Path
) -> None:
    site = Site(tmp_path, models)
    status, result, said = step("ingest", site, release, node, {}, "--dependencies", "f" * 64)
    lock = json.loads(release.description.read_text())["lock"]
    assert status == 78, said
    assert f"the lock {'f' * 16}" in result["error"]["message"]
    assert f"the lock {lock[:16]}" in result["error"]["message"]


def test_the_packages_of_the_lock_are_the_same_bytes_twice(release: Release, tmp_path: Path) -> None:
    """All of them, from the package index; the code archive has a test of its own."""
    again = build_release(LOCK, tmp_path, python=python_minor(), platform=platform_name())
    for one, other in ((release.dependencies, again.dependencies), (release.description, again.description)):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()
