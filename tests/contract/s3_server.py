"""As much of S3 as the storage protocol asks for, in this process, and what no good server does on demand.

It can lose answers (the request is carried out, the connection is dropped), fall silent, answer that two asked at
once, and ignore conditions. No signatures are checked.
"""

from __future__ import annotations

import hashlib
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class S3Server(ThreadingHTTPServer):
    """Buckets in memory.

    Attributes:
        lose_answers: How many of the next writes are carried out and not answered.
        stay_silent: How many of the next requests are read, and neither carried out nor answered.
        answer_conflict: How many of the next writes are answered with 409, as S3 does when two ask at once.
        ignore_conditions: Whether ``If-None-Match`` is ignored, as some servers do.
        requests: Every request, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored: dict[str, tuple[bytes, datetime]] = {}
        self.lock = Lock()
        self.requests: list[str] = []
        self.behave()

    def behave(self) -> None:
        """Do everything right from now on, with nothing stored."""
        self.stored.clear()
        self.lose_answers = self.stay_silent = self.answer_conflict = 0
        self.ignore_conditions = False
        self.requests.clear()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing: a test reads ``requests``."""

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _is_silent(self, verb: str) -> bool:
        """Whether this request gets no answer; then until the client has given up."""
        with self.server.lock:
            self.server.requests.append(f"{verb} {self._key()}")
            silent = self.server.stay_silent > 0
            self.server.stay_silent -= silent
        if silent:
            self.close_connection = True
            select.select([self.connection], [], [])
        return silent

    def do_PUT(self) -> None:
        data, server = self._body(), self.server
        if self._is_silent("PUT"):
            return
        with server.lock:
            if server.answer_conflict:
                server.answer_conflict -= 1
                self._error(409, "ConditionalRequestConflict")
                return
            only_new = self.headers.get("If-None-Match") == "*" and not server.ignore_conditions
            if only_new and self._key() in server.stored:
                self._error(412, "PreconditionFailed")
                return
            server.stored[self._key()] = (data, datetime.now(UTC))
            if server.lose_answers:
                server.lose_answers -= 1
                self.close_connection = True
                return
        self._answer(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')

    def do_GET(self) -> None:
        if self._is_silent("GET"):
            return
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        with self.server.lock:
            stored = dict(self.server.stored)
        if "list-type" in query:
            self._list(stored, query)
        elif self._key() in stored:
            data, modified = stored[self._key()]
            etag = f'"{hashlib.md5(data).hexdigest()}"'
            self._answer(200, data, ETag=etag, Last_Modified=format_datetime(modified, usegmt=True))
        else:
            self._error(404, "NoSuchKey")

    def _list(self, stored: dict[str, tuple[bytes, datetime]], query: dict[str, list[str]]) -> None:
        bucket = self._key().rstrip("/") + "/"
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys = sorted(key.removeprefix(bucket) for key in stored if key.startswith(bucket + prefix))
        deeper = [key for key in keys if delimiter and "/" in key[len(prefix) :]]
        folders = sorted({prefix + key[len(prefix) :].split("/")[0] + "/" for key in deeper})
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(stored[bucket + key][0])}</Size><ETag>x</ETag>"
            f"<LastModified>{stored[bucket + key][1]:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            for key in keys
            if key not in deeper
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>"
        self._answer(200, answer.encode(), Content_Type="application/xml")

    def do_POST(self) -> None:
        body = self._body().decode()
        if self._is_silent("POST"):
            return
        keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body)]
        with self.server.lock:
            for key in keys:
                self.server.stored.pop(f"{self._key().rstrip('/')}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode(), Content_Type="application/xml")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server on loopback for the length of a ``with`` block."""
    server = S3Server()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
