"""``airflow dags test`` with the compute target ``emr``, end to end on the double: Airflow, steps with Spark, S3. The
same night on one machine gives the same.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.aws import AwsDouble, aws_double
from tests.fakes.aws.spark_submit import JARS
from tests.fakes.emr_account import PROGRAMS, emr_workplace, prepare
from tests.fakes.mlflow_server import mlflow_server
from tests.fakes.s3a_jars import s3a_jars
from tests.fakes.tiny_model import FIRST_NIGHT
from tests.fakes.workplace import ROOT, Workplace

from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.ledger import Ledger
from nightshift.plan import STAGES, Interval
from nightshift.registry.aliases import Aliases
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.storage import Store

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long, pytest.mark.timeout(1200)]

NIGHT = FIRST_NIGHT.isoformat()
DEMO = ROOT / "dags" / "models"
# When something was done and how long it took is no result.
PASSING = ("train_seconds",)


@pytest.fixture(scope="module")
def double() -> Iterator[AwsDouble]:
    os.environ[JARS] = s3a_jars()
    with aws_double(programs=PROGRAMS) as started:
        yield started
    del os.environ[JARS]


@pytest.fixture
def workplace(double: AwsDouble, tmp_path: Path) -> Workplace:
    double.reset()
    made = emr_workplace(tmp_path / "workplace", double)
    made.environ["NIGHTSHIFT_STORAGE"] = f"s3://ns-store/{tmp_path.name}"
    return made


def tables(store: Store, upto: str = "evaluate") -> dict[str, Any]:
    """What a night published, by dataset and interval, but for times: digests, rows, metrics, verdict."""
    found = {}
    for dataset in store.objects.names("")[0]:
        if dataset in ("ledger", "plan", "report", "infra", *STAGES[STAGES.index(upto) + 1 :]):
            continue
        for interval in store.intervals(dataset):
            manifest = store.latest(dataset, interval)
            if manifest is not None:
                outputs = {name: (output.digest, output.rows) for name, output in manifest.outputs.items()}
                result = {name: value for name, value in manifest.result.items() if name not in PASSING}
                found[f"{dataset}/{interval}"] = (manifest.stage_key, outputs, result)
    return found


def local_night(models: Path, root: Path, *, model: str = "parcels", night: str = NIGHT) -> dict[str, Any]:
    """What the same night by the same spec publishes, every job a process of this machine, on a disk of it."""
    settings = Settings.from_environment(
        {"NIGHTSHIFT_MODELS": str(models), "NIGHTSHIFT_HOME": str(root), "NIGHTSHIFT_COMPUTE": "local"}
    )
    spec = load_spec(models / f"{model}.yaml")
    interval = Interval.of_day(date.fromisoformat(night) - timedelta(days=1))
    plan = publish(make_plan(spec, interval, settings, run_id="local", trigger="test"))
    refs: dict[str, Any] = {}
    for stage in STAGES[: STAGES.index("evaluate") + 1]:
        refs[stage] = run_job(Job(stage, plan, refs), on_line=print).ref
    return tables(Store.open(settings.storage, env=settings.env, model=model))


def distant_store(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, *, model: str = "parcels") -> Store:
    for name, value in workplace.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return Store.open(workplace.environ["NIGHTSHIFT_STORAGE"], env="dev", model=model)


def xcom(workplace: Workplace, key: str) -> dict[str, Any]:
    with closing(sqlite3.connect(workplace.root / "airflow" / "airflow.db")) as connection:
        rows = connection.execute("SELECT task_id, value FROM xcom WHERE key = ?", (key,)).fetchall()
    return {task: json.loads(value) for task, value in rows}


def assert_one_cluster_and_it_is_gone(double: AwsDouble, stages: tuple[str, ...] = STAGES[:5]) -> None:
    [cluster] = double.emr.clusters()
    assert (cluster.state, cluster.reason["Code"]) == ("TERMINATED", "USER_REQUEST")
    assert double.alive() == []
    names = [step.name.split(" ") for step in cluster.steps]
    assert [(name[0], " ".join(name[2:])) for name in names] == [(stage, "try 1") for stage in stages]
    assert {step.state for step in cluster.steps} == {"COMPLETED"}


def test_a_night_on_emr_is_a_night_on_one_machine(
    double: AwsDouble, workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = workplace.test(NIGHT)
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert_one_cluster_and_it_is_gone(double)
    # The job's own lines are in the task's log, and what is not on the cluster ran here.
    for line in ("train: night", "evaluate: first, succeeded", "deploy: succeeded"):
        assert line in ran.stdout
    [cluster] = double.emr.clusters()
    page = f"https://us-east-1.console.aws.amazon.com/emr/home?region=us-east-1#/clusterDetails/{cluster.id}"
    assert xcom(workplace, "emr_cluster") == dict.fromkeys(("cluster", *STAGES[:5]), page)

    sent = double.journal.sent("RunJobFlow")
    assert {tag["Key"] for tag in sent["Tags"]} >= {
        "project",
        "env",
        "model",
        "run_key",
        "owner",
        "cost_center",
        "deadline",
    }
    assert sent["AutoTerminationPolicy"] == {"IdleTimeout": 900}
    for call in double.journal.of("AddJobFlowSteps"):
        [step] = call.parameters["Steps"]
        assert step["ActionOnFailure"] == "CONTINUE"
        assert step["HadoopJarStep"]["Args"][:3] == ["spark-submit", "--deploy-mode", "client"]
    order = double.journal.operations()
    assert order.index("RunJobFlow") > max(
        order.index(name) for name in ("GetCallerIdentity", "ListReleaseLabels", "HeadBucket")
    )
    for secret in ("orchestrator-secret", "instance-role-secret"):
        assert secret not in ran.stdout
        assert secret not in json.dumps([call.parameters for call in double.journal], default=str)

    on_emr = tables(distant_store(workplace, monkeypatch))
    assert {name.split("/")[0] for name in on_emr} >= {"raw", "valid", "preprocess", "train", "evaluate"}
    assert local_night(workplace.models, tmp_path / "local") == on_emr


def test_a_night_that_waits_in_the_triggerer(double: AwsDouble, workplace: Workplace) -> None:
    workplace.environ["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] = "True"
    ran = workplace.test(NIGHT)
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert_one_cluster_and_it_is_gone(double)
    assert ran.stdout.count("[DAG TEST] running trigger in line") == 6, "the cluster's start, and five steps"
    assert "evaluate: first, succeeded" in ran.stdout


def test_bad_data_fails_the_night_as_anywhere_and_ends_the_cluster(double: AwsDouble, workplace: Workplace) -> None:
    double.client("s3").put_object(Bucket="ns-data", Key="parcels/2024-03-01.csv", Body=b"parcel,sent_at\n1,x\n")
    ran = workplace.test(NIGHT)
    assert ran.returncode == 1
    assert "which label.column names" in "\n".join(ran.stdout.splitlines()[-8:])
    assert "the logs of the step are below s3://ns-logs/emr/j-" in ran.stdout
    assert "UP_FOR_RETRY" not in ran.stdout, "an error of the data is not tried again"
    assert double.alive() == []


def test_all_stages_on_the_cluster_end_with_a_champion(
    double: AwsDouble, workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For an Airflow whose machine runs no job: its interpreter of jobs is none."""
    with mlflow_server(tmp_path / "mlflow") as url:
        workplace.environ |= {"NIGHTSHIFT_EMR_STAGES": "all", "NIGHTSHIFT_MLFLOW_URI": url}
        workplace.environ["NIGHTSHIFT_PYTHON"] = "/usr/bin/false"
        ran = workplace.test(NIGHT)
        assert ran.returncode == 0, ran.stdout[-6000:]
        aliases = dict(Aliases(url, "dev-parcels").read().aliases)
    assert_one_cluster_and_it_is_gone(double, STAGES)
    assert "deploy: succeeded" in ran.stdout
    store = distant_store(workplace, monkeypatch)
    assert [entry.kind for entry in Ledger(store).entries()] == ["promotion"]
    assert aliases == {"champion": 1}
    assert store.intervals("infra"), "its serving was tried there"


