"""The packages of jobs by name and version: those that this code was locked with, and those that an archive has.

``pins.json`` beside this module is the lock ``requirements-job.txt`` without its hashes, so that code can tell without
the project's folder whether an archive fits it. ``make lock`` writes both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

FILE = "pins.json"
PROVIDED = ("pyspark", "py4j")  # by Spark on the cluster, in its own version
SHOWN = 5


def requirements(lock: str) -> list[str]:
    """The lines of a lock that name a package, such as ``numpy==2.4.6 ; python_full_version < '3.12'``."""
    return [line.removesuffix("\\").strip() for line in lock.splitlines() if line[:1].isalnum()]


def shipped() -> list[str]:
    """The same of the lock that belongs to this code."""
    lines: list[str] = json.loads(files("nightshift").joinpath("jobs", FILE).read_bytes())
    return lines


def ship(lock: Path) -> None:
    """Write ``pins.json`` anew, after the lock has changed."""
    text = json.dumps(requirements(lock.read_text()), indent=0) + "\n"
    Path(__file__).with_name(FILE).write_text(text)


def pinned(lines: Iterable[str], *, python: str, platform: str) -> dict[str, str]:
    """Versions by package on a cluster's machines, without what the cluster has itself.

    Args:
        lines: As ``requirements`` gives them.
        python: Such as ``3.11``.
        platform: The processor, such as ``x86_64``.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    machine = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": platform,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.99",
        "python_version": python,
        "sys_platform": "linux",
    }
    found = {}
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            found[str(canonicalize_name(requirement.name))] = str(requirement.specifier).removeprefix("==")
    return {name: version for name, version in sorted(found.items()) if name not in PROVIDED}


def differences(there: Mapping[str, str], *, python: str, platform: str) -> str | None:
    """What packages lack of those that this code was locked with, in words; None if nothing. More may be there.

    Args:
        there: Versions by package.
        python: The Python that they are for.
        platform: The processor that they are for.
    """
    wanted = pinned(shipped(), python=python, platform=platform)
    other = [name for name, version in wanted.items() if there.get(name) != version]
    told = [f"{name} {there.get(name, 'is missing')} (locked: {wanted[name]})" for name in other[:SHOWN]]
    more = [f"{len(other) - SHOWN} more"] if len(other) > SHOWN else []
    return ", ".join([*told, *more]) or None
