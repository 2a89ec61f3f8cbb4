"""Objects of the double's S3 as files, and files as objects."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

URI = re.compile(r"s3[an]?://([^/]+)/?(.*)")


def is_s3(text: str) -> bool:
    return URI.fullmatch(text) is not None


def split(uri: str) -> tuple[str, str]:
    """Bucket and key.

    Raises:
        ValueError: It is not the URI of anything on S3.
    """
    found = URI.fullmatch(uri)
    if found is None:
        raise ValueError(f"{uri!r} is not s3://bucket/key")
    return found[1], found[2]


def fetch(client: Any, uri: str, folder: Path) -> Path:
    """One object as a file of the same name.

    Raises:
        FileNotFoundError: There is no such object.
    """
    bucket, key = split(uri)
    path = folder / Path(key).name
    try:
        path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (client.exceptions.NoSuchKey, client.exceptions.NoSuchBucket) as error:
        raise FileNotFoundError(f"{uri} does not exist") from error
    return path


class LocalCopies:
    """Copies of what arguments name on S3, for a program that knows files only. What it changed goes back.

    Args:
        client: A client of S3.
        folder: Where the copies are.
    """

    def __init__(self, client: Any, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._were: dict[Path, str] = {}

    def of(self, uri: str) -> Path:
        """The place of a copy: of the object, or of everything below the prefix; it may be nothing yet."""
        bucket, key = split(uri)
        place = self._folder / bucket / key
        place.parent.mkdir(parents=True, exist_ok=True)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        for found in (each["Key"] for page in pages for each in page.get("Contents", [])):
            if found == key or key == "" or found.startswith(key.rstrip("/") + "/"):
                path = self._folder / bucket / found
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._client.get_object(Bucket=bucket, Key=found)["Body"].read())
                self._were[path] = _digest(path)
        return place

    def send_back(self) -> list[str]:
        """Upload every file that is new or has changed; gives their keys."""
        sent = []
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.name.endswith(".crc") and self._were.get(path) != _digest(path):
                bucket, _, key = path.relative_to(self._folder).as_posix().partition("/")
                self._client.upload_file(str(path), bucket, key)
                sent.append(key)
        return sent


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
