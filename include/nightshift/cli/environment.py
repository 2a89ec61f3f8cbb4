"""The environment that Airflow and jobs run in on one machine; ``env.sh`` is this, to be sourced."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from nightshift.settings import Settings

POOL = "nightshift_local"
POOL_SLOTS = 2


def project_of(settings: Settings) -> Path:
    """The folder that holds ``dags/``."""
    return settings.models.parent.parent


def airflow_home(settings: Settings) -> Path:
    return project_of(settings) / ".airflow"


def scripts_folder() -> Path:
    """Where this environment's programs are, ``airflow`` among them."""
    return Path(sys.prefix) / "bin"


def jwt_secret_file(settings: Settings) -> Path:
    return airflow_home(settings) / "jwt_secret"


def airflow_environment(settings: Settings, *, java_home: Path | None) -> dict[str, str]:
    """Every variable that Airflow and jobs need here, except ``PATH``.

    Args:
        settings: Where things are.
        java_home: A Java to use, or None where the one on PATH is right.
    """
    project = project_of(settings)
    variables = {
        "AIRFLOW_HOME": str(airflow_home(settings)),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Everybody who reaches the API is its admin, so it may listen on loopback only.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
        # The secret that Airflow makes up itself is too short for its own algorithm.
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": f"cat {shlex.quote(str(jwt_secret_file(settings)))}",
        # LocalExecutor starts all of its workers at once, and the default is 32.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NIGHTSHIFT_HOME": str(settings.home),
        "NIGHTSHIFT_MODELS": str(settings.models),
        "NIGHTSHIFT_ENV": settings.env,
        "NIGHTSHIFT_STORAGE": settings.storage,
        "NIGHTSHIFT_MLFLOW_URI": settings.mlflow_uri,
        "NIGHTSHIFT_PYTHON": settings.python,
        "NIGHTSHIFT_THREADS": str(settings.threads),
        # Without it Spark's workers take whatever python3 is first on PATH.
        "PYSPARK_PYTHON": settings.python,
        "PYSPARK_DRIVER_PYTHON": settings.python,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if java_home is not None:
        variables["JAVA_HOME"] = str(java_home)
    return variables


def process_environment(settings: Settings, *, java_home: Path | None) -> dict[str, str]:
    """This process's environment with those variables in it and this Python's programs first on PATH."""
    path = os.pathsep.join([str(scripts_folder()), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **airflow_environment(settings, java_home=java_home), "PATH": path}


def env_sh(settings: Settings, *, java_home: Path | None) -> str:
    """The text of ``env.sh``, for ``sh``, ``bash`` and ``zsh``."""
    scripts = shlex.quote(str(scripts_folder()))
    lines = [
        "# Written by `nightshift init`; source it:  . " + shlex.quote(str(env_sh_path(settings))),
        f'case ":$PATH:" in *:{scripts}:*) ;; *) export PATH={scripts}:"$PATH" ;; esac',
    ]
    lines += [
        f"export {name}={shlex.quote(value)}"
        for name, value in airflow_environment(settings, java_home=java_home).items()
    ]
    return "\n".join(lines) + "\n"


def env_sh_path(settings: Settings) -> Path:
    return settings.home / "env.sh"


def java_home_in_use(settings: Settings) -> Path | None:
    """The JAVA_HOME that ``env.sh`` sets, or None where it sets none or is not there."""
    path = env_sh_path(settings)
    text = path.read_text() if path.is_file() else ""
    found = re.search(r"^export JAVA_HOME=(.+)$", text, flags=re.MULTILINE)
    return Path(shlex.split(found[1])[0]) if found else None


def shown(path: Path) -> str:
    """A path as people type it: relative to the current folder where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
