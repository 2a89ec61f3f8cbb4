"""What the doctor makes of servers that answer as they should, and of those that do not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nightshift.stack import env_file, probes
from nightshift.stack.engine import Compose
from nightshift.stack.probes import Finding
from nightshift.stack.services import Container, Layout, Port, Service
from nightshift.stack.web import basic

Answers = dict[str, tuple[int, Any]]
ALIVE = {"status": "ALIVE", "aliveworkers": 2, "cores": 2, "memory": 2048}
LAYOUT = Layout(
    "nightshift",
    {
        "postgres": Service("postgres", checked=True),
        "prepare": Service("prepare", needs=("postgres",), once=True),
        "history": Service("history", needs=("prepare",), optional=True),
    },
)


class Site:
    """A stack whose every port is one server; ``answers`` is by path, with ``!`` in front for those who log in."""

    def __init__(self, root: Path, port: int) -> None:
        self.answers: Answers = {}
        env_file.ensure(root)
        ports = {name: str(port) for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "MINIO_PORT", "SPARK_UI_PORT")}
        self.compose = Compose(root, ports)

    def reply(self, path: str, authorization: str) -> tuple[int, Any]:
        mlflow = basic("admin", self.compose.values["MLFLOW_ADMIN_PASSWORD"])["Authorization"]
        known = authorization in (mlflow, "Bearer t")
        path = path.partition("?")[0]
        return self.answers.get(f"!{path}" if known else path) or self.answers.get(path) or (401, {})


@pytest.fixture
def site(project: Path) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, told = found.reply(self.path, self.headers.get("Authorization", ""))
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(project, server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


class TestServices:
    def test_all_is_well(self) -> None:
        containers = {
            "postgres": Container("postgres", "", "running", "healthy", ports=(Port("127.0.0.1", 5432),)),
            "prepare": Container("prepare", "", "exited"),
        }
        found = list(probes.services(LAYOUT, containers))
        assert [(finding.name, finding.state, finding.found) for finding in found] == [
            ("postgres", "ok", "healthy"),
            ("prepare", "ok", "done"),
            ("Ports", "ok", "on 127.0.0.1 only"),
        ]

    def test_each_line_says_what_to_do(self) -> None:
        containers = {
            "postgres": Container("postgres", "", "restarting", exit_code=1, ports=(Port("0.0.0.0", 5432),)),
            "prepare": Container("prepare", "", "created"),
        }
        found = by_name(probes.services(LAYOUT, containers))
        assert found["postgres"] == Finding(
            "postgres", "error", "restarting, exit code 1", "run: make logs SERVICE=postgres"
        )
        assert found["prepare"] == Finding("prepare", "warning", "waits for postgres")
        assert "the network can reach postgres 0.0.0.0:5432" in found["Ports"].found

    def test_nothing_is_up(self) -> None:
        assert list(probes.services(LAYOUT, {})) == [Finding("Services", "error", "nothing is up", "run: make up")]


class TestMlflow:
    PATH = "/api/2.0/mlflow/experiments/search"

    def test_it_knows_admin_and_refuses_others(self, site: Site) -> None:
        site.answers = {f"!{self.PATH}": (200, {"experiments": []})}
        assert [finding.state for finding in probes.mlflow(site.compose)] == ["ok", "ok"]

    def test_it_lets_everybody_in(self, site: Site) -> None:
        site.answers = {self.PATH: (200, {})}
        found = by_name(probes.mlflow(site.compose))
        assert found["MLflow, anonymous"].state == "error"
        assert "basic-auth" in found["MLflow, anonymous"].fix

    def test_it_does_not_know_the_password(self, site: Site) -> None:
        found = by_name(probes.mlflow(site.compose))
        assert found["MLflow login"].found == "it refuses admin's password"
        assert ".env" in found["MLflow login"].fix


class TestStore:
    def test_live_and_shut(self, site: Site) -> None:
        site.answers = {"/minio/health/live": (200, {}), "/": (403, {}), "/nightshift/": (403, {})}
        assert [finding.state for finding in probes.store(site.compose)] == ["ok", "ok"]

    @pytest.mark.parametrize("path", ["/", "/nightshift/"])
    def test_a_listing_for_everybody(self, site: Site, path: str) -> None:
        site.answers = {"/minio/health/live": (503, {}), "/": (403, {}), "/nightshift/": (403, {}), path: (200, {})}
        assert [finding.state for finding in probes.store(site.compose)] == ["error", "error"]

    def test_a_store_elsewhere_is_named(self, site: Site) -> None:
        site.answers = {"/minio/health/live": (200, {}), "/": (403, {}), "/nightshift/": (403, {})}
        elsewhere = Compose(site.compose.root, {**site.compose.environ, "S3_ENDPOINT": "https://s3.example.com"})
        assert "https://s3.example.com" in by_name(probes.store(elsewhere))["Object store"].found


class TestSpark:
    def test_alive_and_its_rest_port_shut(self, site: Site, docker: Callable[[str], Path]) -> None:
        calls = docker("echo shut")
        site.answers = {"/json/": (200, ALIVE)}
        found = by_name(probes.spark(site.compose))
        assert found["Spark"].state == "ok"
        assert found["Spark"].found == "master ALIVE, 2 of 2 workers alive, 2 cores, 2048 MB for executors"
        assert found["Spark REST port"].state == "ok"
        assert "exec -T spark-master python -c" in calls.read_text()

    def test_a_worker_is_missing_and_the_rest_port_open(self, site: Site, docker: Callable[[str], Path]) -> None:
        docker("echo open")
        site.answers = {"/json/": (200, {**ALIVE, "aliveworkers": 1})}
        found = by_name(probes.spark(site.compose))
        assert found["Spark"].found == "master ALIVE, 1 of 2 workers alive"
        assert found["Spark REST port"].found == "6066 is open"
        assert all(finding.state == "error" and finding.fix for finding in found.values())


class TestAirflow:
    HEALTH: ClassVar = {
        name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
    }

    def answers(self, **other: tuple[int, Any]) -> Answers:
        dags = {"dags": [{"dag_id": "churn__retraining"}]}
        return {
            "/api/v2/monitor/health": other.get("health", (200, self.HEALTH)),
            "/auth/token": other.get("token", (201, {"access_token": "t"})),
            "!/api/v2/dags": other.get("dags", (200, dags)),
            "!/api/v2/importErrors": other.get("errors", (200, {"import_errors": []})),
        }

    def test_all_is_well(self, site: Site) -> None:
        site.answers = self.answers()
        found = by_name(probes.airflow(site.compose))
        assert {finding.state for finding in found.values()} == {"ok"}
        assert found["Airflow DAGs"].found == "churn"
        assert found["Airflow, anonymous"].found == "refused with 401"

    def test_a_part_is_ill(self, site: Site) -> None:
        site.answers = self.answers(health=(200, {**self.HEALTH, "dag_processor": {"status": "unhealthy"}}))
        found = by_name(probes.airflow(site.compose))
        assert found["Airflow"].found == "dag_processor unhealthy"
        assert found["Airflow"].fix == "run: make logs SERVICE=airflow-dag-processor"

    def test_dags_that_cannot_be_read(self, site: Site) -> None:
        site.answers = self.answers(errors=(200, {"import_errors": [{"stack_trace": "Trace\nKeyError: 1\n"}]}))
        found = by_name(probes.airflow(site.compose))
        assert found["Airflow DAGs"].found == "1 cannot be read: KeyError: 1"

    def test_no_dag_yet(self, site: Site) -> None:
        site.answers = self.answers(dags=(200, {"dags": []}))
        assert by_name(probes.airflow(site.compose))["Airflow DAGs"].state == "warning"


class TestEverything:
    def test_without_an_engine_nothing_else_is_asked(self, site: Site, docker: Callable[[str], Path]) -> None:
        docker("exit 1")
        (only,) = probes.findings(site.compose)
        assert (only.name, only.state) == ("Docker", "error")
        assert only.fix

    def test_one_look_that_fails_does_not_hide_the_others(self, site: Site, docker: Callable[[str], Path]) -> None:
        entry = '{"Service":"%s","State":"running","Health":"healthy"}'
        containers = "\\n".join(entry % name for name in ("mlflow", "minio"))
        config = '{"name":"n","services":{"mlflow":{},"minio":{}}}'
        docker(
            f"""case "$*" in *version*) echo 2.26.1 ;; info*) echo '{{"ServerVersion":"28","MemTotal":9999999999}}' ;;
            *config*) echo '{config}' ;; *" ps "*) printf '{containers}\\n' ;; esac"""
        )
        site.answers = {"/minio/health/live": (200, {}), "/": (403, {}), "/nightshift/": (403, {})}
        found = by_name(probes.findings(site.compose))
        assert found["MLflow login"].state == "error"
        assert found["MinIO"].state == "ok"
        assert found[".env"].state == "ok"
        assert found["Memory"].state == "ok"

    def test_an_env_file_that_is_not_as_it_must_be(self, site: Site, docker: Callable[[str], Path]) -> None:
        path = site.compose.env_file
        assert by_name(probes._secrets(site.compose))[".env"].state == "ok"
        path.chmod(0o640)
        assert by_name(probes._secrets(site.compose))[".env"].found == "others can read it"
        path.write_text("POSTGRES_PASSWORD=x\n")
        assert "it lacks AIRFLOW_DB_PASSWORD" in by_name(probes._secrets(site.compose))[".env"].found
        path.unlink()
        assert by_name(probes._secrets(site.compose))[".env"] == Finding(
            ".env", "error", "there is none", "run: make up"
        )
