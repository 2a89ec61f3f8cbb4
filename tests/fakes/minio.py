"""A real MinIO for tests: the one that the environment names, else a program of this machine, started on loopback.

``NIGHTSHIFT_TEST_S3=http://127.0.0.1:9000``, with ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, names a server that
is running. ``NIGHTSHIFT_TEST_MINIO`` names the program, where it is not on the PATH as ``minio``. Tests share a
server and never a bucket.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 30


def running_server() -> str | None:
    """The server that the environment names."""
    return os.environ.get("NIGHTSHIFT_TEST_S3") or None


def program() -> str | None:
    """The program on this machine."""
    return os.environ.get("NIGHTSHIFT_TEST_MINIO") or shutil.which("minio")


def whereabouts() -> str:
    """Which MinIO the storage contract runs on, in one line."""
    if running_server() is None and program() is None:
        return "storage contract: MinIO is not here, runs in make test-stack"
    where = running_server() or f"started from {program()}"
    own = "" if program() else "; there is no program here to stop and kill, so its outages are not tried"
    return f"storage contract: MinIO {where}{own}"


class Minio:
    """A server, where it is, and who may use it."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str) -> None:
        self.endpoint = endpoint
        self.access_key = access_key
        self.secret_key = secret_key

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it: the standard names."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self) -> Any:
        """A client of boto3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )

    @contextmanager
    def bucket(self, *, versioned: bool = False) -> Iterator[str]:
        """A new bucket, gone afterwards with all that is in it."""
        name, client = f"nightshift-test-{uuid.uuid4().hex}", self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        try:
            yield name
        finally:
            for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
                client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
            pages = list(client.get_paginator("list_object_versions").paginate(Bucket=name))
            for page in pages:
                every = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                stored = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in every]
                if stored:
                    client.delete_objects(Bucket=name, Delete={"Objects": stored})
            client.delete_bucket(Bucket=name)
            client.close()


class OwnMinio(Minio):
    """A server that was started here, and that may be stopped, frozen and killed."""

    def __init__(self, folder: Path) -> None:
        found = program()
        assert found is not None, "there is no minio program here"
        self._program = found
        self._folder = folder
        self._ports = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(
            f"http://127.0.0.1:{self._ports[0]}", f"test-{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        )

    def start(self) -> None:
        """Start it, again if it was killed, and wait until it answers."""
        server, console = self._ports
        addresses = ["--address", f"127.0.0.1:{server}", "--console-address", f"127.0.0.1:{console}"]
        log = self._folder / "minio.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "server", "--quiet", *addresses, str(self._folder / "data")],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self._folder),
                    "MINIO_ROOT_USER": self.access_key,
                    "MINIO_ROOT_PASSWORD": self.secret_key,
                    "MINIO_UPDATE": "off",
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.endpoint}/minio/health/ready", timeout=1, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def freeze(self) -> None:
        """Connections are taken and nothing is answered."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Connections are refused."""
        self._running.kill()
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def own_minio() -> Iterator[OwnMinio]:
    """A server for one test alone."""
    folder = Path(tempfile.mkdtemp(prefix="nightshift-minio-"))
    server = OwnMinio(folder)
    try:
        server.start()
        yield server
    finally:
        if server._process is not None:
            server.kill()
        shutil.rmtree(folder)


@contextmanager
def minio() -> Iterator[Minio]:
    """The server that the environment names, else one that is started."""
    endpoint = running_server()
    if endpoint is None:
        with own_minio() as server:
            yield server
        return
    yield Minio(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
