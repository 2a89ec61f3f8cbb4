from __future__ import annotations

import json
from typing import Any

import pytest

from nightshift.stack.services import Container, Layout, Port, Service, parse_config, parse_ps, parse_stats

POSTGRES: dict[str, Any] = {
    "Service": "postgres",
    "Name": "nightshift-postgres-1",
    "State": "running",
    "Health": "healthy",
    "ExitCode": 0,
    "Status": "Up 2 minutes (healthy)",
    "Labels": "com.docker.compose.config-hash=abc,com.docker.compose.image=sha256:1,com.docker.compose.depends_on=a:b:c",
    "Publishers": [
        {"URL": "127.0.0.1", "TargetPort": 5432, "PublishedPort": 15432, "Protocol": "tcp"},
        {"URL": "", "TargetPort": 9, "PublishedPort": 0, "Protocol": "tcp"},
    ],
}
PREPARE: dict[str, Any] = {
    "Service": "prepare",
    "Name": "nightshift-prepare-1",
    "State": "exited",
    "Health": "",
    "ExitCode": 3,
    "Publishers": None,
}
CONFIG: dict[str, Any] = {
    "name": "nightshift",
    "services": {
        "airflow": {
            "image": "nightshift:local",
            "depends_on": {"prepare": {"condition": "service_completed_successfully", "required": True}},
            "ports": [{"host_ip": "127.0.0.1", "target": 8080, "published": "8090"}, {"target": 9}],
            "mem_limit": "1073741824",
            "healthcheck": {"test": ["CMD", "true"]},
        },
        "prepare": {
            "build": {"context": "."},
            "depends_on": {"postgres": {"condition": "service_healthy"}},
            "deploy": {"resources": {"limits": {"memory": "536870912"}}},
        },
        "postgres": {"image": "postgres:17", "healthcheck": {"disable": True}},
        "history": {"profiles": ["history"], "mem_limit": "1"},
    },
}


@pytest.mark.parametrize("write", [json.dumps, lambda found: "\n".join(map(json.dumps, found)) + "\n"])
def test_containers_of_either_format_of_compose(write: Any) -> None:
    assert parse_ps(write([POSTGRES, PREPARE])) == {
        "postgres": Container(
            service="postgres",
            name="nightshift-postgres-1",
            state="running",
            health="healthy",
            ports=(Port("127.0.0.1", 15432),),
            configuration="abc",
            image="sha256:1",
        ),
        "prepare": Container(service="prepare", name="nightshift-prepare-1", state="exited", exit_code=3),
    }


@pytest.mark.parametrize("text", ["", "\n", "[]"])
def test_no_containers(text: str) -> None:
    assert parse_ps(text) == {}


def test_the_exit_code_of_one_that_keeps_dying_is_in_its_text() -> None:
    entry = {**PREPARE, "State": "restarting", "ExitCode": 0, "Status": "Restarting (137) 2 seconds ago"}
    assert parse_ps(json.dumps(entry))["prepare"].exit_code == 137


def test_the_declared_stack() -> None:
    layout = parse_config(json.dumps(CONFIG))
    assert layout.project == "nightshift"
    assert layout.services["airflow"] == Service(
        name="airflow", needs=("prepare",), image="nightshift:local", ports=(8090,), memory=2**30, checked=True
    )
    assert layout.services["prepare"] == Service(
        name="prepare", needs=("postgres",), memory=2**29, once=True, built=True
    )
    assert not layout.services["postgres"].checked
    assert layout.services["history"].optional
    assert layout.memory == 2**30, "what ends, and what is not started, needs no memory for long"


@pytest.mark.parametrize(
    ("service", "container", "phase"),
    [
        ("airflow", None, "absent"),
        ("airflow", Container("airflow", "", "created"), "waiting"),
        ("airflow", Container("airflow", "", "running", health="starting"), "starting"),
        ("airflow", Container("airflow", "", "running"), "starting"),
        ("airflow", Container("airflow", "", "running", health="healthy"), "healthy"),
        ("airflow", Container("airflow", "", "running", health="unhealthy"), "unhealthy"),
        ("airflow", Container("airflow", "", "restarting", exit_code=1), "restarting"),
        ("airflow", Container("airflow", "", "exited"), "stopped"),
        ("airflow", Container("airflow", "", "exited", exit_code=1), "exited"),
        ("postgres", Container("postgres", "", "running"), "running"),
        ("prepare", Container("prepare", "", "running"), "starting"),
        ("prepare", Container("prepare", "", "exited"), "done"),
        ("prepare", Container("prepare", "", "exited", exit_code=1), "exited"),
    ],
)
def test_phases(service: str, container: Container | None, phase: str) -> None:
    layout = parse_config(json.dumps(CONFIG))
    assert layout.phase(service, {service: container} if container else {}) == phase


def test_whom_a_service_waits_for() -> None:
    layout = parse_config(json.dumps(CONFIG))
    assert layout.waits_for("airflow", {"prepare": Container("prepare", "", "running")}) == ["prepare"]
    assert layout.waits_for("airflow", {"prepare": Container("prepare", "", "exited")}) == []


def test_memory_in_use() -> None:
    lines = '{"Name":"a","MemUsage":"97.34MiB / 384MiB"}\n{"Name":"b","MemUsage":"0B / 2.5GiB"}\n'
    assert parse_stats(lines) == {"a": "97.34 MiB / 384 MiB", "b": "0 B / 2.5 GiB"}


def test_an_empty_layout_needs_nothing() -> None:
    assert Layout("x").memory == 0
