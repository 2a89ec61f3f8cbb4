"""Moto's S3 on loopback. Its conditional create is not atomic: good for one request after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer
from tests.fakes.minio import Minio


@contextmanager
def moto() -> Iterator[Minio]:
    """A server of its own, gone with the block."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Minio(f"http://{host}:{port}", "moto", "moto")
    server.stop()
    assert server._server is not None
    server._server.server_close()
