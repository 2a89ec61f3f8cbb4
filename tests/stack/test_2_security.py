"""Nobody gets in without a password, and no secret gets out."""

from __future__ import annotations

import json
import re
import secrets
import socket

import httpx
import pytest
from tests.stack.stack import SERVICES, Stack, until

MODEL, NIGHT = "flight_delays", "2013-07-16"
RPC_AND_REST = (7077, 6066)
READ_EVENT_LOGS = """
import pathlib, pyarrow
for path in pathlib.Path("/spark-events").rglob("*.zstd"):
    print(pyarrow.input_stream(str(path), compression="zstd").read().decode())
"""


@pytest.fixture(scope="module")
def canaries(stack: Stack) -> dict[str, str]:
    """Every secret of the stack, and two planted where people keep theirs."""
    planted = {name: f"canary-{secrets.token_hex(16)}" for name in ("connection", "variable")}
    stack.call(
        "POST",
        "/connections",
        connection_id="canary",
        conn_type="http",
        host="https://127.0.0.1:1",
        login="canary",
        password=planted["connection"],
    )
    stack.call("POST", "/variables", key="canary_password", value=planted["variable"])
    spec = (stack.root / "dags" / "models" / f"{MODEL}.yaml").read_text()
    told = spec.replace(f"model: {MODEL}", "model: canaries").replace(
        "prepare: flight_delays.sql", "prepare: canaries.sql"
    )
    (stack.root / "dags" / "models" / "canaries.sql").write_text(
        (stack.root / "dags" / "models" / "flight_delays.sql").read_text()
    )
    # It cannot reach this AUC: a refusal is told by the connection.
    told = told.replace("minimum: 0.80", "minimum: 0.9999") + "notify: {connection: canary}\n"
    (stack.root / "dags" / "models" / "canaries.yaml").write_text(told)
    return {**{name: value for name, value in stack.secrets.items() if name != "MINIO_ROOT_USER"}, **planted}


@pytest.fixture(scope="module")
def seen(stack: Stack, canaries: dict[str, str]) -> dict[str, str]:
    """A run with the canaries about: everything that anybody could read of it, by where."""
    run = stack.trigger("canaries", NIGHT)
    lines: set[str] = set()
    pages: list[str] = []

    def looked() -> bool:
        lines.update(stack.compose("top").splitlines())
        for app in stack.spark()["activeapps"]:
            for path in ("environment/", "executors/", "jobs/"):
                answer = httpx.get(f"{stack.url('SPARK_UI_PORT')}/proxy/{app['id']}/{path}", timeout=30)
                pages.append(answer.text if answer.is_success else "")
        return stack.state("canaries", run) in ("success", "failed")

    until(looked, 900, "the run with the canaries to end")
    found = {"processes": "\n".join(lines), "Spark UI": "\n".join(pages)}
    found["container logs"] = stack.compose("logs", "--no-color")
    found["commands"] = json.dumps([[c["Path"], c["Args"], c["Config"]["Cmd"]] for c in stack.containers().values()])
    dag = f"/dags/canaries__retraining/dagRuns/{run}"
    for name, task in stack.tasks("canaries", run).items():
        found[f"{name}: log"] = stack.log("canaries", run, name)
        found[f"{name}: rendered"] = json.dumps(task)
        entries = stack.call("GET", f"{dag}/taskInstances/{name}/xcomEntries")["xcom_entries"]
        for entry in entries:
            value = stack.call("GET", f"{dag}/taskInstances/{name}/xcomEntries/{entry['key']}")
            found[f"{name}: XCom {entry['key']}"] = json.dumps(value)
    s3 = stack.s3()
    for name in stack.objects("store/dev/canaries/"):
        if not name.endswith(".parquet"):
            body = s3.get_object(Bucket="nightshift", Key=name)["Body"].read()
            found[f"object {name}"] = body.decode(errors="replace")
    found["event logs"] = stack.inside("airflow-scheduler", "/opt/nightshift/bin/python", "-c", READ_EVENT_LOGS)
    return found


def test_the_looks_saw_something(seen: dict[str, str]) -> None:
    assert "spark-submit" in seen["processes"].lower() or "SparkSubmit" in seen["processes"]
    assert "Environment" in seen["Spark UI"]
    assert "spark.app.name" in seen["Spark UI"]
    assert "SparkListenerEnvironmentUpdate" in seen["event logs"]
    assert "canaries preprocess" in seen["event logs"]
    assert any("preprocess" in name and "XCom" in name for name in seen)


