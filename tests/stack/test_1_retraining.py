"""The README's path: up, a retraining run by the REST API with a login, and where its results are."""

from __future__ import annotations

import httpx
import pytest
from tests.stack.stack import SERVICES, Stack, until

MODEL = "flight_delays"
NIGHT, DAY = "2013-07-15", "2013-07-14"
STAGES = ["ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"]


@pytest.fixture(scope="module")
def run(stack: Stack) -> str:
    started = stack.trigger(MODEL, NIGHT)
    assert stack.wait(MODEL, started, seconds=900) == "success", stack.told(MODEL, started)
    return started


def test_up_ends_with_everything_healthy(stack: Stack) -> None:
    containers = stack.containers()
    for service in SERVICES:
        assert containers[service]["State"]["Health"]["Status"] == "healthy", service
    for service in ("prepare", "minio-volume"):
        assert containers[service]["State"]["ExitCode"] == 0, service
    for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "MINIO_CONSOLE_PORT", "SPARK_UI_PORT"):
        assert str(stack.ports[name]) in stack.first_up, "the last lines say where everything is"
    assert not [secret for name, secret in stack.secrets.items() if secret in stack.first_up], "and no password"


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = {service: found["Id"] for service, found in stack.containers().items() if service in SERVICES}
    stack.make("up")
    assert {service: found["Id"] for service, found in stack.containers().items() if service in SERVICES} == before


def test_the_doctor_finds_nothing_wrong(stack: Stack) -> None:
    assert "Everything is right." in stack.make("doctor-stack")


def test_every_stage_succeeds(stack: Stack, run: str) -> None:
    assert {name: task["state"] for name, task in stack.tasks(MODEL, run).items()} == dict.fromkeys(STAGES, "success")


def test_snapshots_and_the_model_are_in_minio(stack: Stack, run: str) -> None:
    (preprocess,) = stack.manifests(MODEL, "preprocess", DAY)
    assert preprocess["outputs"]["train"]["rows"] > 40_000
    assert {file["path"].split("/")[0] for file in preprocess["files"]} == {
        "train",
        "holdout",
        "probe",
        "transforms.json",
        "blessing.json",
        "stats.json",
    }
    (train,) = stack.manifests(MODEL, "train", DAY)
    stored = stack.objects(f"store/dev/{MODEL}/train/{DAY}/attempt={train['attempt']}/")
    assert {name.rpartition("/")[2] for name in stored} >= {"graph.onnx", "model.json"}
    versioning = stack.s3().get_bucket_versioning(Bucket="nightshift")
    assert versioning["Status"] == "Enabled"
    uploads = stack.s3().list_multipart_uploads(Bucket="nightshift").get("Uploads", [])
    assert uploads == [], "the committer leaves no unfinished upload"


def test_the_version_is_in_mlflow_and_its_artifacts_in_minio(stack: Stack, run: str) -> None:
    login = ("admin", stack.secrets["MLFLOW_ADMIN_PASSWORD"])
    api = f"{stack.url('MLFLOW_PORT')}/api/2.0/mlflow"
    asked = {"name": f"dev-{MODEL}", "alias": "champion"}
    version = httpx.get(f"{api}/registered-models/alias", params=asked, auth=login, timeout=30).json()["model_version"]
    found = httpx.get(f"{api}/runs/get", params={"run_id": version["run_id"]}, auth=login, timeout=30).json()["run"]
    metrics = {metric["key"]: metric["value"] for metric in found["data"]["metrics"]}
    assert any(0.85 < value < 1 for name, value in metrics.items() if "auc" in name), metrics
    assert any(name.endswith(".onnx") for name in stack.objects("mlflow/")), "artifacts go through the server"


def test_preprocess_ran_on_the_cluster(stack: Stack, run: str) -> None:
    (finished,) = [app for app in stack.spark()["completedapps"] if "preprocess" in app["name"]]
    assert finished["state"] == "FINISHED"
    assert finished["cores"] == 2, "both workers"
    link = stack.call("GET", f"/dags/{MODEL}__retraining/dagRuns/{run}/taskInstances/preprocess/links")
    (address,) = [value for value in link["extra_links"].values() if value]
    assert finished["id"] in address
    page = httpx.get(address, timeout=30)
    assert page.status_code == 200
    assert finished["id"] in page.text


def test_event_logs_are_kept_for_the_history_server(stack: Stack, run: str) -> None:
    stack.compose("--profile", "history", "up", "--detach", "--wait", "spark-history", timeout=300)
    listed = f"{stack.url('SPARK_HISTORY_PORT')}/api/v1/applications"
    until(lambda: bool(httpx.get(listed, timeout=30).json()), 60, "the history server to list an application")
    assert any("preprocess" in app["name"] for app in httpx.get(listed, timeout=30).json())
    stack.compose("--profile", "history", "rm", "--stop", "--force", "spark-history")


def test_the_same_night_again_repeats_nothing(stack: Stack, run: str) -> None:
    again = stack.trigger(MODEL, NIGHT)
    assert stack.wait(MODEL, again, seconds=300) in ("success",), stack.told(MODEL, again)
    assert len(stack.manifests(MODEL, "preprocess", DAY)) == 1
    assert len(stack.manifests(MODEL, "train", DAY)) == 1


def test_make_trigger_follows_a_run(stack: Stack, run: str) -> None:
    told = stack.make("trigger", f"MODEL={MODEL}", f"NIGHT={NIGHT}", "WAIT=1")
    assert "success" in told
    assert "preprocess" in told
