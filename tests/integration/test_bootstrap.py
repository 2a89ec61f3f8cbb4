"""The bootstrap action, run for real by bash: an archive comes from S3 (moto), by a program ``aws``."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.fakes.aws_command import write_aws
from tests.fakes.minio import Minio
from tests.fakes.moto import moto
from tests.fakes.small_lock import small_lock

from nightshift.jobs.release import build_release, upload_release
from nightshift.stamps import DEPENDENCIES_STAMP


@pytest.fixture(scope="module")
def server() -> Iterator[Minio]:
    with moto() as running:
        yield running


class Node:
    """A machine of a cluster, as far as the script knows: an archive in S3, ``aws``, a folder to write to."""

    def __init__(self, root: Path, prefix: str, description: Mapping[str, str], archive: str) -> None:
        self.root = root
        self.lock = description["lock"]
        self.archive = f"{prefix}/{archive}"
        self.sha256 = description["sha256"]
        self.folder = root / "mnt" / "nightshift" / self.sha256[:16]
        self.scratch = root / "mnt" / "tmp"
        self.script = root / "script.sh"
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        path = os.pathsep.join([str(write_aws(root / "bin").parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "TMPDIR": str(self.temporary)}

    def arguments(self) -> list[str]:
        return [self.archive, self.sha256, str(self.folder), str(self.scratch)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.script), *(arguments or self.arguments())],
            env=self.environment, capture_output=True, text=True, check=False, umask=0o077,
        )  # fmt: skip

    def refuses(self, *arguments: str) -> str:
        """What it says; nothing may be left of it."""
        done = self.run(*arguments)
        assert done.returncode == 1, done
        last = done.stderr.splitlines()[-1]
        assert last.startswith("nightshift bootstrap: ")
        assert not self.folder.exists()
        assert [path for place in (self.temporary, self.scratch) for path in place.glob("*")] == []
        assert [path.name for path in (self.root / "mnt" / "nightshift").glob(".*")] == []
        return last


@pytest.fixture
def node(server: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A release in S3, and a machine that has fetched the bootstrap script from there, as EMR does."""
    lock = small_lock(tmp_path, monkeypatch)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    release = build_release(lock, tmp_path / "dist", python="3.11", platform="x86_64")
    with server.bucket() as bucket:
        assert len(upload_release(release, f"s3://{bucket}/some/prefix")) == 5
        assert upload_release(release, f"s3://{bucket}/some/prefix") == []
        client, folder = server.client(), "some/prefix"
        described = client.get_object(Bucket=bucket, Key=f"{folder}/{release.description.name}")["Body"].read()
        node = Node(tmp_path, f"s3://{bucket}/{folder}", json.loads(described), release.dependencies.name)
        client.download_file(bucket, f"{folder}/{json.loads(described)['bootstrap']}", str(node.script))
        client.close()
        yield node


def test_the_packages_are_there_for_everybody(node: Node) -> None:
    done = node.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((node.folder / DEPENDENCIES_STAMP).read_text())["lock"] == node.lock
    assert (node.folder / "anywhere" / "__init__.py").is_file()
    for path in [node.folder, node.folder.parent, *node.folder.rglob("*")]:
        assert path.stat().st_mode & 0o055 == (0o055 if path.is_dir() else 0o044), path
    assert list(node.temporary.iterdir()) == []
    assert (node.scratch.stat().st_mode & 0o7777, list(node.scratch.iterdir())) == (0o1777, [])


def test_again_does_nothing(node: Node) -> None:
    node.run()
    before = (node.folder / DEPENDENCIES_STAMP).stat()
    (node.root / "bin" / "aws").write_text("#!/bin/sh\nexit 1\n")
    done = node.run()
    assert (done.returncode, "already" in done.stdout) == (0, True)
    assert (node.folder / DEPENDENCIES_STAMP).stat() == before


def test_a_scratch_folder_that_is_there_stays_as_it_is(node: Node) -> None:
    node.scratch.mkdir(parents=True)
    node.scratch.chmod(0o750)
    (node.scratch / "another's").write_text("")
    assert node.run().returncode == 0
    assert node.scratch.stat().st_mode & 0o7777 == 0o750
    assert [path.name for path in node.scratch.iterdir()] == ["another's"]


def test_a_folder_that_was_not_finished_is_replaced(node: Node) -> None:
    (node.folder / "anywhere").mkdir(parents=True)
    (node.folder / "anywhere" / "half.py").write_text("")
    assert node.run().returncode == 0
    assert not (node.folder / "anywhere" / "half.py").exists()
    assert (node.folder / DEPENDENCIES_STAMP).is_file()


def test_other_bytes_than_were_packaged_are_refused(node: Node) -> None:
    uri, sha256, *folders = node.arguments()
    other = "0" * 64
    said = node.refuses(uri, other, *folders)
    assert f"has the sha256 {sha256}, and {other} was asked for" in said


def test_an_archive_that_is_not_there_is_named(node: Node) -> None:
    uri, *others = node.arguments()
    said = node.refuses(f"{uri}.gone", *others)
    assert f"cannot download {uri}.gone: fatal error:" in said
    assert "404" in said
    assert "instance profile" in said


def test_an_archive_that_cannot_be_unpacked(node: Node, server: Minio) -> None:
    bucket, _, key = node.archive.removeprefix("s3://").partition("/")
    server.client().put_object(Bucket=bucket, Key=f"{key}.broken", Body=b"no archive")
    digest = hashlib.sha256(b"no archive").hexdigest()
    assert "cannot unpack" in node.refuses(f"{node.archive}.broken", digest, *node.arguments()[2:])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, "/local/file", "is not an s3:// URI"),
        (1, "ABC", "is not a sha256"),
        (2, "relative/folder", "is not an absolute path"),
        (2, "/opt", "is not an absolute path below"),
        (2, "/opt/../etc", "is not an absolute path below"),
        (3, "/tmp", "is not an absolute path below"),
    ],
)
def test_arguments_that_make_no_sense(place: int, value: str, said: str, node: Node) -> None:
    arguments = node.arguments()
    arguments[place] = value
    assert said in node.refuses(*arguments)


def test_too_few_arguments(node: Node) -> None:
    assert "needs ARCHIVE SHA256 FOLDER SCRATCH, and got 1 arguments" in node.refuses("s3://a/b")
