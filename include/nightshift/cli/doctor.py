"""``nightshift doctor``: what this machine has, what is wrong with it, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, out, print_json, table
from nightshift.cli.environment import (
    POOL,
    airflow_home,
    env_sh_path,
    java_home_in_use,
    process_environment,
    project_of,
    shown,
)
from nightshift.errors import NightshiftError
from nightshift.settings import Settings
from nightshift.stack.probes import Finding

ENOUGH_DISK = 5 * 2**30
PATIENCE = 10.0  # seconds in which a store must answer: somebody is waiting
INIT = "run: nightshift init"


@click.command()
@click.option("--airflow", "with_airflow", is_flag=True, help="Ask Airflow for the connections too; takes seconds.")
@click.option("--stack", "of_stack", is_flag=True, help="Check the docker-compose stack instead of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, with_airflow: bool, of_stack: bool, as_json: bool) -> None:
    """Check this machine, and say how to fix what is wrong. Exit code 1 if something is broken."""
    settings = Settings.from_environment()
    looks: list[Callable[[Settings], Iterator[Finding]]] = [
        python, java, disk, packages, spark_python, environment, airflow_database, mlflow_database, storage, specs,
        ledgers,
    ]  # fmt: skip
    if with_airflow:
        looks.append(connections)
    if of_stack:
        looks = [stack]
    checks = [check for look in looks for check in look(settings)]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _show(checks, None if of_stack else settings)
    if any(check.state == "error" for check in checks):
        ctx.exit(1)


def _show(checks: list[Finding], settings: Settings | None) -> None:
    console = out()
    made = table("", "check", "found", "what to do")
    for check in checks:
        made.add_row(MARKS[check.state], check.name, escape(check.found), escape(check.fix))
    console.print(made)
    broken = sum(check.state == "error" for check in checks)
    console.print()
    if settings is not None:
        home, root = escape(str(settings.home)), escape(settings.storage)
        console.print(f"Home {home}, storage {root}, environment {settings.env}.")
    console.print("Everything is right." if not broken else f"[red]{broken} broken.[/]")


# -- the looks: each gives its checks ----------------------------------------------------------------


def python(settings: Settings) -> Iterator[Finding]:
    """The interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("Python", "ok", version)
    else:
        yield Finding("Python", "error", version, "use Python 3.11, 3.12 or 3.13")


def java(settings: Settings) -> Iterator[Finding]:
    """A Java that Spark can use, and where it comes from."""
    from nightshift.java import find_java

    try:
        found = find_java(settings.home)
    except NightshiftError as error:
        yield Finding("Java", "error", error.message.replace("\n  - ", "; "), error.hint or "")
    else:
        yield Finding("Java", "ok", f"{found.version} by {found.origin}: {found.home}")


def disk(settings: Settings) -> Iterator[Finding]:
    """Room in the home folder."""
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free >= ENOUGH_DISK:
        yield Finding("Disk", "ok", text)
    else:
        yield Finding("Disk", "warning", text, "free some space, or set NIGHTSHIFT_HOME to another disk")


def packages(settings: Settings) -> Iterator[Finding]:
    """Installed versions against those that Nightshift is made for."""
    wrong = [
        f"{name} {installed or 'missing'} (expected {expected})"
        for name, expected, installed in _pinned()
        if installed != expected
    ]
    if wrong:
        yield Finding("Packages", "error", "; ".join(wrong), "run: make setup, or pip install -r requirements.txt")
    else:
        yield Finding("Packages", "ok", ", ".join(f"{name} {version}" for name, version, _ in _pinned()))
    yield from _pyspark()


def _pinned() -> list[tuple[str, str, str | None]]:
    """Packages that Nightshift's own metadata pins exactly: name, expected, installed."""
    from packaging.requirements import Requirement

    pins: dict[str, list[str]] = {}
    for text in importlib.metadata.requires("nightshift-mlops") or []:
        requirement = Requirement(text)
        exact = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        pins.setdefault(requirement.name, []).extend(exact)
    # Two extras may pin two versions of one package (Airflow, on MWAA): either will do.
    return sorted(
        (name, installed if installed in versions else versions[0], installed)
        for name, versions in pins.items()
        if versions
        for installed in [_version(name)]
    )


def _pyspark() -> Iterator[Finding]:
    """Two packages install into the folder ``pyspark``; a mixture runs, wrongly."""
    if _version("pyspark-client") is not None:
        fix = "pip uninstall pyspark-client, then pip install --force-reinstall --no-deps pyspark"
        yield Finding("pyspark", "error", "pyspark-client is installed over it", fix)
        return
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        return
    path = Path(spec.submodule_search_locations[0]) / "version.py"
    text = path.read_text() if path.is_file() else ""
    if re.search(rf"""^__version__.*["']{re.escape(str(_version("pyspark")))}["']""", text, flags=re.MULTILINE):
        yield Finding("pyspark", "ok", "its files are of one version")
    else:
        fix = "pip install --force-reinstall --no-deps pyspark"
        yield Finding("pyspark", "error", f"{path} is not of version {_version('pyspark')}", fix)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def spark_python(settings: Settings) -> Iterator[Finding]:
    """Spark's workers must run the interpreter of the jobs."""
    value = os.environ.get("PYSPARK_PYTHON")
    if value is None:
        yield Finding("PYSPARK_PYTHON", "ok", f"not set; jobs set it to {settings.python}")
    elif shutil.which(value) is None:
        yield Finding("PYSPARK_PYTHON", "error", f"{value} is no program", f"set it to {settings.python}, or unset it")
    elif Path(value).absolute() != Path(settings.python).absolute():
        found = f"{value}, but jobs run in {settings.python}"
        yield Finding("PYSPARK_PYTHON", "warning", found, f"set it to {settings.python}, or unset it")
    else:
        yield Finding("PYSPARK_PYTHON", "ok", value)


