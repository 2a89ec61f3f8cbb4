"""The environment, read once into one frozen object.

Precedence: an explicit argument, then ``NIGHTSHIFT_*`` variables, then the defaults below.
Secrets never live here: connections are named by id.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightshift.errors import SettingsError

ENV_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes:
        home: Folder for local state; ``NIGHTSHIFT_HOME``, else ``.nightshift`` beside ``dags/``.
        models: Folder of model specs; ``NIGHTSHIFT_MODELS``, else ``dags/models``.
        env: Name of the environment (dev, stage, prod), a prefix in storage; ``NIGHTSHIFT_ENV``.
        storage: Root of the object store as a URI; ``NIGHTSHIFT_STORAGE``.
        mlflow_uri: MLflow tracking URI; ``NIGHTSHIFT_MLFLOW_URI``.
        python: Interpreter that jobs run in; ``NIGHTSHIFT_PYTHON``.
        threads: Threads of a job; part of what makes a model reproducible; ``NIGHTSHIFT_THREADS``.
    """

    home: Path
    models: Path
    env: str
    storage: str
    mlflow_uri: str
    python: str
    threads: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``NIGHTSHIFT_*``.

        Raises:
            SettingsError: A variable holds a value that cannot be used.
        """
        source = os.environ if environ is None else environ
        models = Path(source.get("NIGHTSHIFT_MODELS") or project_root() / "dags" / "models").absolute()
        home = Path(source.get("NIGHTSHIFT_HOME") or models.parent.parent / ".nightshift").absolute()
        env = source.get("NIGHTSHIFT_ENV") or "dev"
        if not ENV_NAME.fullmatch(env):
            raise SettingsError(
                f"NIGHTSHIFT_ENV is {env!r}, which cannot be a prefix in storage.",
                hint="use lower-case letters, digits and dashes, for example dev, stage or prod",
            )
        threads = source.get("NIGHTSHIFT_THREADS") or "2"
        if not threads.isdigit() or int(threads) < 1:
            raise SettingsError(f"NIGHTSHIFT_THREADS is {threads!r}.", hint="use a whole number, 1 or more")
        return cls(
            home=home,
            models=models,
            env=env,
            storage=source.get("NIGHTSHIFT_STORAGE") or (home / "store").as_uri(),
            mlflow_uri=source.get("NIGHTSHIFT_MLFLOW_URI") or f"sqlite:///{home / 'mlflow.db'}",
            python=source.get("NIGHTSHIFT_PYTHON") or sys.executable,
            threads=int(threads),
        )


def project_root() -> Path:
    """The nearest folder at or above the current one that has ``dags/models``, else the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dags" / "models").is_dir()), here)
