"""Where the stack's pages are, who may log in there, and where the password is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A page for people.

    Attributes:
        name: What is there.
        url: Its address.
        user: Who logs in; empty where nobody does.
        password: The variable in ``.env`` that has the password; never the password.
        service: The service that serves it.
    """

    name: str
    url: str
    user: str
    password: str
    service: str


def places(values: Mapping[str, str]) -> list[Place]:
    """All pages, at the ports that these variables say."""
    return [
        Place("Airflow", airflow(values), "admin", "AIRFLOW_ADMIN_PASSWORD", "airflow-apiserver"),
        Place("", airflow(values), "viewer", "AIRFLOW_VIEWER_PASSWORD", "airflow-apiserver"),
        Place("MLflow", mlflow(values), "admin", "MLFLOW_ADMIN_PASSWORD", "mlflow"),
        Place("MinIO", _at(values["MINIO_CONSOLE_PORT"]), "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "minio"),
        Place("Spark", spark(values), "", "", "spark-master"),
        Place("Spark history", _at(values["SPARK_HISTORY_PORT"]), "", "", "spark-history"),
    ]


def airflow(values: Mapping[str, str]) -> str:
    return _at(values["AIRFLOW_PORT"])


def mlflow(values: Mapping[str, str]) -> str:
    return _at(values["MLFLOW_PORT"])


def store(values: Mapping[str, str]) -> str:
    """The S3 API of the stack's own MinIO."""
    return _at(values["MINIO_PORT"])


def spark(values: Mapping[str, str]) -> str:
    return _at(values["SPARK_UI_PORT"])


def _at(port: str) -> str:
    return f"http://localhost:{port}"
