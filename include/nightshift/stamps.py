"""What archives say of themselves, and whether they fit the job that runs from them.

Only the standard library, in words that old Pythons know too: under another Python than an archive is for,
nothing else can be imported, and that is what has to be said.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, Optional

from nightshift.errors import SettingsError

CODE_STAMP = "stamp.json"  # in the package, inside the code archive only
DEPENDENCIES_STAMP = "nightshift-dependencies.json"  # beside the packages, in the dependency archive only
PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64"}
SHOWN = 16  # letters of a digest that people compare


def python_minor() -> str:
    """Such as ``3.11``."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def platform_name() -> str:
    """The processor: ``x86_64`` or ``aarch64``, whatever this system calls it."""
    machine = platform.machine().lower()
    return PLATFORMS.get(machine, machine)


def code_stamp() -> Optional[dict[str, Any]]:  # noqa: UP045 (see above)
    """The stamp of the code archive that this code runs from, or None where it is an installed package."""
    found = files("nightshift") / CODE_STAMP
    stamp: Optional[dict[str, Any]] = json.loads(found.read_bytes()) if found.is_file() else None  # noqa: UP045
    return stamp


def dependencies_stamp() -> Optional[dict[str, Any]]:  # noqa: UP045
    """The stamp of the dependency archive that packages are imported from, or None where there is none."""
    for folder in sys.path:
        found = Path(folder) / DEPENDENCIES_STAMP
        if found.is_file():
            stamp: dict[str, Any] = json.loads(found.read_bytes())
            return stamp
    return None


def require_interpreter() -> None:
    """Refuse archives that are for another Python, or for another processor.

    Raises:
        SettingsError: One is; libraries and pickled functions would fail in ways that say nothing.
    """
    for what, stamp in (("code archive", code_stamp()), ("dependency archive", dependencies_stamp())):
        if stamp is None:
            continue
        if stamp["python"] != python_minor():
            raise SettingsError(
                f"the {what} is for Python {stamp['python']}, and this is Python {python_minor()} ({sys.executable}).",
                hint="NIGHTSHIFT_PYTHON (on EMR: PYSPARK_PYTHON) must name the Python that the archive is for, in the "
                f"driver and on every worker; or build it again: nightshift package --python {python_minor()}",
            )
        if stamp.get("platform", platform_name()) != platform_name():
            raise SettingsError(
                f"the {what} is for {stamp['platform']} processors, and this machine has {platform_name()}.",
                hint=f"build it again: nightshift package --platform {platform_name()}; or take other machines",
            )


def require_versions(*, running: str, code: Optional[str], dependencies: Optional[str]) -> None:  # noqa: UP045
    """Refuse to run other code than the job was started with, or on other packages.

    Args:
        running: Digest of the code that runs.
        code: Digest of the code that started the job; None where nobody says.
        dependencies: Digest of the lock that the packages are to be from; None where nobody says.

    Raises:
        SettingsError: They differ; a night that runs on both is nobody's.
    """
    if code is not None and code != running:
        place = "code archive" if code_stamp() is not None else "installed package"
        raise SettingsError(
            f"the DAG's code is {code[:SHOWN]}, and the {place} that the job runs from is {running[:SHOWN]}.",
            hint="install, or package (nightshift package), the DAG's code where jobs run; then clear the task",
        )
    if dependencies is None:
        return
    stamp = dependencies_stamp()
    if stamp is None:
        raise SettingsError(
            f"the job needs the dependency archive with the lock {dependencies[:SHOWN]}, and runs from none.",
            hint=f"PYTHONPATH must name the folder that holds {DEPENDENCIES_STAMP}, which the bootstrap action unpacks",
        )
    if stamp["lock"] != dependencies:
        raise SettingsError(
            f"the job was sent to packages of the lock {dependencies[:SHOWN]}, and the dependency archive that it runs "
            f"from was built from the lock {stamp['lock'][:SHOWN]}.",
            hint="a cluster keeps the packages that it was started with: clear the run's first task, so that it gets "
            "a new one",
        )


def interpreter_fits(argv: list[str]) -> bool:
    """``require_interpreter``, for a program that has imported nothing yet.

    Where it does not fit, that is in the log and in the job's result, as any error of a stage would be.

    Args:
        argv: The job's arguments.
    """
    try:
        require_interpreter()
    except SettingsError as error:
        now = time.strftime("%H:%M:%S", time.gmtime())
        sys.stdout.write(f"{now} ERROR {argv[0] if argv else 'job'}: {error}\n")
        if "--result" in argv[:-1] and "://" not in argv[argv.index("--result") + 1]:
            told = {"type": "SettingsError", "message": error.message, "hint": error.hint, "retryable": error.retryable}
            Path(argv[argv.index("--result") + 1]).write_text(json.dumps({"error": told}))
        return False
    return True
