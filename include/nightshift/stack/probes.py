"""What a running stack must be like, asked from outside: ``nightshift doctor --stack``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nightshift.errors import NightshiftError
from nightshift.stack import env_file, places
from nightshift.stack.airflow_api import UNAUTHORIZED, Airflow
from nightshift.stack.engine import Compose, engine
from nightshift.stack.ports import answers
from nightshift.stack.progress import in_order
from nightshift.stack.readiness import require_memory
from nightshift.stack.services import GOOD, Container, Layout
from nightshift.stack.terminal import size_of
from nightshift.stack.variables import OPTIONS
from nightshift.stack.web import ask, basic

State = Literal["ok", "warning", "error"]
UP = "run: make up"
S3_ENDPOINT = next(option.default for option in OPTIONS if option.name == "S3_ENDPOINT")
WORKERS = 2
SPARK_REST = 6066
LOOPBACK = ("127.0.0.1", "::1")
# Runs in the master's container: from outside, a port that is only not published looks like one that is shut.
REST_PROBE = (
    "import socket; s = socket.socket(); s.settimeout(3); "
    f"print('open' if s.connect_ex((socket.gethostname(), {SPARK_REST})) == 0 else 'shut')"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: Whether it is right.
        found: What was found.
        fix: What to do about it; empty if it is right.
    """

    name: str
    state: State
    found: str
    fix: str = ""


def findings(compose: Compose) -> Iterator[Finding]:
    """Everything, from the engine to the Spark master; without an engine there is nothing else to ask."""
    try:
        found = engine()
    except NightshiftError as error:
        yield Finding("Docker", "error", error.message, error.hint or "")
        return
    yield Finding("Docker", "ok", f"engine {found.version}, compose {found.compose}")
    yield from _secrets(compose)
    try:
        layout, containers = compose.layout(everything=True), compose.containers()
        warning = require_memory(found, compose.layout())
    except NightshiftError as error:
        yield Finding("Stack", "error", error.message, error.hint or "see docker compose config")
        return
    if warning:
        yield Finding("Memory", "warning", warning.partition(" Better ")[0], "give Docker 8 GiB")
    else:
        yield Finding("Memory", "ok", f"{size_of(found.memory)}; the services' limits are {size_of(layout.memory)}")
    yield from services(layout, containers)
    running = {name for name, container in containers.items() if container.state == "running"}
    looks: list[tuple[str, str, Callable[[Compose], Iterator[Finding]]]] = [
        ("Airflow", "airflow-apiserver", airflow),
        ("MLflow", "mlflow", mlflow),
        ("MinIO", "minio", store),
        ("Spark", "spark-master", spark),
    ]
    for name, service, look in looks:
        if service in running:
            yield from _safely(name, look, compose)


def _safely(name: str, look: Callable[[Compose], Iterator[Finding]], compose: Compose) -> Iterator[Finding]:
    try:
        yield from look(compose)
    except NightshiftError as error:
        yield Finding(name, "error", error.message, error.hint or "run: make ps, make logs")


def _secrets(compose: Compose) -> Iterator[Finding]:
    path = compose.env_file
    if not path.is_file():
        yield Finding(".env", "error", "there is none", UP)
        return
    missing = [secret.name for secret in env_file.lacking(path)]
    other = env_file.overridden(path, compose.environ)
    if missing:
        yield Finding(".env", "error", f"it lacks {', '.join(missing)}", "run: make env, make up")
    elif not env_file.is_private(path):
        yield Finding(".env", "error", "others can read it", "run: make env")
    elif other:
        yield Finding(".env", "warning", f"this shell has another {', '.join(other)}", "unset what you do not mean")
    else:
        yield Finding(".env", "ok", "complete, and yours alone")


def services(layout: Layout, containers: Mapping[str, Container]) -> Iterator[Finding]:
    """A line per service that should be there, and one about where their ports listen."""
    if not containers:
        yield Finding("Services", "error", "nothing is up", UP)
        return
    for name in in_order(layout):
        container = containers.get(name)
        if container is None and layout.services[name].optional:
            continue
        phase = layout.phase(name, containers)
        waits = layout.waits_for(name, containers)
        if phase in GOOD:
            yield Finding(name, "ok", phase)
        elif phase == "waiting" and waits:
            yield Finding(name, "warning", f"waits for {', '.join(waits)}")
        else:
            told = f", exit code {container.exit_code}" if container and phase in ("exited", "restarting") else ""
            fix = f"run: make logs SERVICE={name}" if container else UP
            state: State = "warning" if phase == "starting" else "error"
            yield Finding(name, state, "it is not there" if phase == "absent" else f"{phase}{told}", fix)
    exposed = [
        f"{found.service} {port.address}:{port.number}"
        for found in containers.values()
        for port in found.ports
        if port.address not in LOOPBACK
    ]
    if exposed:
        fix = "publish ports on 127.0.0.1 only: see docker-compose.yaml"
        yield Finding("Ports", "error", f"the network can reach {', '.join(exposed)}", fix)
    else:
        yield Finding("Ports", "ok", "on 127.0.0.1 only")


