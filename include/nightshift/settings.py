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
PASSWORD = re.compile(r"[^/]*://[^/@]*:[^/]*@")


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
        models = _folder(source.get("NIGHTSHIFT_MODELS")) or project_root() / "dags" / "models"
        home = _folder(source.get("NIGHTSHIFT_HOME")) or models.parent.parent / ".nightshift"
        return cls(
            home=home,
            models=models,
            env=_env(source.get("NIGHTSHIFT_ENV") or "dev"),
            storage=_storage(source.get("NIGHTSHIFT_STORAGE") or (home / "store").as_uri()),
            mlflow_uri=_without_password(
                "NIGHTSHIFT_MLFLOW_URI", source.get("NIGHTSHIFT_MLFLOW_URI") or f"sqlite:///{home / 'mlflow.db'}"
            ),
            python=source.get("NIGHTSHIFT_PYTHON") or sys.executable,
            threads=_threads(source.get("NIGHTSHIFT_THREADS") or "2"),
        )


def _folder(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _env(text: str) -> str:
    if not ENV_NAME.fullmatch(text):
        raise SettingsError(
            f"NIGHTSHIFT_ENV is {text!r}, which cannot be a prefix in storage.",
            hint="use lower-case letters, digits and dashes, for example dev, stage or prod",
        )
    return text


def _threads(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise SettingsError(f"NIGHTSHIFT_THREADS is {text!r}.", hint="use a whole number, 1 or more")
    return int(text)


def _storage(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    if not separator or not scheme or (scheme == "file" and not rest.startswith("/")):
        raise SettingsError(
            f"NIGHTSHIFT_STORAGE is {uri!r}, which is not a URI.",
            hint=f"use s3://bucket/prefix, or {Path(uri.removeprefix('file://') or '/data').absolute().as_uri()}",
        )
    return _without_password("NIGHTSHIFT_STORAGE", uri)


def _without_password(variable: str, uri: str) -> str:
    """The URI, which is written into every plan and report."""
    if PASSWORD.match(uri):
        raise SettingsError(
            f"{variable} has a password in it, and it is written into plans and reports.",
            hint="leave it out; for an MLflow server set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return uri


def project_root() -> Path:
    """The nearest folder at or above the current one that has ``dags/models``, else the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dags" / "models").is_dir()), here)
