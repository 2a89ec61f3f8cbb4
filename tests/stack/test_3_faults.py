"""What breaks at night. Each fault ends in success by retry or in a clear failure within a bound, with nothing
half-published, never in a hang."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.stack.stack import Stack, until

BOUND = 900
MODEL = "flight_delays"
DISTRIBUTED = "flight_delays_distributed"
STAGES = ("preprocess", "train", "evaluate", "register", "deploy")


@pytest.fixture(scope="module", autouse=True)
def started(stack: Stack) -> None:
    """A model that trains on both workers, long enough to be interrupted."""
    models = stack.root / "dags" / "models"
    spec = (models / f"{MODEL}.yaml").read_text()
    told = spec.replace(f"model: {MODEL}\n", f"model: {DISTRIBUTED}\n")
    told = told.replace("  engine: xgboost\n", "  engine: xgboost\n  workers: 2\n")
    told = told.replace("n_estimators: 200", "n_estimators: 400")
    told = told.replace("prepare: flight_delays.sql", f"prepare: {DISTRIBUTED}.sql")
    assert told.count("workers: 2") == 1
    assert told.count("n_estimators: 400") == 1
    (models / f"{DISTRIBUTED}.sql").write_text((models / f"{MODEL}.sql").read_text())
    (models / f"{DISTRIBUTED}.yaml").write_text(told)


def whole(stack: Stack, model: str, day: str) -> None:
    """Nothing is half-published: every manifest's files are there, with their sizes, and the night is complete."""
    for stage in STAGES:
        versions = stack.manifests(model, stage, day)
        assert len(versions) == 1, f"{stage}: {len(versions)} versions"
        stored = stack.objects(f"store/dev/{model}/{stage}/{day}/attempt={versions[0]['attempt']}/")
        sizes = {name.partition("/attempt=")[2].partition("/")[2]: size for name, size in stored.items()}
        assert {file["path"]: file["size"] for file in versions[0]["files"]}.items() <= sizes.items(), stage


def active(stack: Stack, stage: str) -> list[dict[str, Any]]:
    return [app for app in stack.spark()["activeapps"] if stage in app["name"]]


def executors_run(stack: Stack, stage: str) -> bool:
    """Whether an application of this stage has executors on both workers."""
    running = active(stack, stage)
    busy = [worker for worker in stack.spark()["workers"] if worker["state"] == "ALIVE" and worker["coresused"]]
    return bool(running) and len(busy) == 2


def test_a_worker_killed_in_preprocess(stack: Stack) -> None:
    run = stack.trigger(MODEL, "2013-07-20")
    until(lambda: executors_run(stack, "preprocess"), BOUND, "preprocess to have executors")
    stack.compose("kill", "spark-worker-1")
    stack.compose("up", "--detach", "--no-deps", "spark-worker-1")
    assert stack.wait(MODEL, run, seconds=BOUND) == "success", stack.told(MODEL, run)
    whole(stack, MODEL, "2013-07-19")


def test_the_scheduler_restarted_while_a_job_runs(stack: Stack) -> None:
    run = stack.trigger(MODEL, "2013-07-21")
    until(lambda: bool(active(stack, "preprocess")), BOUND, "preprocess to run")
    stack.compose("restart", "--timeout", "5", "airflow-scheduler")
    until(lambda: len(active(stack, "preprocess")) <= 1, 120, "the driver that was killed to be forgotten")
    assert stack.wait(MODEL, run, seconds=BOUND) == "success", stack.told(MODEL, run)
    whole(stack, MODEL, "2013-07-20")


def test_minio_stopped_for_half_a_minute(stack: Stack) -> None:
    run = stack.trigger(MODEL, "2013-07-22")
    until(lambda: executors_run(stack, "preprocess"), BOUND, "preprocess to have executors")
    stack.compose("pause", "minio")
    until(_seconds(30), 60, "half a minute")
    stack.compose("unpause", "minio")
    assert stack.wait(MODEL, run, seconds=BOUND) == "success", stack.told(MODEL, run)
    whole(stack, MODEL, "2013-07-21")


