"""A lock of packages that are made here, so that archives can be built by the real uv, quickly and without a network."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

TEXT = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"


def write_wheel(folder: Path, name: str, *, tag: str = "py3-none-any", version: str = "1.0") -> str:
    """A package with one module, a program, and data that is executable; gives its line of a lock."""
    metadata = f"{name}-{version}.dist-info"
    contents = {
        f"{name}/__init__.py": f"def main() -> None:\n    print({name!r})\n",
        f"{name}/é, data.txt": "a name with a comma\n",
        f"{metadata}/METADATA": TEXT.format(name=name, version=version),
        f"{metadata}/WHEEL": WHEEL.format(tag=tag),
        f"{metadata}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in contents.items():
            archive.writestr(inside, text)
        record = "".join(f'"{inside}",,\n' if "," in inside else f"{inside},,\n" for inside in contents)
        archive.writestr(f"{metadata}/RECORD", f"{record}{metadata}/RECORD,,\n")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def small_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock with two packages and with what a cluster has itself, which is nowhere to be had."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    linux = "cp311-cp311-manylinux_2_28_x86_64"
    lines = [
        write_wheel(wheels, "anywhere"),
        write_wheel(wheels, "compiled", tag=linux),
        f"pyspark==4.1.4 ; python_version >= '3.11' \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n",
    ]
    lock = folder / "requirements-job.txt"
    lock.write_text("".join(sorted(lines)))
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return lock
