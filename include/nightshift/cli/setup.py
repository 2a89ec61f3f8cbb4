"""``nightshift init``: everything a checkout needs to run on one machine, once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, out
from nightshift.cli.environment import (
    POOL,
    POOL_SLOTS,
    airflow_environment,
    airflow_home,
    env_sh,
    env_sh_path,
    jwt_secret_file,
    process_environment,
    scripts_folder,
    shown,
)
from nightshift.errors import SettingsError
from nightshift.plan import digest_of
from nightshift.settings import Settings

STAMPED = ("nightshift-mlops", "apache-airflow", "mlflow", "pyspark")
AIRFLOW_TIMEOUT = 300


@click.command()
@click.option("--force", is_flag=True, help="Do every step again, even if nothing changed.")
def init(force: bool) -> None:
    """Prepare this checkout: folders, Java, MLflow's and Airflow's databases, the pool, env.sh.

    Safe to repeat: what is there is kept, and a second run only looks whether anything changed.
    """
    from nightshift.java import find_java

    console, began = out(), time.monotonic()
    settings = Settings.from_environment()
    require_models(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    found = find_java(settings.home)
    # A Java of the system may move with its next update; only our own wrapper is worth writing down.
    java = found.home if found.home.is_relative_to(settings.home) else None
    stamp = stamp_of(settings, java)
    if not force and is_set_up(settings, stamp):
        console.print(f"{MARKS['ok']} Already set up in {escape(shown(settings.home))}; nothing changed since.")
        console.print(source_line(settings))
        return
    console.print(f"{MARKS['ok']} Java {found.version}: {escape(shown(found.home))}", soft_wrap=True)
    with console.status("Setting up MLflow and Airflow (half a minute the first time)…"):
        for line in set_up(settings, java):
            console.print(f"{MARKS['ok']} {escape(line)}", soft_wrap=True)
    stamp_path(settings).write_text(stamp)
    console.print(f"Done in {time.monotonic() - began:.0f} s. {source_line(settings)}")


def source_line(settings: Settings) -> str:
    return f"For commands of Airflow's own:  [bold]. {escape(shown(env_sh_path(settings)))}[/]"


def require_models(settings: Settings) -> None:
    """Raises SettingsError: This is not a project."""
    if not settings.models.is_dir():
        raise SettingsError(
            f"there is no folder {settings.models}.",
            hint="run nightshift inside a project that has dags/models, or set NIGHTSHIFT_MODELS",
        )


def set_up(settings: Settings, java: Path | None) -> Iterator[str]:
    """Do the steps, MLflow and Airflow side by side; gives a line for each when it is done."""
    path = env_sh_path(settings)
    with ThreadPoolExecutor(max_workers=2) as pool:
        steps: list[Future[str]] = [
            pool.submit(_prepare_mlflow, settings),
            pool.submit(_prepare_airflow, settings, java),
        ]
        for step in steps:
            yield step.result()
    write_whole(path, env_sh(settings, java_home=java), mode=0o600)
    yield f"Environment: {shown(path)}"


def _prepare_mlflow(settings: Settings) -> str:
    from nightshift.registry.mlflow_registry import initialise

    initialise(settings.mlflow_uri)
    return f"MLflow: {settings.mlflow_uri}"


def _prepare_airflow(settings: Settings, java: Path | None) -> str:
    home = airflow_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    secret = jwt_secret_file(settings)
    if not secret.is_file():
        write_whole(secret, secrets.token_hex(64), mode=0o600)
    environment = process_environment(settings, java_home=java)
    airflow(["db", "migrate"], environment)
    airflow(["pools", "set", POOL, str(POOL_SLOTS), "Jobs that run on this machine"], environment)
    return f"Airflow: {shown(home)}, with pool {POOL} of {POOL_SLOTS} slots"


def airflow(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Run Airflow's own command line.

    Raises:
        SettingsError: It is not installed, fails or takes too long; the message ends with its last lines.
    """
    program = scripts_folder() / "airflow"
    found = str(program) if program.exists() else shutil.which("airflow")
    if found is None:
        raise SettingsError(
            "Airflow is not installed in this environment.", hint="run: pip install 'nightshift-mlops[airflow,job]'"
        )
    try:
        done = subprocess.run(
            [found, *arguments],
            check=False,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=AIRFLOW_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"airflow {' '.join(arguments)} took longer than {AIRFLOW_TIMEOUT} s.") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise SettingsError(f"airflow {' '.join(arguments)} ended with exit code {done.returncode}:\n{last}")
    return done.stdout


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=mode)
    fresh.chmod(mode)  # where it was left from before, or the umask is strict
    fresh.write_text(text)
    fresh.replace(path)


# -- the stamp: what the last set-up was made with ---------------------------------------------------


def stamp_path(settings: Settings) -> Path:
    return settings.home / "init.stamp"


def stamp_of(settings: Settings, java: Path | None) -> str:
    """Digest of the versions and places that a set-up depends on."""
    versions: dict[str, str | None] = {}
    for name in STAMPED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    environment = airflow_environment(settings, java_home=java)
    return digest_of({"versions": versions, "environment": environment, "code": code})


def is_set_up(settings: Settings, stamp: str) -> bool:
    """Whether the last set-up was made with the same things, and what it made is still there."""
    path = stamp_path(settings)
    if not path.is_file() or path.read_text() != stamp:
        return False
    made = [env_sh_path(settings), jwt_secret_file(settings)]
    if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in os.environ:
        made.append(airflow_home(settings) / "airflow.db")
    mlflow = sqlite_file(settings.mlflow_uri)
    return all(file.is_file() for file in [*made, *([mlflow] if mlflow else [])])


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other database or server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
