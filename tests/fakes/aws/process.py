"""A program that is run below a guard: nothing of it is left, whoever ends it, and whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightshift.jobs import guard

LOOK = 0.1  # seconds between two looks at whether it is to end


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it said."""

    code: int
    output: bytes
    errors: bytes


def run_guarded(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, work: Path, halt: threading.Event
) -> Outcome:
    """Run a program until it ends, or until it is told to.

    Args:
        command: Path and arguments.
        environment: All of its variables.
        folder: Where it runs.
        work: Where its output is kept meanwhile.
        halt: Ends it when set.
    """
    (work / "guarded").mkdir()
    output, errors = work / "stdout", work / "stderr"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(work / "guarded"), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=dict(environment),
            process_group=0,
        )
        code = _wait(process, halt)
    return Outcome(code, output.read_bytes(), errors.read_bytes())


def _wait(process: subprocess.Popen[bytes], halt: threading.Event) -> int:
    while True:
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            if halt.is_set():
                process.send_signal(signal.SIGTERM)
                return process.wait()
