"""The program of steps and its packages, below ``NIGHTSHIFT_EMR_CODE``: what is there, and what has to be."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.emr_settings import EmrSettings
from nightshift.errors import SettingsError
from nightshift.stamps import python_minor
from nightshift_airflow.compute.emr.account import Account
from nightshift_airflow.compute.emr.steps import Code

log = logging.getLogger(__name__)

FOLDER = "/mnt/nightshift"  # on the volume that compute.emr.disk_gib is of, as EMR mounts it
PYTHON_IN_PATH = re.compile(r"python(\d\.\d+)$")
MISSING = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True)
class Dependencies:
    """A dependency archive, as the file beside it describes it.

    Attributes:
        uri: Where it is.
        sha256: Digest of its bytes.
        lock: Digest of the lock that it was built from.
        python: The Python that it is for, such as ``3.11``.
        platform: The processor that it is for.
        bootstrap: Name of the script that puts it on a node, beside it.
        packages: What is in it: versions by name.
    """

    uri: str
    sha256: str
    lock: str
    python: str
    platform: str
    bootstrap: str
    packages: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Where a node has it."""
        return f"{FOLDER}/{self.sha256[:16]}"


def dependencies(account: Account, settings: EmrSettings) -> Dependencies | None:
    """The dependency archive that the environment names, or None if it names none.

    Raises:
        SettingsError: It, or its description, is not there or cannot be read.
        JobError: S3 does not answer.
    """
    if settings.dependencies is None:
        return None
    uri = f"{settings.code}/{settings.dependencies}"
    hint = "`nightshift package --to` with NIGHTSHIFT_EMR_CODE builds and uploads both"
    described = get(account, f"{uri}.json")
    if described is None or not exists(account, uri):
        raise SettingsError(f"there is no {uri}, or no {settings.dependencies}.json beside it.", hint=hint)
    try:
        told = json.loads(described)
        names = ("sha256", "lock", "python", "platform", "bootstrap")
        packages = {str(name): str(version) for name, version in told["packages"].items()}
        found = Dependencies(uri=uri, packages=packages, **{name: str(told[name]) for name in names})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{uri}.json does not describe a dependency archive: {error!r}.", hint=hint) from None
    if not re.fullmatch(r"[0-9a-f]{64}", found.sha256) or not re.fullmatch(r"[\w.-]+\.sh", found.bootstrap):
        raise SettingsError(f"{uri}.json names no sha256 of the archive, or no script to unpack it.", hint=hint)
    return found


def python_of(path: str) -> str | None:
    """The Python that an interpreter is, such as ``3.11``, as far as its path says."""
    found = PYTHON_IN_PATH.search(path)
    return found[1] if found else None


def provide_code(account: Account, settings: EmrSettings, needed: Dependencies | None) -> Code:
    """Upload this code, unless it is there: names say what is in them, so what is there is right.

    Raises:
        SettingsError: It may not be written.
        JobError: S3 does not answer.
    """
    from nightshift.jobs.archive import archive_bytes, archive_name
    from nightshift.jobs.submitted import emr_entry

    python = needed.python if needed else python_of(settings.node_python) or python_minor()
    name, entry = emr_entry()
    archive = f"{settings.code}/{archive_name(python)}"
    program = f"{settings.code}/{name}"
    if not exists(account, archive):
        put(account, archive, archive_bytes(python))
    if not exists(account, program):
        put(account, program, entry)
    return Code(archive, program, needed.lock if needed else None)


# -- objects by the connection's own credentials -------------------------------------------------------------


def split(uri: str) -> dict[str, str]:
    """Bucket and key, as S3's operations call them."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def exists(account: Account, uri: str) -> bool:
    """Raises NightshiftError: S3 does not say."""
    return (
        _unless_missing(account, f"look at {uri}", lambda: account.client("s3").head_object(**split(uri))) is not None
    )


def get(account: Account, uri: str) -> bytes | None:
    """An object, or None if there is none. Raises NightshiftError: S3 does not say."""
    read: bytes | None = _unless_missing(
        account, f"read {uri}", lambda: bytes(account.client("s3").get_object(**split(uri))["Body"].read())
    )
    return read


def put(account: Account, uri: str, data: bytes) -> None:
    """Raises NightshiftError: It cannot be written."""
    account.call(f"write {uri}", lambda: account.client("s3").put_object(**split(uri), Body=data))
    log.info("uploaded %s (%d bytes)", uri, len(data))


def _unless_missing(account: Account, what: str, request: Any) -> Any:
    from botocore.exceptions import ClientError

    def attempt() -> Any:
        try:
            return request()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in MISSING:
                return None
            raise

    return account.call(what, attempt)
