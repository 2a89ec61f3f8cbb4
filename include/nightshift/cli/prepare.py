"""``nightshift prepare``: what the docker-compose stack needs before its servers start; safe to repeat."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import click

from nightshift.cli.environment import POOL, POOL_SLOTS
from nightshift.errors import SettingsError, StorageError

log = logging.getLogger(__name__)

DATABASES = {"airflow": "AIRFLOW_DB_PASSWORD", "mlflow": "MLFLOW_DB_PASSWORD"}
USERS = {"admin": "AIRFLOW_ADMIN_PASSWORD", "viewer": "AIRFLOW_VIEWER_PASSWORD"}
KEEP_OVERWRITTEN_DAYS = 7

_OVERWRITTEN: dict[str, object] = {
    "ID": "nightshift-overwritten",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": KEEP_OVERWRITTEN_DAYS},
}
_UPLOADS: dict[str, object] = {
    "ID": "nightshift-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


@click.command()
def prepare() -> None:
    """Prepare the stack: databases, bucket, Airflow's tables, pool and passwords. Run by docker compose."""
    steps: dict[str, Callable[[Mapping[str, str]], str]] = {
        "Postgres": databases,
        "Bucket": bucket,
        "Storage": storage,
        "Airflow": airflow_tables,
        "Logins": airflow_logins,
        "MLflow": mlflow_tables,
    }
    for name, step in steps.items():
        began = time.monotonic()
        click.echo(f"{name}: {step(os.environ)} ({time.monotonic() - began:.1f} s)")


def databases(environ: Mapping[str, str]) -> str:
    """A database for each of Airflow and MLflow, with an owner of the same name that can reach no other.

    Raises:
        SettingsError: Postgres does not let us in.
    """
    import psycopg2
    from psycopg2 import sql

    try:
        server = psycopg2.connect(host="postgres", user="postgres", password=_secret(environ, "POSTGRES_PASSWORD"))
    except psycopg2.OperationalError as error:
        raise SettingsError(
            f"Postgres does not let us in: {str(error).strip().splitlines()[-1]}",
            hint="was .env written anew while the volume stayed? Postgres keeps the password it was made with: restore "
            "that .env, or start over with make down VOLUMES=1",
        ) from error
    server.autocommit = True
    with closing(server), server.cursor() as cursor:
        for name, variable in DATABASES.items():
            owner, password = sql.Identifier(name), sql.Literal(_secret(environ, variable))
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
            cursor.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, owner, password))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(owner))
    return f"databases {', '.join(DATABASES)}"


def bucket(environ: Mapping[str, str]) -> str:
    """The bucket of ``NIGHTSHIFT_STORAGE``, with versioning, and an end for what was overwritten.

    Raises:
        StorageError: The object store refuses.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    name = urlsplit(environ["NIGHTSHIFT_STORAGE"]).netloc
    client = boto3.client("s3")
    try:
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    except (BotoCoreError, ClientError) as error:
        raise StorageError(
            f"the bucket {name} cannot be prepared: {error}",
            hint="S3_ENDPOINT, MINIO_ROOT_USER and MINIO_ROOT_PASSWORD in .env say where and who",
        ) from error
    kept = f"{name}, versioned; overwritten objects are kept for {KEEP_OVERWRITTEN_DAYS} days"
    for rules in ([_OVERWRITTEN, _UPLOADS], [_OVERWRITTEN]):  # MinIO ends stale uploads itself, and refuses to be told
        try:
            client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        except ClientError as error:
            refusal = error.response["Error"].get("Message", str(error))
        else:
            return kept
    return f"{name}, versioned; what is overwritten is kept for ever: the server takes no lifecycle rules ({refusal})"


def storage(environ: Mapping[str, str]) -> str:
    """Proof that of many writers of one name one wins: without it nothing here is safe.

    Raises:
        SettingsError: The object store has no conditional create.
        StorageError: It cannot be reached, or refuses.
    """
    from nightshift.storage import require_conditional_create
    from nightshift.storage.objects import Objects

    require_conditional_create(Objects(environ["NIGHTSHIFT_STORAGE"]))
    return "writable, conditional create works"


def airflow_tables(environ: Mapping[str, str]) -> str:
    """Airflow's tables of today's version, and the pool of jobs.

    Raises:
        SettingsError: Airflow refuses; the message ends with its last lines.
    """
    from nightshift.cli.setup import airflow

    airflow(["db", "migrate"], environ)
    airflow(["pools", "set", POOL, str(POOL_SLOTS), "Jobs and drivers on the scheduler's machine"], environ)
    return f"tables, and the pool {POOL} of {POOL_SLOTS} slots"


def airflow_logins(environ: Mapping[str, str]) -> str:
    """The file in which Airflow looks up passwords."""
    from nightshift.cli.setup import write_whole

    path = Path(environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    passwords = {user: _secret(environ, variable) for user, variable in USERS.items()}
    write_whole(path, json.dumps(passwords), mode=0o600)
    return f"users {', '.join(USERS)}"


def mlflow_tables(environ: Mapping[str, str]) -> str:
    """MLflow's tables of today's version."""
    from mlflow.db import upgrade

    uri = f"postgresql+psycopg2://mlflow:{_secret(environ, 'MLFLOW_DB_PASSWORD')}@postgres/mlflow"
    logging.getLogger("alembic").setLevel(logging.WARNING)
    assert upgrade.callback is not None
    upgrade.callback(uri)  # as a program it would have the password among its arguments
    return "tables"


def _secret(environ: Mapping[str, str], variable: str) -> str:
    """Raises SettingsError: The variable is not set."""
    value = environ.get(variable)
    if not value:
        raise SettingsError(f"{variable} is not set.", hint="this runs inside the stack: make up")
    return value
