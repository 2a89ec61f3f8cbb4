"""The layer over obstore: unknown outcomes, errors that say what to do, URIs that lead back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import S3Store

from nightshift.errors import StorageError
from nightshift.storage import Store, objects
from nightshift.storage.objects import Objects
from nightshift.storage.patience import client_settings

NOBODY = 65534
# What obstore 0.12 says on a full tmpfs.
FULL = """Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)

Debug source:
Generic {"""
BROKEN = "Generic S3 error: Error performing PUT in 1s - HTTP error: connection reset by peer"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Objects(tmp_path.as_uri()))


def break_put(monkeypatch: pytest.MonkeyPatch, *, lands: bool, say: str = BROKEN, instead: bytes | None = None) -> None:
    """The next write raises; it may have landed, or somebody else's may have."""
    put = obstore.put

    def broken(where: Any, name: str, data: bytes, **options: Any) -> Any:
        monkeypatch.setattr(objects.obstore, "put", put)
        if lands:
            put(where, name, data if instead is None else instead, **options)
        raise GenericError(say)

    monkeypatch.setattr(objects.obstore, "put", broken)


# -- unknown outcomes ----------------------------------------------------------------------------------


def test_a_create_whose_answer_was_lost_is_read_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    break_put(monkeypatch, lands=True)
    assert store.objects.create("a", b"mine")
    break_put(monkeypatch, lands=True, instead=b"theirs")
    assert not store.objects.create("b", b"mine")
    break_put(monkeypatch, lands=False)
    with pytest.raises(StorageError, match=r"cannot write .*/c: .*connection reset") as caught:
        store.objects.create("c", b"mine")
    assert caught.value.retryable
    assert store.objects.read_or_none("c") is None


def test_a_repeated_request_that_met_its_own_first_try_is_a_win(store: Store) -> None:
    """Stores retry by themselves: the first try lands, its answer is lost, the second is told "exists"."""
    store.objects.write("a", b"mine")
    assert store.objects.create("a", b"mine")


def test_when_reading_back_fails_too_nobody_claims_to_know(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise GenericError(BROKEN)

    break_put(monkeypatch, lands=True)
    monkeypatch.setattr(objects.obstore, "get", broken)
    with pytest.raises(StorageError, match="it may be there") as caught:
        store.objects.create("a", b"mine")
    assert caught.value.retryable


@pytest.mark.parametrize("lands", [True, False])
def test_publishing_settles_an_unknown_outcome(store: Store, monkeypatch: pytest.MonkeyPatch, lands: bool) -> None:
    attempt = store.attempt("data", "2013-07-14")
    attempt.put("a", b"1")
    break_put(monkeypatch, lands=lands)
    if lands:
        manifest = attempt.publish(stage_key="k", code="c")
        assert store.latest("data", "2013-07-14") == manifest
    else:
        with pytest.raises(StorageError):
            attempt.publish(stage_key="k", code="c")
        assert store.latest("data", "2013-07-14") is None
        assert attempt.publish(stage_key="k", code="c").version == 1, "the same attempt may try again"
    assert store.versions("data", "2013-07-14") == [1]


def test_files_are_on_disk_before_the_manifest_is_and_the_manifest_before_publish_returns(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, put = os.fsync, obstore.put

    def watched_fsync(descriptor: int) -> None:
        happened.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).relative_to(tmp_path)}")
        fsync(descriptor)

    def watched_put(where: Any, name: str, data: bytes, **options: Any) -> Any:
        happened.append(f"put {name}")
        return put(where, name, data, **options)

    monkeypatch.setattr("os.fsync", watched_fsync)
    monkeypatch.setattr(objects.obstore, "put", watched_put)
    attempt = store.attempt("data", "2013-07-14")
    attempt.put("a.txt", b"1")
    attempt.put("b/c.txt", b"2")
    attempt.publish(stage_key="k", code="c")
    folder, manifest = attempt.folder, "data/2013-07-14/v000001.json"
    assert happened == [
        f"put {folder}/a.txt",
        f"put {folder}/b/c.txt",
        f"fsync {folder}/a.txt",
        f"fsync {folder}/b/c.txt",
        f"fsync {folder}",
        f"fsync {folder}/b",
        f"put {manifest}",
        f"fsync {manifest}",
        "fsync data/2013-07-14",
    ]


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [Objects.create, Objects.write])
def test_a_full_disk_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, write: Callable[[Objects, str, bytes], Any]
) -> None:
    break_put(monkeypatch, lands=False, say=FULL)
    with pytest.raises(StorageError, match=r"no space left on the device: cannot write .*a/b") as caught:
        write(store.objects, "a/b", b"x")
    assert "nightshift retention" in (caught.value.hint or "")


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write anywhere: be nobody for a while. Others are somebody already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission_is_named(store: Store, tmp_path: Path) -> None:
    store.objects.write("shut/old", b"x")
    (tmp_path / "shut").chmod(0o500)
    with as_somebody_else(), pytest.raises(StorageError, match=r"cannot write .*shut/new") as caught:
        store.objects.write("shut/new", b"x")
    assert "right to read and write" in (caught.value.hint or "")
    with as_somebody_else(), pytest.raises(StorageError, match="cannot be opened") as caught:
        Objects((tmp_path / "shut" / "root").as_uri())
    assert "right to read and write" in (caught.value.hint or "")
    (tmp_path / "shut").chmod(0o700)


