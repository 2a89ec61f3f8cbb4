"""Expanding .gz and .zip in memory, with a limit, so that no archive can fill the machine or write anywhere."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO

from nightshift.errors import SourceError

CHUNK = 1 << 22
MAX_EXPANDED = 4 << 30
"""Most bytes that one file may expand to."""
FREE_EXPANDED = 64 << 20
MAX_RATIO = 200
"""Largest ratio of expanded to stored size, judged from FREE_EXPANDED bytes on; csv text reaches 5 to 30."""

_SYMLINK = 0o120000
_FILE_TYPE = 0o170000


def expand(data: bytes, name: str) -> bytes:
    """The bytes of a file, decompressed if its name ends in .gz or .zip.

    Args:
        data: The stored bytes.
        name: The file's name, for its ending and for messages.

    Raises:
        SourceError: The archive is cut off or damaged, expands beyond the limits, or is a zip file with
            several members, an unsafe member or a password.
    """
    if name.lower().endswith(".gz"):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return _read(stream, stored=len(data), name=name)
    if name.lower().endswith(".zip"):
        return _unzip(data, name)
    return data


def _unzip(data: bytes, name: str) -> bytes:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{name} is not a readable zip file ({len(data):,} bytes): {error}.",
            hint="it is probably cut off; copy it again from where it came from",
        ) from error
    with archive:
        member = _only_member(archive, name)
        try:
            with archive.open(member) as stream:
                return _read(stream, stored=len(data), name=f"{name}!{member.filename}")
        except RuntimeError as error:
            raise SourceError(f"{name}!{member.filename} cannot be read: {error}.") from error


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != 1:
        listed = ", ".join(info.filename for info in members[:5]) or "none"
        raise SourceError(
            f"{name} must hold exactly one file, but holds {len(members)}: "
            f"{listed}{', …' if len(members) > 5 else ''}.",
            hint="put each csv file into a zip file of its own",
        )
    member = members[0]
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = (member.external_attr >> 16) & _FILE_TYPE == _SYMLINK
    if path.is_absolute() or ".." in path.parts or is_link:
        raise SourceError(
            f"{name} holds the unsafe member {member.filename!r}: "
            f"{'a link' if is_link else 'a path that leads outside'}.",
            hint="nothing of it was read; find out who made this archive",
        )
    return member


def _read(stream: IO[bytes] | gzip.GzipFile, *, stored: int, name: str) -> bytes:
    limit = min(MAX_EXPANDED, max(FREE_EXPANDED, stored * MAX_RATIO))
    parts: list[bytes] = []
    size = 0
    try:
        while chunk := stream.read(CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise SourceError(
                    f"{name} expands from {stored:,} bytes to more than {limit:,}; it was not read further.",
                    hint=f"the limits are {MAX_RATIO} times its size and {MAX_EXPANDED >> 30} GiB; split the file",
                )
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        lines = sum(part.count(b"\n") for part in parts)
        raise SourceError(
            f"{name} is cut off or damaged: after {size:,} bytes of text ({lines:,} whole lines): {error}.",
            hint="copy it again from where it came from; nothing of it was used",
        ) from error
    return b"".join(parts)
