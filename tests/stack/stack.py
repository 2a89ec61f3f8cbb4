"""A stack of its own for the tests: a clone of the checkout, a project name and ports that are nobody else's."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PROJECT = "nightshift-test"
PORTS = ("AIRFLOW_PORT", "MLFLOW_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "SPARK_UI_PORT", "SPARK_HISTORY_PORT")
ENDED = ("success", "failed")
SERVICES = (
    "postgres",
    "minio",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "mlflow",
    "spark-master",
    "spark-worker-1",
    "spark-worker-2",
)


class Stack:
    """The stack of one test session.

    Attributes:
        root: The clone it runs from.
        secrets: What ``make env`` wrote, by variable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
        self._take_over_uncommitted()
        self.ports = self._ports()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NIGHTSHIFT", "AIRFLOW", "COMPOSE"))
        }
        self.environ = {**kept, "COMPOSE_PROJECT_NAME": PROJECT, "NIGHTSHIFT_IMAGE": f"{PROJECT}:local"}
        self.environ |= {name: str(port) for name, port in self.ports.items()}
        self.secrets = self._secrets()
        self.first_up = ""
        self._token = ""

    def _take_over_uncommitted(self) -> None:
        """A developer tests what is in the checkout, committed or not."""
        for listed in (["diff", "--name-only", "HEAD"], ["ls-files", "--others", "--exclude-standard"]):
            command = ["git", "-C", str(ROOT), *listed, "-z"]
            for name in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0"):
                source, target = ROOT / name, self.root / name
                if name and source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, target)
                elif name:
                    target.unlink(missing_ok=True)

    def _ports(self) -> dict[str, int]:
        """Free ones; the same ones again where the stack was kept."""
        noted = self.root / ".git" / "ports.json"
        if not noted.exists():
            noted.write_text(json.dumps(dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))))
        return dict(json.loads(noted.read_text()))

    def _secrets(self) -> dict[str, str]:
        path = self.root / ".env"
        lines = path.read_text().splitlines() if path.is_file() else []
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    # -- commands --------------------------------------------------------------------------------------

    def make(self, *arguments: str, timeout: float = 900) -> str:
        """Output of ``make``; fails with it when make does."""
        done = self.run(["make", "--no-print-directory", *arguments], timeout=timeout)
        assert done.returncode == 0, done.stdout
        self.secrets = self._secrets()
        return done.stdout

    def compose(self, *arguments: str, timeout: float = 180) -> str:
        done = self.run(["docker", "compose", *arguments], timeout=timeout)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run(self, command: list[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def containers(self) -> dict[str, dict[str, Any]]:
        """What ``docker inspect`` says of every container of the project, by service."""
        ids = self.compose("ps", "--all", "--quiet").split()
        found = json.loads(self.run(["docker", "inspect", *ids], timeout=60).stdout) if ids else []
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in found}

    def inside(self, service: str, *command: str, timeout: float = 120) -> str:
        return self.compose("exec", "--no-TTY", service, *command, timeout=timeout)

    # -- Airflow ---------------------------------------------------------------------------------------

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def call(self, method: str, path: str, **body: Any) -> Any:
        """An answer of Airflow's API, as the admin."""
        if not self._token:
            login = {"username": "admin", "password": self.secrets["AIRFLOW_ADMIN_PASSWORD"]}
            answer = httpx.post(f"{self.url('AIRFLOW_PORT')}/auth/token", json=login, timeout=30)
            answer.raise_for_status()
            self._token = str(answer.json()["access_token"])
        answer = httpx.request(
            method,
            f"{self.url('AIRFLOW_PORT')}/api/v2{path}",
            json=body or None,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=60,
        )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def trigger(self, model: str, night: str) -> str:
        """Start a run of a model's retraining DAG; gives its id."""
        dag = f"{model}__retraining"
        until(lambda: any(d["dag_id"] == dag for d in self.call("GET", "/dags?limit=100")["dags"]), 120, f"DAG {dag}")
        self.call("PATCH", f"/dags/{dag}", is_paused=False)
        run = self.call("POST", f"/dags/{dag}/dagRuns", logical_date=None, conf={"night": night})
        return str(run["dag_run_id"])

    def state(self, model: str, run: str) -> str:
        return str(self.call("GET", f"/dags/{model}__retraining/dagRuns/{run}")["state"])

    def tasks(self, model: str, run: str) -> dict[str, dict[str, Any]]:
        found = self.call("GET", f"/dags/{model}__retraining/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def wait(self, model: str, run: str, *, seconds: float = 600) -> str:
        """The run's last state; fails after the bound, for nothing may hang."""
        until(lambda: self._ended(model, run), seconds, f"{model} {run} to end")
        return self.state(model, run)

    def _ended(self, model: str, run: str) -> bool:
        try:
            return self.state(model, run) in ENDED
        except httpx.HTTPError:
            return False  # a test may be restarting what answers

    def wait_for_task(self, model: str, run: str, task: str, states: tuple[str, ...], *, seconds: float = 300) -> None:
        until(lambda: self.tasks(model, run)[task]["state"] in states, seconds, f"{task} to be {' or '.join(states)}")

    def log(self, model: str, run: str, task: str, attempt: int = 1) -> str:
        dag = f"{model}__retraining"
        answer = self.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?full_content=true")
        return "\n".join(
            line if isinstance(line, str) else f"{line.get('level', '')} {line.get('event', '')}"
            for line in answer["content"]
        )

    def told(self, model: str, run: str) -> str:
        """What a person would look at first when a run failed: states, and the end of the failed tasks' logs."""
        tasks = self.tasks(model, run)
        lines = [f"{name}: {task['state']} (try {task['try_number']})" for name, task in tasks.items()]
        for name, task in tasks.items():
            if task["state"] in ("failed", "up_for_retry"):
                lines.append(self.log(model, run, name, task["try_number"])[-6000:])
        return "\n".join(lines)

    # -- MinIO, Spark ----------------------------------------------------------------------------------

    def s3(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url("MINIO_PORT"),
            aws_access_key_id=self.secrets["MINIO_ROOT_USER"],
            aws_secret_access_key=self.secrets["MINIO_ROOT_PASSWORD"],
            region_name="us-east-1",
        )

    def objects(self, prefix: str) -> dict[str, int]:
        """Sizes of the objects below a prefix of the bucket, by name."""
        pages = self.s3().get_paginator("list_objects_v2").paginate(Bucket="nightshift", Prefix=prefix)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    def manifests(self, model: str, dataset: str, day: str) -> list[dict[str, Any]]:
        """Every published version of a model's dataset of an interval, oldest first."""
        prefix = f"store/dev/{model}/{dataset}/{day}/v"
        s3 = self.s3()
        names = sorted(self.objects(prefix))
        return [json.loads(s3.get_object(Bucket="nightshift", Key=name)["Body"].read()) for name in names]

    def spark(self) -> dict[str, Any]:
        """What the Spark master says of itself."""
        return dict(httpx.get(f"{self.url('SPARK_UI_PORT')}/json/", timeout=30).json())


def until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until it is so; fails after the bound."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(1)  # between two looks, of which the last one decides


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [made.getsockname()[1] for made in sockets]
    for made in sockets:
        made.close()
    return ports


def engine_answers() -> bool:
    """Whether there is a Docker engine."""
    found = shutil.which("docker")
    return found is not None and subprocess.run([found, "info"], capture_output=True, check=False).returncode == 0


__all__ = ["ENDED", "PORTS", "PROJECT", "SERVICES", "Stack", "engine_answers", "until"]
