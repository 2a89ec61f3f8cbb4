"""The variables of ``docker-compose.yaml``: secrets that ``.env`` must have, and what it may change."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Secret:
    """A variable without which nothing starts.

    Attributes:
        name: The variable.
        meaning: What it opens, as a comment in ``.env``.
        make: Gives a random value of letters, digits, ``-``, ``_`` and ``=``: nothing that a URL, a shell or
            docker-compose would read as anything but itself.
    """

    name: str
    meaning: str
    make: Callable[[], str]


@dataclass(frozen=True)
class Option:
    """A variable with a default, as a comment in ``.env``.

    Attributes:
        name: The variable.
        default: What docker-compose.yaml takes without it.
        meaning: What it changes.
    """

    name: str
    default: str
    meaning: str


def _hexadecimal(count: int) -> Callable[[], str]:
    return lambda: secrets.token_hex(count)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS = (
    Secret("POSTGRES_PASSWORD", "Postgres: its superuser", _hexadecimal(24)),
    Secret("AIRFLOW_DB_PASSWORD", "Postgres: the owner of Airflow's database", _hexadecimal(24)),
    Secret("MLFLOW_DB_PASSWORD", "Postgres: the owner of MLflow's database", _hexadecimal(24)),
    Secret("AIRFLOW_ADMIN_PASSWORD", "Airflow: the login of admin", _hexadecimal(12)),
    Secret("AIRFLOW_VIEWER_PASSWORD", "Airflow: the login of viewer, who may look and not touch", _hexadecimal(12)),
    Secret("AIRFLOW_FERNET_KEY", "Airflow: encrypts connections and variables in its database", _fernet_key),
    Secret("AIRFLOW_JWT_SECRET", "Airflow: signs the tokens of its API and of tasks", _hexadecimal(64)),
    Secret("AIRFLOW_API_SECRET_KEY", "Airflow: signs sessions and links to logs", _hexadecimal(32)),
    Secret("MINIO_ROOT_USER", "MinIO: its root user, which is the access key too", lambda: f"ns{secrets.token_hex(8)}"),
    Secret("MINIO_ROOT_PASSWORD", "MinIO: root's password, which is the secret key too", _hexadecimal(20)),
    Secret("MLFLOW_ADMIN_PASSWORD", "MLflow: the login of admin", _hexadecimal(12)),
    Secret("MLFLOW_FLASK_SECRET_KEY", "MLflow: signs sessions", _hexadecimal(32)),
    Secret("SPARK_AUTH_SECRET", "Spark: what master, workers and drivers know each other by", _hexadecimal(32)),
)

PORTS = (
    Option("AIRFLOW_PORT", "8080", "port of Airflow, on 127.0.0.1 as all of them"),
    Option("MLFLOW_PORT", "5000", "port of MLflow"),
    Option("MINIO_PORT", "9000", "port of MinIO's S3 API"),
    Option("MINIO_CONSOLE_PORT", "9001", "port of MinIO's console"),
    Option("SPARK_UI_PORT", "8081", "port of the Spark master's page"),
    Option("SPARK_HISTORY_PORT", "18080", "port of Spark's history server"),
)

OPTIONS = (
    *PORTS,
    Option("SPARK_WORKER_MEMORY", "1g", "what a Spark worker gives to executors, within its container's mem_limit"),
    Option("NIGHTSHIFT_COMPUTE", "standalone", "where Spark runs for specs that do not say: standalone or local"),
    Option("NIGHTSHIFT_ENV", "dev", "prefix in storage: dev, stage or prod"),
    Option("NIGHTSHIFT_PYTHONPATH", "", "where engines of your own are, such as /opt/airflow/dags/models"),
    Option("NIGHTSHIFT_UID", "50000", "user id of all of our processes, for folders that only you may read"),
    Option("S3_ENDPOINT", "http://minio:9000", "another S3-compatible server: see docs/stack.md"),
    Option("S3_REGION", "us-east-1", "its region"),
    Option("S3_BUCKET", "nightshift", "the bucket; made if there is none"),
    Option("NIGHTSHIFT_IMAGE", "nightshift:local", "name of the image that is built"),
    Option("PYTHON_IMAGE", "python:3.11.14-slim-bookworm", "what it is built on"),
    Option("POSTGRES_IMAGE", "postgres:17.6-bookworm", "Postgres"),
    Option("MINIO_IMAGE", "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z", "MinIO"),
)
