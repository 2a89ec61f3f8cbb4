"""The stores that keep the contract, and where each is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.s3_server import S3Server, s3_server
from tests.fakes import minio
from tests.fakes.minio import Minio
from tests.fakes.moto import moto

from nightshift.storage import Store
from nightshift.storage.objects import Objects

HERE = minio.running_server() or minio.program()
STORES = ["local disk", "local disk, odd name", "moto", *(["minio"] if HERE else [])]
# Not skipped where they cannot run, but left out, and the last lines of a run say so.
collect_ignore = [
    *([] if HERE else ["test_minio.py"]),
    *([] if minio.program() else ["test_minio_outage.py"]),
]
# Of AWS, what a developer's shell may hold for another account.
FOREIGN = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN")


def use(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


# Moto's state is one for the process, and the double of AWS clears it: not beyond a module.
@pytest.fixture(scope="module")
def moto_server() -> Iterator[Minio]:
    """See ``tests.fakes.moto``."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")  # small pages, so that listings have several
        with moto() as server:
            yield server


@pytest.fixture(scope="session")
def minio_server() -> Iterator[Minio]:
    with minio.minio() as server:
        yield server


# One bucket on each server; every test has a prefix of its own.


@pytest.fixture(scope="session")
def minio_bucket(minio_server: Minio) -> Iterator[str]:
    with minio_server.bucket(versioned=True) as name:  # as that of the stack is
        yield name


@pytest.fixture(scope="module")
def moto_bucket(moto_server: Minio) -> Iterator[str]:
    with moto_server.bucket() as name:
        yield name


@pytest.fixture
def minio_root(minio_server: Minio, minio_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use(monkeypatch, minio_server.environment)
    return f"s3://{minio_bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def moto_root(moto_server: Minio, moto_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use(monkeypatch, moto_server.environment)
    return f"s3://{moto_bucket}/{uuid.uuid4().hex}"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind."""
    match request.param:
        case "local disk":
            return Store(Objects(tmp_path.as_uri()))
        case "local disk, odd name":
            return Store(Objects((tmp_path / "a b%20c#1d é=[x]{y}?*").as_uri()))
        case name:
            return Store(Objects(request.getfixturevalue(f"{name}_root") + "/a%20b%2520c%23d%20é=[x]{y}%3F*"))


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="module")
def _s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server that can be told to misbehave."""
    use(monkeypatch, Minio(_s3.endpoint, "x", "x").environment)
    _s3.behave()
    return _s3
