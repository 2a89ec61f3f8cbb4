"""What only a real object store can show: many writers at once, uploads in parts, pages, odd names of Spark's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from tests.fakes.minio import Minio
from tests.integration import storage_child

from nightshift.errors import Overtaken
from nightshift.storage import Store, apply_retention, require_conditional_create
from nightshift.storage.objects import Objects
from nightshift.storage.s3_leftovers import S3Leftovers, remove_s3_leftovers

CHILD = Path(storage_child.__file__)
DAY = "2013-07-14"


@pytest.fixture
def store(minio_root: str) -> Store:
    return Store(Objects(minio_root))


def test_of_many_threads_that_create_one_name_exactly_one_wins(store: Store) -> None:
    writers, rounds = 8, 150
    start = Barrier(writers)

    def race(writer: int) -> list[int]:
        won = []
        for number in range(rounds):
            start.wait()
            if store.objects.create(f"race/{number:03d}", f"{writer}".encode()):
                won.append(number)
        return won

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(race, range(writers)))
    assert sorted(number for numbers in won for number in numbers) == list(range(rounds)), "one winner each"
    for writer, numbers in enumerate(won):
        assert all(store.objects.read(f"race/{number:03d}") == f"{writer}".encode() for number in numbers)


def test_of_many_threads_that_publish_one_version_exactly_one_wins(store: Store) -> None:
    writers, rounds = 6, 25
    start = Barrier(writers)

    def race(writer: int) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        for number in range(rounds):
            attempt = store.attempt("race", DAY)
            attempt.put("who.txt", f"{writer} {number}".encode())
            start.wait()
            try:
                published = attempt.publish(stage_key=f"{writer} {number}", code="c")
                assert store.read(published, "who.txt") == f"{writer} {number}".encode()
                outcomes["won"] += 1
            except Overtaken:
                outcomes["overtaken"] += 1
            start.wait()
        return outcomes

    with ThreadPoolExecutor(writers) as pool:
        outcomes = sum(pool.map(race, range(writers)), Counter[str]())
    assert outcomes == {"won": rounds, "overtaken": rounds * (writers - 1)}
    assert store.versions("race", DAY) == list(range(1, rounds + 1))


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def test_of_many_processes_that_publish_one_version_exactly_one_wins(
    store: Store, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    rounds, names = 40, ("a", "b", "c")
    for name in names:
        words = ["race", store.objects.root, str(tmp_path / "meeting"), name, str(len(names)), str(rounds)]
        children.append(
            subprocess.Popen(
                [sys.executable, str(CHILD), *words],
                env=dict(os.environ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outcomes: Counter[str] = Counter()
    winners: dict[int, str] = {}
    for name, child in zip(names, children, strict=True):
        output, errors = child.communicate()
        assert errors == ""
        for line in output.splitlines():
            number, outcome = line.split()
            outcomes[outcome] += 1
            if outcome == "won":
                assert winners.setdefault(int(number), name) == name, "two winners"
    assert outcomes == {"won": rounds, "Overtaken": rounds * (len(names) - 1)}
    for number, name in winners.items():
        assert store.read(store.manifest("race", DAY, number + 1), "who.txt") == name.encode()


def test_creating_a_big_object_is_conditional_too(store: Store) -> None:
    """Above 5 MiB obstore uploads in parts, where a condition could be lost."""
    big = b"1" * 12_000_000
    assert store.objects.create("big", big)
    assert not store.objects.create("big", b"2" * len(big))
    assert not store.objects.create("big", b"small")
    assert store.objects.read("big") == big


def test_more_objects_than_the_largest_page_holds(store: Store) -> None:
    names = [f"many/{number:04d}" for number in range(1_050)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.objects.write(name, b"x"), names))
    assert [found.name for found in store.objects.walk("many")] == names
    assert len(store.objects.names("many")[1]) == len(names)
    store.objects.delete_folder("many")
    assert list(store.objects.walk()) == []


def test_the_full_probe_finds_nothing_wrong_and_leaves_nothing(store: Store) -> None:
    require_conditional_create(store.objects)
    assert list(store.objects.walk()) == []


def test_many_readers_take_in_what_spark_wrote(store: Store) -> None:
    """The same digest as on local disk, in whatever order the files come."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nightshift.storage.digest import table_digest

    table = pa.table({"place": range(30_000), "text": [f"row {number % 97}" for number in range(30_000)]})
    attempt = store.attempt("preprocess", DAY)
    for number in range(30):
        sink = pa.BufferOutputStream()
        pq.write_table(table.slice(number * 1000, 1000), sink)
        store.objects.write(f"{attempt.folder}/train/part-{number:05d}.parquet", sink.getvalue().to_pybytes())
    output = attempt.adopt_spark_output("train")
    assert (output.rows, output.digest) == (30_000, table_digest(table))
    manifest = attempt.publish(stage_key="k", code="c")
    assert len(manifest.files) == 30
    assert store.read_table(manifest, "train").equals(table)


def test_parts_of_old_uploads_and_folder_markers_go(store: Store, minio_server: Minio) -> None:
    """MinIO lists uploads in its own way: none below a prefix."""
    bucket, _, prefix = store.objects.root.removeprefix("s3://").partition("/")
    client = minio_server.client()
    for key in (f"{prefix}/a b#/x.bin", f"{prefix} beside/x.bin"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 700)
    client.put_object(Bucket=bucket, Key=f"{prefix}/train/")
    store.objects.write("train/part", b"1")

    now = datetime.now(UTC)
    assert remove_s3_leftovers(store.objects.root, before=now - timedelta(hours=24)) == S3Leftovers()
    soon = now + timedelta(minutes=1)
    found = remove_s3_leftovers(store.objects.root, before=soon)
    assert found == S3Leftovers((f"{prefix}/a b#/x.bin",), 700, 1)
    assert [found.name for found in store.objects.walk()] == ["train/part"]
    (left,) = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert left["Key"] == f"{prefix} beside/x.bin"
    client.abort_multipart_upload(Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"])
    client.close()


def test_retention_does_not_stumble_over_a_folder_marker(store: Store, minio_server: Minio) -> None:
    """Hadoop leaves one below each table; obstore lists it, and cannot delete it."""
    bucket, _, prefix = store.objects.root.removeprefix("s3://").partition("/")
    attempt = store.attempt("data", DAY)
    attempt.put("train/part", b"1")
    client = minio_server.client()
    client.put_object(Bucket=bucket, Key=f"{prefix}/{attempt.folder}/train/")
    client.close()
    reports = [
        apply_retention(
            store,
            keep_versions=1,
            keep_days=90,
            garbage_hours=24,
            protected=(),
            now=datetime.now(UTC) + timedelta(hours=48),
            dry_run=False,
        )
        for _ in range(2)
    ]
    assert [len(report.attempts) for report in reports] == [1, 0]
    assert remove_s3_leftovers(store.objects.root, before=datetime.now(UTC) + timedelta(minutes=1)).markers == 1
    assert [found.name for found in store.objects.walk()] == [f"data/{DAY}/v000001.json"], "fenced"
