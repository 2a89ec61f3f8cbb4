"""MinIO stopped in the middle: half a minute is waited for, and nothing is published twice or by halves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer

import pytest
from tests.contract.conftest import use
from tests.fakes import minio
from tests.fakes.minio import OwnMinio

from nightshift.errors import StorageError
from nightshift.storage import Store
from nightshift.storage.objects import Objects

DAY = "2013-07-14"
BIG = b"x" * 20_000_000


@pytest.fixture(scope="module")
def _server() -> Iterator[OwnMinio]:
    with minio.own_minio() as server:
        yield server


@pytest.fixture
def server(_server: OwnMinio, monkeypatch: pytest.MonkeyPatch) -> OwnMinio:
    use(monkeypatch, _server.environment)
    return _server


@pytest.fixture
def store(server: OwnMinio) -> Iterator[Store]:
    with server.bucket() as bucket:
        yield Store(Objects(f"s3://{bucket}/{uuid.uuid4().hex}"))


@contextmanager
def frozen(server: OwnMinio, seconds: float) -> Iterator[None]:
    """Nothing is answered for a while, from the start of the block."""
    with back_after(seconds, server.thaw):
        server.freeze()
        yield


@contextmanager
def killed(server: OwnMinio, seconds: float) -> Iterator[None]:
    """Connections are refused for a while, from the start of the block."""
    with back_after(seconds, server.start):
        server.kill()
        yield


@contextmanager
def back_after(seconds: float, come_back: Callable[[], None]) -> Iterator[None]:
    timer = Timer(seconds, come_back)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def everything(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "create": lambda: store.objects.create("new", b"x"),
        "write": lambda: store.objects.write("other", b"x"),
        "upload in parts": lambda: store.objects.write("big", BIG),
        "read": lambda: store.objects.read("old") == BIG,
        "list": lambda: [found.name for found in store.objects.walk("old")],
        "names": lambda: store.objects.names("")[0],
        "delete": lambda: store.objects.delete(["doomed"]),
    }


@pytest.mark.long
@pytest.mark.parametrize("outage", [frozen, killed])
def test_half_a_minute_is_waited_for(server: OwnMinio, store: Store, outage: Callable[..., object]) -> None:
    store.objects.write("old", BIG)
    store.objects.write("doomed", b"x")
    with outage(server, 30), ThreadPoolExecutor(16) as pool:  # type: ignore[attr-defined]
        under_way = {name: pool.submit(work) for name, work in everything(store).items()}
        found = {name: future.result() for name, future in under_way.items()}
    assert found["create"]
    assert found["read"]
    assert store.objects.read("big") == BIG
    assert sorted(stored.name for stored in store.objects.walk()) == ["big", "new", "old", "other"]


@pytest.mark.parametrize("outage", [frozen, killed])
def test_a_version_is_published_once_across_an_outage(
    server: OwnMinio, store: Store, outage: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_READ_TIMEOUT", "700ms")  # so that requests are given up and repeated
    store = Store(Objects(store.objects.root))
    attempts = [store.attempt("data", DAY) for _ in range(3)]
    for number, attempt in enumerate(attempts):
        attempt.put("content.txt", f"{number}".encode())

    def publish(number: int) -> str:
        try:
            return attempts[number].publish(stage_key=f"{number}", code="c").stage_key
        except StorageError as error:
            return type(error).__name__

    with outage(server, 3), ThreadPoolExecutor(3) as pool:  # type: ignore[attr-defined]
        outcomes = list(pool.map(publish, range(3)))
    assert sorted(outcomes)[1:] == ["Overtaken", "Overtaken"]
    manifest = store.manifest("data", DAY, 1)
    assert manifest.stage_key == sorted(outcomes)[0]
    assert store.read(manifest, "content.txt") == manifest.stage_key.encode()
    assert store.versions("data", DAY) == [1]


def test_a_server_that_stays_away_is_an_error(server: OwnMinio, store: Store) -> None:
    hasty = Store(Objects(store.objects.root, patience=1))
    store.objects.write("old", BIG)
    server.kill()
    try:
        with ThreadPoolExecutor(16) as pool:
            asked = {name: pool.submit(work) for name, work in everything(hasty).items()}
        for name, future in asked.items():
            with pytest.raises(StorageError, match=hasty.objects.root) as caught:
                future.result()
            assert caught.value.retryable, name
            assert "reached" in (caught.value.hint or "")
    finally:
        server.start()