def airflow(compose: Compose) -> Iterator[Finding]:
    """Airflow's own parts, its login, and that nobody gets in without one."""
    values = compose.values
    client = Airflow(places.airflow(values), "admin", values.get("AIRFLOW_ADMIN_PASSWORD", ""))
    health = client.health()
    ill = [f"{name} {status}" for name, status in health.items() if status != "healthy"]
    if ill:
        yield Finding("Airflow", "error", ", ".join(ill), f"run: make logs SERVICE=airflow-{_service(ill[0])}")
    else:
        yield Finding("Airflow", "ok", f"{', '.join(health)} healthy")
    client.log_in()
    yield Finding("Airflow login", "ok", "admin")
    models, errors = client.models(), client.import_errors()
    if errors:
        told = errors[0].strip().splitlines()[-1]
        yield Finding("Airflow DAGs", "error", f"{len(errors)} cannot be read: {told}", "run: nightshift validate")
    elif models:
        yield Finding("Airflow DAGs", "ok", ", ".join(models))
    else:
        yield Finding("Airflow DAGs", "warning", "none yet", "run: make logs SERVICE=airflow-dag-processor")
    fix = "unset AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS in docker-compose.yaml"
    yield _refuses("Airflow, anonymous", client.anonymous(), fix)


def _service(ill: str) -> str:
    part = ill.split(maxsplit=1)[0].replace("_", "-")
    return part if part in ("scheduler", "triggerer", "dag-processor") else "apiserver"


def mlflow(compose: Compose) -> Iterator[Finding]:
    """MLflow's login, and that nobody gets in without one."""
    values = compose.values
    page = f"{places.mlflow(values)}/api/2.0/mlflow/experiments/search?max_results=1"
    known = ask(page, headers=basic("admin", values.get("MLFLOW_ADMIN_PASSWORD", "")))
    if known.ok:
        yield Finding("MLflow login", "ok", "admin")
    elif known.status == UNAUTHORIZED:
        fix = ".env has another password than MLflow's database: put the old .env back, or make down VOLUMES=1"
        yield Finding("MLflow login", "error", "it refuses admin's password", fix)
    else:
        yield Finding("MLflow login", "error", f"{known.status}: {known.told()}", "run: make logs SERVICE=mlflow")
    yield _refuses("MLflow, anonymous", ask(page).status, "start MLflow with --app-name basic-auth")


def store(compose: Compose) -> Iterator[Finding]:
    """The object store: up, and shut to everybody without a key."""
    values = compose.values
    if values["S3_ENDPOINT"] != S3_ENDPOINT:
        yield Finding("Object store", "ok", f"{values['S3_ENDPOINT']}, not ours (not asked)")
    url = places.store(values)
    live = ask(f"{url}/minio/health/live")
    if live.ok:
        yield Finding("MinIO", "ok", "live")
    else:
        yield Finding("MinIO", "error", f"its health page answered {live.status}", "run: make logs SERVICE=minio")
    listings = [ask(f"{url}/").status, ask(f"{url}/{values['S3_BUCKET']}/?list-type=2").status]
    worst = next((status for status in listings if status < 400), listings[0])
    yield _refuses("MinIO, anonymous", worst, "remove the bucket's anonymous policy")


def spark(compose: Compose) -> Iterator[Finding]:
    """The cluster: master and workers alive, and its door for unsigned applications shut."""
    told: dict[str, Any] = ask(f"{places.spark(compose.values)}/json/").json()
    alive = int(told.get("aliveworkers", 0))
    found = f"master {told.get('status')}, {alive} of {WORKERS} workers alive"
    if told.get("status") == "ALIVE" and alive >= WORKERS:
        yield Finding("Spark", "ok", f"{found}, {told.get('cores', 0)} cores, {told.get('memory', 0)} MB for executors")
    else:
        yield Finding("Spark", "error", found, "run: make logs SERVICE=spark-worker-1")
    inside = compose.run("exec", "-T", "spark-master", "python", "-c", REST_PROBE).strip()
    if inside == "open" or answers(SPARK_REST):
        fix = "anybody there can run code: set spark.master.rest.enabled=false on the master"
        yield Finding("Spark REST port", "error", f"{SPARK_REST} is open", fix)
    else:
        yield Finding("Spark REST port", "ok", f"{SPARK_REST} is shut, inside and outside")


def _refuses(name: str, status: int, fix: str) -> Finding:
    if status in (401, 403):
        return Finding(name, "ok", f"refused with {status}")
    return Finding(name, "error", f"answered with {status}", fix)
