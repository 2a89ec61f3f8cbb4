"""A real Airflow (API server, scheduler, dag-processor) with two small models: nights through the REST API."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.fakes.tiny_model import write_model

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

ROOT = Path(__file__).parent.parent.parent
AIRFLOW = str(Path(sys.executable).parent / "airflow")
NIGHTS = ["2024-03-02", "2024-03-03", "2024-03-04"]
PARCELS, LETTERS = "parcels__retraining", "letters__retraining"


def eventually(look: Callable[[], Any], *, what: str, seconds: float = 120) -> Any:
    """The first truthy answer."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"still not after {seconds} s: {what}"
        threading.Event().wait(0.5)
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


class Airflow:
    """An installation of its own below ``root``: home, database, DAGs, specs, data, Nightshift's storage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = write_model(root, model="parcels", days=16)
        write_model(root, model="letters", days=0)
        edit(self.models / "parcels.yaml", 'schedule: "0 2 * * *"\n', "")
        edit(self.models / "letters.yaml", "since: 2024-02-19", "since: 2024-02-19, until: 2024-03-04")
        for name in ("retraining.py", "spec_errors.py", ".airflowignore"):
            shutil.copy(ROOT / "dags" / name, root / "dags")
        api, logs = free_ports(2)
        self.url = f"http://127.0.0.1:{api}"
        self.passwords = {name: secrets.token_urlsafe() for name in ("admin", "vera")}
        home = root / "airflow"
        home.mkdir()
        (home / "simple_auth_manager_passwords.json.generated").write_text(json.dumps(self.passwords))
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT"))},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,vera:viewer",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(96),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(logs),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            "NIGHTSHIFT_HOME": str(root / "nightshift"),
            "NIGHTSHIFT_MODELS": str(self.models),
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def start(self) -> None:
        for command in (["db", "migrate"], ["pools", "set", "nightshift_local", "1", "jobs on this machine"]):
            subprocess.run([AIRFLOW, *command], env=self.environ, check=True, capture_output=True, timeout=180)
        for component in ("api-server", "scheduler", "dag-processor"):
            with (self.root / f"{component}.log").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        [AIRFLOW, component], env=self.environ, stdout=log, stderr=log, start_new_session=True
                    )
                )
        eventually(self.is_healthy, what=f"Airflow is healthy (logs in {self.root})", seconds=180)
        self.client.headers["Authorization"] = f"Bearer {self.token('admin')}"

    def stop(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.client.close()

    def is_healthy(self) -> bool:
        assert all(process.poll() is None for process in self.processes), f"a component died: see {self.root}/*.log"
        try:
            found = self.client.get("/api/v2/monitor/health").json()
        except (httpx.TransportError, ValueError):
            return False
        return all(found[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))

    def token(self, user: str) -> str:
        answer = self.client.post("/auth/token", json={"username": user, "password": self.passwords[user]})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["access_token"])

    def call(self, method: str, path: str, **content: Any) -> Any:
        answer = self.client.request(method, f"/api/v2{path}", **({"json": content} if content else {}))
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def unpause(self, dag: str) -> None:
        eventually(lambda: self.client.get(f"/api/v2/dags/{dag}").is_success, what=f"{dag} is known")
        self.call("PATCH", f"/dags/{dag}", is_paused=False)

    def trigger(self, dag: str, night: str) -> str:
        run = self.call("POST", f"/dags/{dag}/dagRuns", logical_date=None, conf={"night": night})
        return str(run["dag_run_id"])

    def wait(self, dag: str, run: str) -> tuple[str, dict[str, str]]:
        """The run's final state and its tasks' states."""

        def final() -> str | None:
            state = str(self.call("GET", f"/dags/{dag}/dagRuns/{run}")["state"])
            return state if state in ("success", "failed") else None

        state = eventually(final, what=f"{run} of {dag} has ended", seconds=500)
        tasks = self.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return state, {task["task_id"]: task["state"] for task in tasks}

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> list[str]:
        answer = self.client.get(
            f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}",
            headers={"Accept": "application/json"},
        )
        return [line["event"] if isinstance(line, dict) else str(line) for line in answer.json()["content"]]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    installation = Airflow(tmp_path_factory.mktemp("server"))
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


@pytest.fixture(scope="module")
def first_night(airflow: Airflow) -> str:
    airflow.unpause(PARCELS)
    run = airflow.trigger(PARCELS, NIGHTS[0])
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "success", {task: airflow.log(PARCELS, run, task)[-8:] for task in tasks if tasks[task] == "failed"}
    return run


def test_a_night_triggered_through_the_api_ends_with_a_champion(airflow: Airflow, first_night: str) -> None:
    _, tasks = airflow.wait(PARCELS, first_night)
    assert set(tasks.values()) == {"success"}, tasks
    path = f"/dags/{PARCELS}/dagRuns/{first_night}/taskInstances/deploy/xcomEntries/return_value?deserialize=true"
    told = airflow.call("GET", path)["value"]
    assert (told["status"], told["night"]) == ("succeeded", NIGHTS[0])
    assert list(told["results"]) == ["ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"]
    assert any("train: succeeded" in line for line in airflow.log(PARCELS, first_night, "train"))
    events = airflow.call("GET", "/assets/events")["asset_events"]
    assert [event["extra"]["night"] for event in events] == [NIGHTS[0]]


def test_the_report_is_shown_to_those_who_may_see_the_run(airflow: Airflow, first_night: str) -> None:
    page = f"/nightshift/dags/{PARCELS}/report"

    def get(user: str | None, path: str = page, run: str = first_night) -> httpx.Response:
        headers = {"Authorization": f"Bearer {airflow.token(user)}"} if user else {}
        return httpx.get(f"{airflow.url}{path}", params={"run_id": run}, headers=headers, timeout=30)

    assert get(None).status_code == 401
    for user in ("admin", "vera"):
        shown = get(user)
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("text/html")
        assert "parcels" in shown.text
        assert NIGHTS[0] in shown.text
        assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert get("vera", run="no such run").status_code == 404
    assert get(None, run="no such run").status_code == 401
    assert get(None, path="/nightshift/dags/..%2F..%2Fetc/report").status_code in (401, 404)
    assert get("vera", path="/nightshift/dags/..%2F..%2Fetc/report").status_code in (403, 404)
    tabs = airflow.call("GET", "/plugins")["plugins"]
    assert [view["name"] for plugin in tabs for view in plugin["external_views"]] == ["Run report"]
    assert airflow.call("GET", "/plugins/importErrors")["import_errors"] == []


def test_a_failed_stage_is_cleared_after_a_fix_and_the_run_completes(airflow: Airflow, first_night: str) -> None:
    spec = airflow.models / "parcels.yaml"
    edit(spec, "between: [0, 100], mostly: 0.9}", "between: [0, 10], mostly: 0.9}")
    run = airflow.trigger(PARCELS, NIGHTS[1])
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "failed"
    assert [task for task, ended in tasks.items() if ended == "failed"] == ["validate"]
    last = [line for line in airflow.log(PARCELS, run, "validate") if not line.startswith("::")][-1]
    assert last.startswith("validate failed.")
    assert "weight" in last
    edit(spec, "between: [0, 10], mostly: 0.9}", "between: [0, 100], mostly: 0.9}")
    cleared = {"dag_run_id": run, "only_failed": True, "dry_run": False}
    airflow.call("POST", f"/dags/{PARCELS}/clearTaskInstances", **cleared)
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "success", tasks
    assert {ended for task, ended in tasks.items() if task != "deploy"} == {"success"}
    assert any("planning again" in line for line in airflow.log(PARCELS, run, "validate", attempt=2))
    assert not any("planning again" in line for line in airflow.log(PARCELS, run, "train", attempt=1))


def test_a_broken_spec_is_listed_and_the_healthy_stay_scheduled(airflow: Airflow) -> None:
    airflow.unpause(PARCELS)
    broken = airflow.models / "broken.yaml"
    broken.write_text((airflow.models / "parcels.yaml").read_text().replace("gates:", "gate:"))

    def errors() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = airflow.call("GET", "/importErrors")["import_errors"]
        return found

    (error,) = eventually(errors, what="the import error is listed")
    assert error["filename"].endswith("spec_errors.py")
    assert "broken.yaml" in error["stack_trace"]
    assert "gate" in error["stack_trace"]
    airflow.unpause(LETTERS)

    def scheduled() -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = airflow.call("GET", f"/dags/{LETTERS}/dagRuns?run_type=scheduled")["dag_runs"]
        return runs

    run = eventually(scheduled, what="the scheduler made a run of a healthy model")[0]["dag_run_id"]
    state, tasks = airflow.wait(LETTERS, run)
    assert (state, set(tasks.values())) == ("success", {"skipped"})
    assert any("skip" in line.lower() for line in airflow.log(LETTERS, run, "ingest"))
    for dag in (PARCELS, LETTERS):
        found = airflow.call("GET", f"/dags/{dag}")
        assert (found["is_stale"], found["has_import_errors"]) == (False, False)
    assert airflow.call("GET", f"/dags/{LETTERS}")["next_dagrun_run_after"] is not None
    broken.unlink()
    eventually(lambda: not errors(), what="the import error is gone")


def jobs_of(airflow: Airflow) -> list[psutil.Process]:
    """Guards and everything below them: whatever runs for a job of this installation."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("NIGHTSHIFT_HOME") == airflow.environ["NIGHTSHIFT_HOME"]
            if ours and "AIRFLOW_HOME" not in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def with_java(airflow: Airflow) -> list[psutil.Process]:
    jobs = jobs_of(airflow)
    return jobs if any(job.name().startswith("java") for job in jobs) else []


@pytest.mark.parametrize("ending", ["marked failed", "kill -9 of the task"])
def test_a_task_that_ends_leaves_no_python_and_no_java(airflow: Airflow, first_night: str, ending: str) -> None:
    run = airflow.trigger(PARCELS, NIGHTS[2])
    java = eventually(lambda: with_java(airflow), what="a job has started Java")
    if ending == "marked failed":
        airflow.call("PATCH", f"/dags/{PARCELS}/dagRuns/{run}", state="failed")
    else:
        guard = next(job for job in java if any("guard.py" in part for part in job.cmdline()))
        psutil.Process(guard.ppid()).kill()
    eventually(lambda: not jobs_of(airflow), what="all of the job is gone", seconds=45)
    assert airflow.wait(PARCELS, run)[0] == "failed"