def test_a_store_that_does_not_answer_is_a_storage_error(tmp_path: Path) -> None:
    store = Store(Objects(tmp_path.as_uri(), patience=0))
    store.objects.is_local = False
    store.objects._opened = S3Store(
        "bucket",
        endpoint="http://127.0.0.1:9",
        access_key_id="x",
        secret_access_key="y",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    for call in (
        lambda: store.objects.create("a", b"x"),
        lambda: store.objects.write("a", b"x"),
        lambda: store.objects.read("a"),
        lambda: list(store.objects.walk("a")),
        lambda: store.objects.names("a"),
        lambda: store.objects.delete(["a"]),
        lambda: store.latest("data", "2013-07-14"),
    ):
        with pytest.raises(StorageError) as caught:
            call()  # type: ignore[no-untyped-call]
        assert caught.value.retryable
        assert "credentials" in (caught.value.hint or "") or "try again" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("/tmp/store", "cannot be opened"),
        ("file://tmp/store", "three slashes"),
        ("file:///tmp/a?b", "%3F"),
        ("file:///tmp/%ff", "cannot be opened"),
        ("ftp://host/store", "cannot be opened"),
        ("file:///dev/null/store", "cannot be opened"),
        ("", "cannot be opened"),
    ],
)
def test_roots_that_cannot_be_used_are_named(root: str, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught:
        Objects(root)
    assert caught.value.hint


def test_storage_after_a_fork_is_refused_and_does_not_hang(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.objects.names("")
    monkeypatch.setattr(objects.os, "getpid", lambda: -1)
    with pytest.raises(StorageError, match="forked"):
        store.objects.names("")


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["plain", "a b", "100%", "a%20b", "é日本", "a#b", "what?", "x=y", "[a]"])
def test_uris_lead_back(tmp_path: Path, folder: str) -> None:
    first = Objects((tmp_path / folder).as_uri())
    first.write(f"plan/{folder}/x.json", b"here")
    assert first.local_path(f"plan/{folder}/x.json").read_bytes() == b"here"
    parent, _, name = first.uri(f"plan/{folder}/x.json").rpartition("/")
    assert Objects(parent).read(name) == b"here"
    assert first.spark_path(f"plan/{folder}/x.json") == f"file://{tmp_path}/{folder}/plan/{folder}/x.json"
    assert Objects(f"{first.root}/").root == first.root


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/x y/é[1]", "s3://bucket/x%20y/%C3%A9%5B1%5D"),
        ("s3://bucket/x%20y/a%2520b%23%3F", "s3://bucket/x%20y/a%2520b%23%3F"),
    ],
)
def test_a_root_on_s3_has_one_spelling_and_hadoop_calls_it_s3a(root: str, said: str) -> None:
    objects = Objects(root)
    assert objects.root == said
    assert Objects(said).root == said
    name = "d/attempt=1/a b#%.parquet"
    assert objects.uri(name) == f"{said}/d/attempt=1/a%20b%23%25.parquet"
    assert objects.spark_path(name) == f"s3a://{unquote(said).removeprefix('s3://')}/{name}", "never percent-decoded"
    assert not objects.is_local


@pytest.mark.parametrize("root", ["s3://bucket/a?b", "s3://bucket/a#b"])
def test_a_root_on_s3_that_would_be_cut_off_is_refused(root: str) -> None:
    with pytest.raises(StorageError, match="%3F"):
        Objects(root)


def test_what_the_environment_says_of_the_client_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_READ_TIMEOUT", "1s")
    monkeypatch.setenv("GOOGLE_READ_TIMEOUT", "2s")
    options = client_settings("s3", 5)["client_options"]
    assert (options["allow_http"], options["read_timeout"], options["connect_timeout"]) == ("true", "1s", "5s")
    assert client_settings("gs", 5)["client_options"]["read_timeout"] == "2s"
    assert "allow_http" not in client_settings("gs", 5)["client_options"]


def test_plain_http_is_refused_at_once_and_says_how_to_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    with pytest.raises(StorageError) as caught:
        Objects("s3://bucket/x").create("a", b"1")
    assert "AWS_ALLOW_HTTP=true" in (caught.value.hint or "")


def test_a_root_written_by_hand_is_read_with_goodwill(tmp_path: Path) -> None:
    Objects(f"file://{tmp_path}/my store/./x/").write("a", b"1")
    assert (tmp_path / "my store" / "x" / "a").read_bytes() == b"1"


def test_only_a_local_store_has_local_paths() -> None:
    with pytest.raises(StorageError, match="not on local disk"):
        Objects("memory:///area").local_path("a")


# -- staging leftovers ---------------------------------------------------------------------------------


def test_what_a_killed_writer_left_is_neither_listed_nor_in_the_way(store: Store, tmp_path: Path) -> None:
    store.objects.write("data/x.json", b"1")
    for leftover in ("data/x.json#1", "data/x.json#2", "data/new.json#1"):
        (tmp_path / leftover).write_bytes(b"half")
    assert [found.name for found in store.objects.walk()] == ["data/x.json"]
    assert store.objects.names("data") == ([], ["x.json"])
    assert store.objects.create("data/new.json", b"2")
    store.objects.write("data/x.json", b"3")
    found = [leftover.name for leftover in store.objects.staging_leftovers()]
    assert found == ["data/new.json#1", "data/x.json#1", "data/x.json#2"]
    for name in found:
        store.objects.delete_staging(name)
    assert list(store.objects.staging_leftovers()) == []
    assert store.objects.read("data/x.json") == b"3"