def test_a_stage_that_fails_there_fails_the_run(double: AwsDouble, workplace: Workplace) -> None:
    """Where all stages precede the teardown, a run is what its teardown is."""
    workplace.environ |= {"NIGHTSHIFT_EMR_STAGES": "all", "NIGHTSHIFT_MLFLOW_URI": "http://127.0.0.1:9"}
    double.inject.step("validate *", "FAILED", times=None)
    ran = workplace.test(NIGHT)
    assert ran.returncode == 1, ran.stdout[-6000:]
    assert "the night failed in validate; the cluster is gone." in ran.stdout
    assert "the validate step" in ran.stdout.rpartition("validate failed.")[2], "the reason is read last"
    [cluster] = double.emr.clusters()
    assert (cluster.state, cluster.reason["Code"]) == ("TERMINATED", "USER_REQUEST")
    assert [step.state for step in cluster.steps] == ["COMPLETED", "FAILED"]


@pytest.fixture(scope="module")
def demo_here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a night of the demo model gives on one machine."""
    return local_night(DEMO, tmp_path_factory.mktemp("here"), model="flight_delays", night="2013-07-15")


@pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])
def test_the_demo_model_on_emr_and_on_one_machine(
    double: AwsDouble,
    demo_here: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
) -> None:
    """As anybody would call it, with the spec of this repository untouched; waited for in a worker or in a triggerer."""
    double.reset()
    made = Workplace(tmp_path / "workplace")
    for name in ("flight_delays.yaml", "flight_delays.sql"):
        (made.models / name).write_text((DEMO / name).read_text())
    made.patience = 1100
    made.environ |= prepare(double)
    made.environ["NIGHTSHIFT_STORAGE"] = f"s3://ns-store/{tmp_path.name}"
    made.environ["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] = str(deferrable)
    ran = made.airflow("dags", "test", "flight_delays__retraining", "2013-07-15")
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert ran.stdout.count("[DAG TEST] running trigger in line") == (6 if deferrable else 0)
    assert_one_cluster_and_it_is_gone(double)
    assert "deploy: succeeded" in ran.stdout
    on_emr = tables(distant_store(made, monkeypatch, model="flight_delays"))
    assert demo_here == on_emr


def test_a_night_on_nodes_that_have_only_what_was_packaged(double: AwsDouble, tmp_path: Path) -> None:
    """``nightshift package`` for real: the bootstrap action unpacks the archive, and nothing else is there."""
    with aws_double(programs=PROGRAMS, bare_nodes=True) as bare:
        workplace = emr_workplace(tmp_path / "workplace", bare)
        out = tmp_path / "release"
        lock = ROOT / "requirements-job.txt"
        packaged = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "nightshift"), "package", "--lock", str(lock), "--out", str(out)),
                *("--to", workplace.environ["NIGHTSHIFT_EMR_CODE"].rstrip("/")),
            ],
            env=workplace.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert packaged.returncode == 0, packaged.stderr
        [archive] = out.glob("nightshift-dependencies-*.tar.gz")
        workplace.environ["NIGHTSHIFT_EMR_DEPENDENCIES"] = archive.name
        ran = workplace.test(NIGHT)
        assert ran.returncode == 0, ran.stdout[-6000:]
        assert_one_cluster_and_it_is_gone(bare)
        [action] = bare.journal.sent("RunJobFlow")["BootstrapActions"]
        assert action["ScriptBootstrapAction"]["Args"][0].endswith(archive.name)
