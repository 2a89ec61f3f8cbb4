from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightshift.stack.terminal import Terminal
from nightshift.stack.variables import OPTIONS, SECRETS


@pytest.fixture(autouse=True)
def _no_variables_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(secret.name for secret in SECRETS), *(option.name for option in OPTIONS), "DOCKER_HOST"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a compose file, and nothing else."""
    (tmp_path / "docker-compose.yaml").write_text("name: nightshift\nservices: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def umask() -> Iterator[None]:
    """Files that are not made private on purpose are readable by everybody."""
    before = os.umask(0o000)
    yield
    os.umask(before)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a shell script called docker on PATH, and nothing else; gives the file it writes its calls to."""
    folder = tmp_path / "programs"
    calls = tmp_path / "calls"

    def put(script: str) -> Path:
        folder.mkdir(exist_ok=True)
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
        return calls

    return put


class Screen:
    """A terminal that remembers."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.terminal = Terminal(self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest.fixture
def screen() -> Screen:
    return Screen()