def environment(settings: Settings) -> Iterator[Finding]:
    """Whether ``env.sh`` is there, and whether this shell has it."""
    path = env_sh_path(settings)
    if not path.is_file():
        yield Finding("env.sh", "error", f"there is no {shown(path)}", INIT)
    elif os.environ.get("AIRFLOW_HOME") != str(airflow_home(settings)):
        found = "written, but not sourced in this shell"
        yield Finding("env.sh", "warning", found, f"for Airflow's own commands:  . {shown(path)}")
    else:
        yield Finding("env.sh", "ok", shown(path))


def airflow_database(settings: Settings) -> Iterator[Finding]:
    """Airflow's database and the pool of local jobs, read from SQLite without importing Airflow."""
    if os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"):
        yield Finding("Airflow", "ok", "a database of its own is configured; use --airflow to ask it")
        return
    path = airflow_home(settings) / "airflow.db"
    if not path.is_file():
        yield Finding("Airflow", "error", f"there is no database {shown(path)}", INIT)
        return
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as database:
            row = database.execute("SELECT slots FROM slot_pool WHERE pool = ?", (POOL,)).fetchone()
        database.close()
    except sqlite3.Error as error:
        yield Finding("Airflow", "error", f"{shown(path)} cannot be read: {error}", "run: nightshift init --force")
        return
    if row is None:
        yield Finding(
            "Airflow", "error", f"there is no pool {POOL}; no task would ever start", "run: nightshift init --force"
        )
    else:
        yield Finding("Airflow", "ok", f"{shown(path)}; pool {POOL} with {row[0]} slots")


def mlflow_database(settings: Settings) -> Iterator[Finding]:
    """MLflow's database, where it is a file."""
    from nightshift.cli.setup import sqlite_file

    path = sqlite_file(settings.mlflow_uri)
    if path is None:
        yield Finding("MLflow", "ok", f"{settings.mlflow_uri} (not asked)")
    elif path.is_file():
        yield Finding("MLflow", "ok", shown(path))
    else:
        yield Finding("MLflow", "error", f"there is no database {shown(path)}", INIT)


def storage(settings: Settings) -> Iterator[Finding]:
    """Whether the storage root can be written, and whether of many writers of one name really one wins."""
    from nightshift.storage import require_conditional_create
    from nightshift.storage.objects import Objects

    try:
        require_conditional_create(Objects(f"{settings.storage.rstrip('/')}/{settings.env}", patience=PATIENCE))
    except NightshiftError as error:
        yield Finding("Storage", "error", error.message, error.hint or "check NIGHTSHIFT_STORAGE and its credentials")
    else:
        yield Finding("Storage", "ok", f"{settings.storage}: writable, conditional create works")


def specs(settings: Settings) -> Iterator[Finding]:
    """Whether the model specs can be used."""
    from nightshift.spec.engine_packages import missing_engine
    from nightshift.spec.loader import load_specs

    if not settings.models.is_dir():
        fix = "run inside a project that has dags/models, or set NIGHTSHIFT_MODELS"
        yield Finding("Model specs", "error", f"there is no folder {settings.models}", fix)
        return
    loaded = load_specs(settings.models)
    names = ", ".join(spec.model for spec in loaded.specs)
    if loaded.errors:
        yield Finding("Model specs", "error", f"{len(loaded.errors)} cannot be used", "run: nightshift validate")
    elif loaded.specs:
        yield Finding("Model specs", "ok", names)
    else:
        yield Finding("Model specs", "warning", f"none in {settings.models}", "add dags/models/<model>.yaml")
    for missing in filter(None, map(missing_engine, loaded.specs)):
        yield Finding("Model specs", "warning", f"{missing.message} The others can.", missing.hint or "")


def ledgers(settings: Settings) -> Iterator[Finding]:
    """Whether every model's ledger can be read, and no entry was changed, lost or put between."""
    from nightshift.ledger import Ledger
    from nightshift.storage import Store
    from nightshift.storage.objects import Objects

    whole = []
    for model in settings.model_names():
        try:
            area = f"{settings.storage.rstrip('/')}/{settings.env}/{model}"
            whole.append(f"{model} {len(Ledger(Store(Objects(area, patience=PATIENCE))).entries())}")
        except NightshiftError as error:
            yield Finding("Ledgers", "error", f"{model}: {error.message}", error.hint or "see docs/ledger.md")
    if whole:
        yield Finding("Ledgers", "ok", f"entries that follow each other: {', '.join(whole)}")


def connections(settings: Settings) -> Iterator[Finding]:
    """Whether Airflow knows the connections that specs name."""
    from nightshift.cli.setup import airflow
    from nightshift.spec.loader import load_specs

    wanted = sorted({spec.notify.connection for spec in load_specs(settings.models).specs if spec.notify})
    if not wanted:
        yield Finding("Connections", "ok", "the specs name none")
        return
    for name in wanted:
        try:
            airflow(["connections", "get", name, "-o", "json"], _airflow_env(settings))
        except NightshiftError as error:
            found = f"{name}: {error.message.splitlines()[-1]}"
            yield Finding(
                "Connections", "error", found, f"airflow connections add {name} --conn-type http --conn-host …"
            )
        else:
            yield Finding("Connections", "ok", name)


def stack(settings: Settings) -> Iterator[Finding]:
    """The docker-compose stack, asked from outside."""
    from nightshift.stack.engine import Compose
    from nightshift.stack.probes import findings

    yield from findings(Compose.at(project_of(settings)))


def _airflow_env(settings: Settings) -> dict[str, str]:
    return process_environment(settings, java_home=java_home_in_use(settings))
