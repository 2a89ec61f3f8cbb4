"""The code archive: this package as one zip, the same bytes whenever and wherever it is built.

Spark ships it to the driver and to every executor, so that all of them run the code that the task was started
with. A stamp inside says which code it is and for which Python.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nightshift.errors import SettingsError
from nightshift.plan import package_version
from nightshift.stamps import CODE_STAMP, python_minor

DATA_SUFFIXES = (".py", ".css", ".html", ".json", ".sh", ".sql", ".sha256")
DATA_NAMES = ("py.typed",)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can say
READABLE = 0o644 << 16


def archive_name(python: str | None = None) -> str:
    """Such as ``nightshift-0123456789abcdef-py3.11.zip``: the code's digest, and the Python that it is for.

    Args:
        python: Such as ``3.11``; by default the one that runs.
    """
    return f"nightshift-{package_version()[:16]}-py{python or python_minor()}.zip"


def archive_bytes(python: str | None = None) -> bytes:
    """The archive. Its root holds ``nightshift/``: put it on ``sys.path``, or give it to ``--py-files``."""
    stamp = {"code_version": package_version(), "python": python or python_minor()}
    contents = {name: file.read_bytes() for name, file in _files(files("nightshift"), "nightshift")}
    contents[f"nightshift/{CODE_STAMP}"] = json.dumps(stamp, sort_keys=True).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = READABLE
            entry.create_system = 3  # permissions as on Unix, whatever this machine is
            entry.compress_type = zipfile.ZIP_STORED  # compressed bytes differ between versions of zlib
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def build(folder: Path, python: str | None = None) -> Path:
    """Write the archive into a folder, under its name.

    Args:
        folder: Made where it is missing.
        python: The Python that it is for; by default the one that runs.

    Raises:
        SettingsError: The folder cannot be written.
    """
    path = folder / archive_name(python)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(archive_bytes(python))
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(
            f"the code archive {path} cannot be written: {error.strerror or error}",
            hint="name another folder, or make this one writable",
        ) from error
    return path


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        name = f"{path}/{child.name}"
        if child.is_dir():
            yield from _files(child, name)
        elif child.name.endswith(DATA_SUFFIXES) or child.name in DATA_NAMES:
            yield name, child
