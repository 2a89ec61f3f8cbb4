"""A real Airflow (API server, scheduler, dag-processor) of its own, for tests that talk to it by its REST API."""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent.parent
AIRFLOW = str(Path(sys.executable).parent / "airflow")


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
        self.models = root / "dags" / "models"
        self.models.mkdir(parents=True)
        for name in ("retraining.py", "promotion.py", "spec_errors.py", ".airflowignore"):
            shutil.copy(ROOT / "dags" / name, root / "dags")
        api, logs = free_ports(2)
        self.url = f"http://127.0.0.1:{api}"
        self.passwords = {name: secrets.token_urlsafe() for name in ("admin", "paula", "vera")}
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
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,paula:user,vera:viewer",
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

    def trigger(self, dag: str, night: str, **conf: Any) -> str:
        run = self.call("POST", f"/dags/{dag}/dagRuns", logical_date=None, conf={"night": night, **conf})
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
