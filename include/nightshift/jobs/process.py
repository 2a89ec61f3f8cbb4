"""Starts jobs as processes of this machine, and sees to it that they end with their starter.

A job on a Spark cluster is one too: its driver.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from nightshift import errors
from nightshift.errors import JobError, NightshiftError
from nightshift.jobs import guard
from nightshift.jobs.planning import PublishedPlan
from nightshift.plan import package_version
from nightshift.stage import StageResult
from nightshift.storage import Ref

LineSink = Callable[[str], None]

POLL = 0.2  # seconds between looks at the cancellation and at the own parent
# What Java says before anybody can tell it to be quiet.
NOISE = ("SLF4J: ", "WARNING: Using incubator modules")
PATIENCE = guard.GRACE + 1.5  # seconds for the guard to end a job; Airflow kills its task after 5
LONGEST_LINE = 64 * 1024

_RAISED: dict[str, type[NightshiftError]] = {
    kind.__name__: kind
    for kind in (
        errors.SpecError,
        errors.EngineNotInstalled,
        errors.SettingsError,
        errors.DataError,
        errors.DataNotBlessed,
        errors.NotBlessed,
        errors.SourceError,
        errors.ValidationFailed,
        errors.PrepareError,
        errors.ModelError,
        errors.ParityError,
        errors.InfraCheckFailed,
        errors.StorageError,
        errors.Overtaken,
        errors.IntegrityError,
        errors.JobError,
        errors.StackError,
        errors.NightSkipped,
    )
}
# A job needs none of Airflow's settings, and some of them are secrets.
_KEPT_FROM_JOBS = ("AIRFLOW", "_AIRFLOW", "__AIRFLOW")


@dataclass(frozen=True)
class Job:
    """One stage of one run.

    Attributes:
        stage: Name of the stage.
        plan: The run's published plan.
        upstream: The versions that earlier stages published, by stage.
    """

    stage: str
    plan: PublishedPlan
    upstream: Mapping[str, Ref] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """What follows ``python -m nightshift.jobs``, but for ``--result``."""
        upstream = {stage: asdict(ref) for stage, ref in self.upstream.items()}
        plan = ["--plan", self.plan.uri, "--plan-sha256", self.plan.sha256]
        return [self.stage, *plan, "--upstream", json.dumps(upstream), "--code-version", package_version()]


@dataclass
class Cancellation:
    """A wish to end a job, safe to express in a signal handler: it takes no lock."""

    reason: str | None = None

    def request(self, reason: str) -> None:
        self.reason = self.reason or reason


def run_job(
    job: Job,
    *,
    python: str = sys.executable,
    on_line: LineSink,
    cancellation: Cancellation | None = None,
    watch_parent: bool = False,
    on_cluster: bool = False,
) -> StageResult:
    """Run a job and wait for it.

    Args:
        job: What to run.
        python: The interpreter to run it with.
        on_line: Takes every line of the job's output, as it comes.
        cancellation: Ends the job when requested.
        watch_parent: End the job also when this process loses its own parent. For Airflow's tasks, whose
            parent is the one that may run them; not where a terminal may be closed.
        on_cluster: Submit it to the Spark cluster that the environment names. The process is Spark's driver
            then; with it, the application ends.

    Raises:
        NightshiftError: What the job reported, as the same class.
        JobError: The job died without a report, could not be started, or was cancelled.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-job-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        result = work / "result.json"
        module = "nightshift.jobs.spark_submit" if on_cluster else "nightshift.jobs"
        program = [python, "-P", "-m", module, *job.arguments(), "--result", str(result)]

        def heard(line: str) -> None:
            if not line.startswith(NOISE):
                on_line(line)

        code = run_program(program, work, on_line=heard, cancellation=cancellation, watch_parent=watch_parent)
        if cancellation is not None and cancellation.reason:
            raise JobError(f"the {job.stage} job was ended: {cancellation.reason}.")
        if not result.is_file():
            raise _died(job.stage, code, python)
        return read_result(json.loads(result.read_text()))


def run_program(
    program: list[str],
    work: Path,
    *,
    on_line: LineSink,
    cancellation: Cancellation | None = None,
    watch_parent: bool = False,
) -> int:
    """Run any program under its guard; gives its exit status, 128 + the number for a signal.

    Neither it nor anything it starts is left when this returns or raises, or when this process is killed.
    Must be called in a thread that lives as long as the program.

    Args:
        program: Path and arguments.
        work: An empty folder; ``work/scratch`` is the program's TMPDIR.
        on_line: Takes every line of its stdout and stderr.
        cancellation: Ends the program when requested.
        watch_parent: End the program also when this process loses its own parent.

    Raises:
        JobError: This process lost its parent.
    """
    wish = cancellation or Cancellation()
    parent = os.getppid()
    with _guarded(program, work) as process:
        for line in _lines(process, wish):
            if line is not None:
                on_line(line)
            elif watch_parent and os.getppid() != parent:
                raise JobError("the process that ran this task is gone; its job was ended.")
        if wish.reason:
            on_line(f"ending the job: {wish.reason}")
    return process.returncode


@contextmanager
def _guarded(program: list[str], work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program under its guard; end it, whatever happens inside."""
    (work / "scratch").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(work), *program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(work / "scratch"),
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _environment(scratch: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_FROM_JOBS)}
    folders = {"TMPDIR": str(scratch), "SPARK_LOCAL_DIRS": str(scratch)}
    return {**kept, **folders, "PYTHONUNBUFFERED": "1"}


def _lines(process: subprocess.Popen[bytes], wish: Cancellation) -> Iterator[str | None]:
    """Lines of output until the end, or until the wish to end; None whenever there was none for a while."""
    assert process.stdout is not None
    output = process.stdout.fileno()
    os.set_blocking(output, False)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        looked = time.monotonic()
        while not wish.reason:
            if selector.select(POLL):
                chunk = os.read(output, LONGEST_LINE)
                if not chunk:
                    break
                *complete, rest = (rest + chunk).split(b"\n")
                yield from (_text(line) for line in complete)
                if len(rest) >= LONGEST_LINE:
                    yield _text(rest)
                    rest = b""
            if time.monotonic() - looked >= POLL:
                looked = time.monotonic()
                yield None
                if process.poll() is not None:
                    break
    if rest:
        yield _text(rest)
    if not wish.reason:
        process.wait()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def read_result(raw: Mapping[str, Any]) -> StageResult:
    """What a job left as its result.

    Raises:
        NightshiftError: The error that it ended with, as the same class.
    """
    if "error" not in raw:
        return StageResult.from_dict(raw)
    error = raw["error"]
    raise _RAISED.get(error["type"], JobError)(error["message"], hint=error["hint"])


def _died(stage: str, code: int, python: str) -> JobError:
    if code == guard.CANNOT_START:
        return JobError(
            f"the {stage} job could not be started with {python}.",
            hint="NIGHTSHIFT_PYTHON names the interpreter of jobs; nightshift[job] must be installed there",
        )
    if code > 128:
        name = Signals(code - 128).name
        hint = "the machine may be out of memory: dmesg tells; NIGHTSHIFT_THREADS=1 or a shorter window needs less"
        return JobError(f"the {stage} job was killed by {name}.", hint=hint if name == "SIGKILL" else None)
    return JobError(
        f"the {stage} job ended with exit status {code} and no result.", hint="the lines above are its output"
    )
