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
from typing import Literal

from nightshift.errors import SettingsError

ComputeName = Literal["local", "standalone", "emr"]

ENV_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
SPARK_MASTER = re.compile(r"spark://[A-Za-z0-9.-]+:\d{1,5}(,[A-Za-z0-9.-]+:\d{1,5})*")
MASTER_HINT = "NIGHTSHIFT_SPARK_MASTER says where the Spark cluster is, for example spark://spark-master:7077"
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
        compute: Where jobs run, for specs that do not say; ``NIGHTSHIFT_COMPUTE``.
        spark_master: Address of a standalone Spark cluster; ``NIGHTSHIFT_SPARK_MASTER``.
        spark_ui: Base URL of the master's web page as a browser reaches it; ``NIGHTSHIFT_SPARK_UI``.
        spark_events: Folder URI for Spark's event logs; ``NIGHTSHIFT_SPARK_EVENTS``.
        spark_cores: Most cores of a standalone cluster that one job takes; ``NIGHTSHIFT_SPARK_CORES``.
    """

    home: Path
    models: Path
    env: str
    storage: str
    mlflow_uri: str
    python: str
    threads: int
    compute: ComputeName = "local"
    spark_master: str | None = None
    spark_ui: str | None = None
    spark_events: str | None = None
    spark_cores: int | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``NIGHTSHIFT_*``.

        Raises:
            SettingsError: A variable holds a value that cannot be used.
        """
        source = os.environ if environ is None else environ
        models = _folder(source.get("NIGHTSHIFT_MODELS")) or project_root() / "dags" / "models"
        home = _folder(source.get("NIGHTSHIFT_HOME")) or models.parent.parent / ".nightshift"
        compute = _compute(source.get("NIGHTSHIFT_COMPUTE") or "local")
        master = _spark_master(source.get("NIGHTSHIFT_SPARK_MASTER"))
        if compute == "standalone":
            require_master(master, "NIGHTSHIFT_COMPUTE is standalone")
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
            compute=compute,
            spark_master=master,
            spark_ui=_spark_ui(source.get("NIGHTSHIFT_SPARK_UI")),
            spark_events=_spark_events(source.get("NIGHTSHIFT_SPARK_EVENTS")),
            spark_cores=_spark_cores(source.get("NIGHTSHIFT_SPARK_CORES")),
        )

    def model_names(self) -> list[str]:
        """The models that have a spec file, whether it can be read or not."""
        return sorted(path.stem for path in self.models.glob("*.yaml"))

    def compute_of(self, wanted: ComputeName | None) -> ComputeName:
        """The compute target to use: the spec's, else the environment's.

        Args:
            wanted: ``compute.target`` of a spec.

        Raises:
            SettingsError: It is ``standalone``, and nothing says where the cluster is.
        """
        target = wanted or self.compute
        if target == "standalone":
            require_master(self.spark_master, "the model's compute.target is standalone")
        return target


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


def _compute(text: str) -> ComputeName:
    match text:
        case "local" | "standalone" | "emr":
            return text
    raise SettingsError(
        f"NIGHTSHIFT_COMPUTE is {text!r}.",
        hint="use local (this machine), standalone (a Spark cluster) or emr (Amazon EMR)",
    )


def _spark_master(text: str | None) -> str | None:
    if text and not SPARK_MASTER.fullmatch(_without_password("NIGHTSHIFT_SPARK_MASTER", text)):
        raise SettingsError(
            f"NIGHTSHIFT_SPARK_MASTER is {text!r}, which is not the address of a standalone Spark master.",
            hint="use spark://host:port, for example spark://spark-master:7077",
        )
    return text or None


def require_master(master: str | None, why: str) -> str:
    """The cluster's address.

    Args:
        master: What is known of it.
        why: What needs it, for the message.

    Raises:
        SettingsError: There is none.
    """
    if master is None:
        raise SettingsError(f"{why}, but NIGHTSHIFT_SPARK_MASTER is not set.", hint=MASTER_HINT)
    return master


def _spark_ui(url: str | None) -> str | None:
    if url and not re.fullmatch(r"https?://[^/\s]+[^\s]*", url):
        raise SettingsError(
            f"NIGHTSHIFT_SPARK_UI is {url!r}, which is not the address of a web page.",
            hint="use the master's page as your browser reaches it, for example http://127.0.0.1:8081",
        )
    return _without_password("NIGHTSHIFT_SPARK_UI", url).rstrip("/") if url else None


def _spark_events(uri: str | None) -> str | None:
    if uri and not re.fullmatch(r"(file:///|[a-z][a-z0-9]*://[^/\s])[^\s]*", uri):
        raise SettingsError(
            f"NIGHTSHIFT_SPARK_EVENTS is {uri!r}, which is not a URI of a folder.",
            hint="use s3://bucket/prefix or file:///folder; driver and history server must both reach it",
        )
    return _without_password("NIGHTSHIFT_SPARK_EVENTS", uri) if uri else None


def _spark_cores(text: str | None) -> int | None:
    if text and not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise SettingsError(f"NIGHTSHIFT_SPARK_CORES is {text!r}.", hint="use a whole number: the most cores of a job")
    return int(text) if text else None


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
            f"{variable} has a password in it, and it is written into plans, reports and logs.",
            hint="leave it out; for an MLflow server set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return uri


def project_root() -> Path:
    """The nearest folder at or above the current one that has ``dags/models``, else the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dags" / "models").is_dir()), here)