def test_minio_restarted_while_a_stage_writes(stack: Stack) -> None:
    run = stack.trigger(MODEL, "2013-07-23")
    until(lambda: executors_run(stack, "preprocess"), BOUND, "preprocess to have executors")
    stack.compose("kill", "minio")
    until(_seconds(30), 60, "half a minute")
    stack.compose("up", "--detach", "--no-deps", "minio")
    assert stack.wait(MODEL, run, seconds=BOUND) == "success", stack.told(MODEL, run)
    whole(stack, MODEL, "2013-07-22")


def test_mlflow_stopped_at_register(stack: Stack) -> None:
    run = stack.trigger(MODEL, "2013-07-24")
    stack.wait_for_task(MODEL, run, "evaluate", ("running", "success"), seconds=BOUND)
    stack.compose("stop", "--timeout", "2", "mlflow")
    stack.wait_for_task(MODEL, run, "register", ("up_for_retry", "failed", "success"), seconds=300)
    assert stack.tasks(MODEL, run)["register"]["state"] != "success", "MLflow was down"
    assert "MLflow" in stack.log(MODEL, run, "register")
    assert stack.manifests(MODEL, "register", "2013-07-23") == []
    stack.compose("up", "--detach", "--no-deps", "--wait", "mlflow")
    assert stack.wait(MODEL, run, seconds=BOUND) == "success", stack.told(MODEL, run)
    whole(stack, MODEL, "2013-07-23")
    login = ("admin", stack.secrets["MLFLOW_ADMIN_PASSWORD"])
    asked = {"filter": f"name='dev-{MODEL}' and run_id != ''", "max_results": "100"}
    api = f"{stack.url('MLFLOW_PORT')}/api/2.0/mlflow/model-versions/search"
    versions = httpx.get(api, params=asked, auth=login, timeout=30).json()["model_versions"]
    nights = [
        tag["value"] for version in versions for tag in version.get("tags", []) if tag["key"] == "nightshift.night"
    ]
    assert len(nights) == len(set(nights)), "one version a night, however often register ran"


def test_distributed_training_ends_as_any_other(stack: Stack) -> None:
    run = stack.trigger(DISTRIBUTED, "2013-07-15")
    assert stack.wait(DISTRIBUTED, run, seconds=BOUND) == "success", stack.told(DISTRIBUTED, run)
    whole(stack, DISTRIBUTED, "2013-07-14")
    assert any(app["cores"] == 2 and " train " in f"{app['name']} " for app in stack.spark()["completedapps"])
    (native,) = stack.manifests(MODEL, "evaluate", "2013-07-14")
    (shared,) = stack.manifests(DISTRIBUTED, "evaluate", "2013-07-14")
    auc, auc_of_two = (found["result"]["challenger"]["roc_auc"] for found in (native, shared))
    assert abs(auc - auc_of_two) < 0.005


def test_a_worker_killed_in_distributed_training(stack: Stack) -> None:
    run = stack.trigger(DISTRIBUTED, "2013-07-16")
    until(lambda: executors_run(stack, "train"), BOUND, "train to have executors")
    stack.compose("kill", "spark-worker-2")
    stack.compose("up", "--detach", "--no-deps", "spark-worker-2")
    ended = stack.wait(DISTRIBUTED, run, seconds=BOUND)
    if ended == "success":
        whole(stack, DISTRIBUTED, "2013-07-15")
    else:
        assert "worker" in stack.told(DISTRIBUTED, run), stack.told(DISTRIBUTED, run)
        assert stack.manifests(DISTRIBUTED, "train", "2013-07-15") == []


def test_nothing_runs_on_the_cluster_any_more(stack: Stack) -> None:
    until(lambda: not stack.spark()["activeapps"], 60, "the cluster to be free")
    assert not any(worker["coresused"] for worker in stack.spark()["workers"] if worker["state"] == "ALIVE")


def _seconds(wanted: float) -> Any:
    import time

    ends = time.monotonic() + wanted
    return lambda: time.monotonic() >= ends