def test_no_secret_is_anywhere(seen: dict[str, str], canaries: dict[str, str]) -> None:
    found = [f"{name} in {place}" for place, text in seen.items() for name, value in canaries.items() if value in text]
    assert found == []


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("AIRFLOW_PORT", "/api/v2/dags"),
        ("AIRFLOW_PORT", "/api/v2/connections"),
        ("AIRFLOW_PORT", "/api/v2/variables"),
        ("MLFLOW_PORT", "/"),
        ("MLFLOW_PORT", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("MLFLOW_PORT", "/api/2.0/mlflow-artifacts/artifacts"),
        ("MINIO_PORT", "/"),
        ("MINIO_PORT", "/nightshift"),
        ("MINIO_PORT", "/nightshift/store/dev/flight_delays/ledger/000000001.json"),
    ],
)
def test_nobody_gets_in_without_a_login(stack: Stack, port: str, path: str) -> None:
    assert httpx.get(f"{stack.url(port)}{path}", timeout=30).status_code in (401, 403)


@pytest.mark.parametrize("password", ["", "admin", "airflow", "minioadmin", "nightshift"])
def test_the_usual_passwords_open_nothing(stack: Stack, password: str) -> None:
    login = httpx.post(
        f"{stack.url('AIRFLOW_PORT')}/auth/token", json={"username": "admin", "password": password}, timeout=30
    )
    assert login.status_code in (400, 401)
    asked = httpx.get(
        f"{stack.url('MLFLOW_PORT')}/api/2.0/mlflow/experiments/search?max_results=1",
        auth=("admin", password),
        timeout=30,
    )
    assert asked.status_code == 401


def test_the_viewer_sees_and_does_nothing(stack: Stack) -> None:
    login = {"username": "viewer", "password": stack.secrets["AIRFLOW_VIEWER_PASSWORD"]}
    token = httpx.post(f"{stack.url('AIRFLOW_PORT')}/auth/token", json=login, timeout=30).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    api = f"{stack.url('AIRFLOW_PORT')}/api/v2/dags"
    assert httpx.get(api, headers=headers, timeout=30).status_code == 200
    started = httpx.post(f"{api}/{MODEL}__retraining/dagRuns", headers=headers, json={"logical_date": None}, timeout=30)
    assert started.status_code == 403


def test_sparks_rpc_and_rest_ports_are_not_published(stack: Stack) -> None:
    published = {
        int(port.split("/")[0])
        for container in stack.containers().values()
        for port, where in (container["NetworkSettings"]["Ports"] or {}).items()
        if where
    }
    assert not published & set(RPC_AND_REST)
    address = next(iter(stack.containers()["spark-master"]["NetworkSettings"]["Networks"].values()))["IPAddress"]
    with socket.socket() as rest:
        rest.settimeout(5)
        assert rest.connect_ex((address, 6066)) != 0, "the REST port is shut inside the network too"


def test_spark_takes_no_application_without_the_secret(stack: Stack) -> None:
    """Somebody inside the network, with everything but the secret."""
    tried = stack.run(
        [
            "docker", "compose", "exec", "--no-TTY", "--env", "_SPARK_AUTH_SECRET=wrong", "spark-worker-1",
            "timeout", "90", "spark-shell", "--master", "spark://spark-master:7077",
            "--conf", "spark.authenticate=true", "--conf", "spark.ui.enabled=false",
        ],
        timeout=150,
    )  # fmt: skip
    assert tried.returncode != 0 or "Exception" in tried.stdout, tried.stdout[-2000:]
    assert not [app for app in stack.spark()["activeapps"] if app["name"] == "Spark shell"]


@pytest.mark.parametrize("service", SERVICES)
def test_containers_run_as_they_were_described(stack: Stack, service: str) -> None:
    found = stack.containers()[service]
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert not found["HostConfig"]["Privileged"]
    assert found["HostConfig"]["Memory"] > 0
    assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"]
    status = stack.inside(service, "cat", "/proc/1/status")
    user = re.search(r"^Uid:\s+(\d+)", status, flags=re.MULTILINE)
    assert user is not None
    assert user[1] != "0"
    assert re.search(r"^NoNewPrivs:\s+1$", status, flags=re.MULTILINE)
    for where in (found["NetworkSettings"]["Ports"] or {}).values():
        assert {bound["HostIp"] for bound in where or []} <= {"127.0.0.1"}
