"""The README's commands, as a new user types them: a fresh clone, an empty home, no Java."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.readme import blocks

pytestmark = [pytest.mark.long, pytest.mark.jvm, pytest.mark.airflow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
# `make test` runs this test, and `make airflow` ends only when somebody ends it: test_airflow_server.py does.
ELSEWHERE = ("make demo", "make test", "make airflow")


class Clone:
    """A clone of what is committed, with an environment that has no Java in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "nightshift"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.root)], check=True)
        (folder / "bin").mkdir()
        for directory in ("/bin", "/usr/bin", "/usr/local/bin"):
            for program in Path(directory).glob("*"):
                link = folder / "bin" / program.name
                if not program.name.startswith("java") and not link.exists():
                    link.symlink_to(program)
        python = folder / "bin" / "python3"
        python.unlink(missing_ok=True)
        python.symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
        kept = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_", "UV_", "HTTP", "http", "LANG", "TMPDIR")
        self.environ = {name: value for name, value in os.environ.items() if name.startswith(kept)}
        self.environ |= {"PATH": str(folder / "bin"), "HOME": str(folder / "home")}
        (folder / "home").mkdir()

    def bash(self, script: str, *, timeout: float) -> str:
        """Output of a script; fails with it when the script does."""
        command = [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script]
        found = subprocess.run(
            command,
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert found.returncode == 0, f"{script}\n{found.stdout}"
        return found.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("fresh")
    yield Clone(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(clone: Clone) -> str:
    return clone.bash("make demo", timeout=1200)


def test_the_demo_retrains_three_nights_without_java(clone: Clone, demo: str) -> None:
    assert all(f"Night 2013-06-{day}" in demo for day in (26, 27, 28)), demo
    assert (clone.root / ".nightshift" / "reports" / "flight_delays" / "2013-06-28.html").is_file()
    assert "make airflow" in demo


def test_its_predict_line_works_when_it_is_pasted(clone: Clone, demo: str) -> None:
    line = next(line for line in demo.splitlines() if "nightshift predict" in line)
    assert "probability" in clone.bash(line, timeout=120)


def test_a_second_demo_repeats_nothing(clone: Clone, demo: str) -> None:
    again = clone.bash("make demo", timeout=600)
    stages = [
        line for line in again.splitlines() if re.search(r"\b(ingest|validate|preprocess|train|evaluate)\b", line)
    ]
    assert len([line for line in stages if "reused" in line or "before" in line]) >= 15, again


def test_every_block_of_the_readme_works(clone: Clone, demo: str) -> None:
    found = blocks(clone.root / "README.md")
    assert len(found["clone"]) >= 4
    assert found["stack"], "they need a Docker engine: tests/stack/test_8_readme.py runs them"
    for block in found["clone"]:
        if block.strip() not in ELSEWHERE:
            clone.bash(block, timeout=600)
