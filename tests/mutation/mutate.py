"""Break the gates in a thousand small ways, and see whether a unit test notices: ``make mutation``.

    python tests/mutation/mutate.py [MUTANT…]

mutmut does it; ``[tool.mutmut]`` in pyproject.toml says which modules and which tests. It wants the code below a folder
``src``, so it works in ``.mutation``, beside copies of everything. MUTANT is a name or pattern, such as
``nightshift.model.parity*``; all by default. Prints what came of each module, and every change that no test noticed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".mutation"
LINKS = {"src": "include", "plugins": "plugins", "dags": "dags", "tests": "tests", "pyproject.toml": "pyproject.toml"}
MUTMUT = Path(sys.executable).with_name("mutmut")
# All of the modules but, in infra.py, what carries the verdict around: whole stages test that.
EVERYTHING = (
    "nightshift.evaluate.*",
    "nightshift.ledger.*",
    "nightshift.model.*",
    "nightshift.preprocess.*",
    "nightshift.shift.*",
    *(f"nightshift.deploy.infra.x_{name}__mutmut*" for name in ("_checks", "_speed", "require_speed")),
)
# By the exit status of a mutant's tests.
OUTCOMES = {0: "survived", 1: "killed", 3: "killed", 33: "untested", 36: "timeout", -24: "timeout", 24: "timeout"}
COLUMNS = ("killed", "timeout", "survived", "untested", "other")


def prepare() -> dict[str, str]:
    """An empty workplace; gives the environment to work in."""
    shutil.rmtree(PLACE, ignore_errors=True)
    copies = PLACE / "mutants"
    # Python forgets about folders of its path that are not there when it starts.
    for folder in (copies / "src", copies / "plugins", PLACE / "tmp"):
        folder.mkdir(parents=True)
    for name, target in LINKS.items():
        (PLACE / name).symlink_to(ROOT / target)
    path = os.pathsep.join(str(copies / name) for name in ("src", "plugins"))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": path, "TMPDIR": str(PLACE / "tmp")}


def outcomes() -> dict[str, dict[str, str]]:
    """What came of every mutant, by module and name."""
    found = {}
    for path in sorted((PLACE / "mutants" / "src").rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        told = {name: OUTCOMES.get(code, "other") for name, code in codes.items() if code is not None}
        if told:
            found[str(path.relative_to(PLACE / "mutants" / "src")).removesuffix(".meta")] = told
    return found


def show(found: dict[str, dict[str, str]], environment: dict[str, str]) -> None:
    """The diffs of the survivors, and a table."""
    for told in found.values():
        for name in [name for name, outcome in told.items() if outcome == "survived"]:
            diff = subprocess.run(
                [MUTMUT, "show", name], cwd=PLACE, env=environment, capture_output=True, text=True, check=False
            ).stdout
            print(
                "\n".join(
                    [name, *(line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---"))]
                )
            )
    print(f"\n| module | mutants | {' | '.join(COLUMNS)} | noticed |\n|{' --- |' * (len(COLUMNS) + 3)}")
    every: Counter[str] = Counter()
    for module, told in found.items():
        counted = Counter(told.values())
        every += counted
        print(row(module, counted))
    print(row("all", every))


def row(title: str, counted: Counter[str]) -> str:
    noticed = counted["killed"] + counted["timeout"]
    numbers = " | ".join(str(counted[name]) for name in COLUMNS)
    return f"| {title} | {counted.total()} | {numbers} | {100 * noticed / max(counted.total(), 1):.0f} % |"


def main() -> int:
    environment = prepare()
    done = subprocess.run([MUTMUT, "run", *(sys.argv[1:] or EVERYTHING)], cwd=PLACE, env=environment, check=False)
    show(outcomes(), environment)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
