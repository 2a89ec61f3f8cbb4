"""The code archive: this package as one zip, the same bytes whenever and wherever it is built.

Spark ships it to the driver and to every executor, so that all of them run the code that the task was started
with. A stamp inside says which code it is and for which Python.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from nightshift.errors import JobError, SettingsError
from nightshift.plan import package_version

STAMP = "stamp.json"
DATA_SUFFIXES = (".py", ".css", ".html", ".sql", ".sha256")
DATA_NAMES = ("py.typed",)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can say
READABLE = 0o644 << 16


def archive_name() -> str:
    """Such as ``nightshift-0123456789abcdef-py3.11.zip``: the code's digest, and the Python that it is for."""
    return f"nightshift-{package_version()[:16]}-py{python_minor()}.zip"


def python_minor() -> str:
    """Such as ``3.11``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def archive_bytes() -> bytes:
    """The archive. Its root holds ``nightshift/``: put it on ``sys.path``, or give it to ``--py-files``."""
    stamp = {"code_version": package_version(), "python": python_minor()}
    contents = {name: file.read_bytes() for name, file in _files(files("nightshift"), "nightshift")}
    contents[f"nightshift/{STAMP}"] = json.dumps(stamp, sort_keys=True).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = READABLE
            entry.create_system = 3  # permissions as on Unix, whatever this machine is
            entry.compress_type = zipfile.ZIP_STORED  # compressed bytes differ between versions of zlib
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def build(folder: Path) -> Path:
    """Write the archive into a folder, under its name.

    Raises:
        SettingsError: The folder cannot be written.
    """
    path = folder / archive_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(archive_bytes())
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(
            f"the code archive {path} cannot be written: {error.strerror or error}",
            hint="name another folder, or make this one writable",
        ) from error
    return path


def running_stamp() -> dict[str, Any] | None:
    """The stamp of the archive that this code runs from, or None where it is an installed package."""
    found = files("nightshift") / STAMP
    stamp: dict[str, Any] | None = json.loads(found.read_bytes()) if found.is_file() else None
    return stamp


def check_stamp() -> None:
    """Refuse an archive that was built for another Python.

    Raises:
        JobError: It was; libraries and pickled functions would fail in ways that say nothing.
    """
    stamp = running_stamp()
    if stamp is not None and stamp["python"] != python_minor():
        raise JobError(
            f"the code archive was built by Python {stamp['python']}, and this is Python {python_minor()} "
            f"({sys.executable}).",
            hint="NIGHTSHIFT_PYTHON must name the same Python where the archive is built, in the driver, and on "
            "every worker",
        )


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        name = f"{path}/{child.name}"
        if child.is_dir():
            yield from _files(child, name)
        elif child.name.endswith(DATA_SUFFIXES) or child.name in DATA_NAMES:
            yield name, child
