"""Jobs end with whoever asked for them: real processes, a real Java virtual machine, real kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psutil
import pytest

from nightshift.errors import DataError, IntegrityError, JobError, NightSkipped, SourceError
from nightshift.jobs import Cancellation, Job, PublishedPlan, make_plan, process, publish, run_job
from nightshift.plan import Interval
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec

PATIENCE = 60


def eventually(condition: Callable[[], bool], *, what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not after {seconds} s: {what}"
        threading.Event().wait(0.05)


def program(tmp_path: Path, code: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(code))
    return [sys.executable, str(path)]


def work_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that carry a mark in their environment, whoever their parent is."""
    found = []
    for candidate in psutil.process_iter():
        try:
            if candidate.status() != psutil.STATUS_ZOMBIE and candidate.environ().get("JOB_TEST_MARK") == mark:
                found.append(candidate)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


# -- the ordinary life of a program --------------------------------------------------------------------


def test_lines_come_in_order_and_the_exit_status_is_the_programs(tmp_path: Path) -> None:
    lines: list[str] = []
    code = """
        import sys
        print("one"); print("two", file=sys.stderr); sys.stdout.write("a tail without an end")
        sys.exit(7)
    """
    status = process.run_program(program(tmp_path, code), work_folder(tmp_path), on_line=lines.append)
    assert (status, lines) == (7, ["one", "two", "a tail without an end"])


def test_bytes_that_are_not_utf8_and_endless_lines_do_not_stop_the_log(tmp_path: Path) -> None:
    lines: list[str] = []
    code = r"""
        import sys
        sys.stdout.buffer.write(b"caf\xe9\r\n" + b"x" * 300_000 + b"\nend\n")
    """
    assert process.run_program(program(tmp_path, code), work_folder(tmp_path), on_line=lines.append) == 0
    assert lines[0] == "caf\N{REPLACEMENT CHARACTER}"
    assert "".join(lines[1:-1]) == "x" * 300_000
    assert lines[-1] == "end"


def test_scratch_is_the_programs_temporary_folder_and_is_gone_afterwards(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import os, tempfile; print(tempfile.gettempdir()); open(tempfile.mkstemp()[1], 'w').write('left behind')"
    work = work_folder(tmp_path)
    process.run_program(program(tmp_path, code), work, on_line=lines.append)
    assert lines == [str(work / "scratch")]
    assert list(work.iterdir()) == []


def test_airflows_settings_are_kept_from_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", "http://:secret@hook")
    lines: list[str] = []
    code = "import os; print(sorted(name for name in os.environ if 'AIRFLOW' in name))"
    process.run_program(program(tmp_path, code), work_folder(tmp_path), on_line=lines.append)
    assert lines == ["[]"]


def test_what_the_program_leaves_running_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grandchild in a session of its own, deaf to SIGTERM, with the output still open."""
    monkeypatch.setenv("JOB_TEST_MARK", str(tmp_path))
    lines: list[str] = []
    code = """
        import subprocess, sys
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
        print("done")
    """
    assert process.run_program(program(tmp_path, code), work_folder(tmp_path), on_line=lines.append) == 0
    assert lines == ["done"]
    assert marked(str(tmp_path)) == []


# -- the ends that nobody likes ------------------------------------------------------------------------


DEAF = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_cancelled_program_is_gone_before_airflow_loses_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_TEST_MARK", str(tmp_path))
    wish = Cancellation()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        wish.request("changed my mind")

    began = time.monotonic()
    status = process.run_program(program(tmp_path, DEAF), work_folder(tmp_path), on_line=on_line, cancellation=wish)
    assert time.monotonic() - began < 5
    assert status == 128 + signal.SIGKILL
    assert lines == ["ready", "ending the job: changed my mind"]
    assert marked(str(tmp_path)) == []


def test_an_exception_in_the_starter_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's execution timeout arrives as an exception in the middle of the wait."""
    monkeypatch.setenv("JOB_TEST_MARK", str(tmp_path))

    def on_line(line: str) -> None:
        raise TimeoutError(line)

    with pytest.raises(TimeoutError, match="ready"):
        process.run_program(program(tmp_path, DEAF), work_folder(tmp_path), on_line=on_line)
    assert marked(str(tmp_path)) == []


STARTER = """
    import sys
    from pathlib import Path
    from nightshift.jobs import process
    work = Path(sys.argv[1])
    process.run_program(sys.argv[3:], work, on_line=lambda line: print(line, flush=True), watch_parent=sys.argv[2] == "1")
"""


def start_starter(tmp_path: Path, argv: list[str], *, watch_parent: bool = False) -> list[str]:
    folder = tmp_path / "starter"
    folder.mkdir()
    return [*program(folder, STARTER), str(work_folder(tmp_path)), "1" if watch_parent else "0", *argv]


def wait_for_line(output: Path, text: str) -> None:
    eventually(lambda: text in output.read_text(), what=f"{text} in {output}")


def killed_leaves_nothing(tmp_path: Path, argv: list[str], victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = str(tmp_path)
    monkeypatch.setenv("JOB_TEST_MARK", mark)
    output = tmp_path / "output"
    with output.open("w") as sink:
        starter = subprocess.Popen(start_starter(tmp_path, argv), stdout=sink, stderr=subprocess.STDOUT)
    try:
        wait_for_line(output, "ready")
        guards = [found for found in marked(mark) if any("guard.py" in part for part in found.cmdline())]
        assert len(guards) == 1
        jobs = guards[0].children()
        assert len(jobs) == 1
        {"starter": psutil.Process(starter.pid), "guard": guards[0], "job": jobs[0]}[victim].kill()
        eventually(lambda: marked(mark) == [], what=f"all processes gone after kill -9 of the {victim}", seconds=15)
        if victim == "starter":
            eventually(lambda: not (tmp_path / "work").exists(), what="temporary folder removed", seconds=5)
    finally:
        for left in marked(mark):
            left.kill()
        starter.wait()


@pytest.mark.parametrize("victim", ["starter", "job"])
def test_kill_9_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    killed_leaves_nothing(tmp_path, program(tmp_path, DEAF), victim, monkeypatch)


SPARK = """
    import time
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    rdd = spark.sparkContext.parallelize(range(2), 1)
    assert rdd.map(lambda number: number + 1).sum() == 3
    print("ready", flush=True)
    rdd.map(lambda number: time.sleep(600)).count()
"""


@pytest.mark.jvm
@pytest.mark.parametrize("victim", ["starter", "guard", "job"])
def test_kill_9_leaves_no_java_and_no_python_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    killed_leaves_nothing(tmp_path, program(tmp_path, SPARK), victim, monkeypatch)


def test_the_program_ends_when_its_starter_loses_its_own_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's supervisor can vanish and leave the task behind; nobody would read its result."""
    mark = str(tmp_path)
    monkeypatch.setenv("JOB_TEST_MARK", mark)
    output = tmp_path / "output"
    launcher = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with output.open("w") as sink:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", launcher, *start_starter(tmp_path, program(tmp_path, DEAF), watch_parent=True)],
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_line(output, "ready")
        supervisor.kill()
        supervisor.wait()
        eventually(lambda: marked(mark) == [], what="all processes gone", seconds=15)
        assert "JobError: the process that ran this task is gone" in output.read_text()
    finally:
        for left in marked(mark):
            left.kill()


# -- real jobs -----------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path / "home"), "NIGHTSHIFT_MODELS": str(tmp_path)})


def spec_over(uri: str) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "version": 1,
            "model": "tiny",
            "owner": "tests@example.com",
            "source": {"kind": "files", "uri": uri, "time": "at"},
            "key": ["at"],
            "prepare": "tiny.sql",
            "prepare_sql": "SELECT * FROM source",
            "label": {"column": "late", "positive": "== 1"},
            "features": {"numeric": ["delay"]},
            "window": {"train": "1d", "holdout": "2d"},
            "training": {"engine": "xgboost"},
            "gates": {"minimum": 0.5, "versus_champion": {"least": {"days": 2}}},
        }
    )


def plan_over(uri: str, settings: Settings) -> PublishedPlan:
    night = Interval.of_day(date(2024, 5, 4))
    return publish(make_plan(spec_over(uri), night, settings, run_id="r1", trigger="cli"))


def test_a_job_that_reports_an_error_raises_the_same_error_here(tmp_path: Path, settings: Settings) -> None:
    lines: list[str] = []
    job = Job("ingest", plan_over(str(tmp_path / "nothing" / "%Y-%m-%d.csv"), settings))
    with pytest.raises(SourceError) as caught:
        run_job(job, on_line=lines.append)
    assert isinstance(caught.value, DataError)
    assert caught.value.retryable is False
    assert "nothing" in caught.value.message
    assert any(" INFO ingest: night 2024-05-05 of tiny" in line for line in lines)
    assert any(" ERROR ingest: " in line for line in lines)


def test_a_plan_with_other_bytes_is_refused(settings: Settings) -> None:
    plan = plan_over("/nowhere/%Y-%m-%d.csv", settings)
    with pytest.raises(IntegrityError, match="digest"):
        run_job(Job("ingest", PublishedPlan(plan.uri, "0" * 64)), on_line=print)


def test_an_interpreter_that_does_not_exist_is_named(settings: Settings) -> None:
    with pytest.raises(JobError, match="/no/python") as caught:
        run_job(Job("ingest", plan_over("/nowhere/%Y-%m-%d.csv", settings)), python="/no/python", on_line=print)
    assert "NIGHTSHIFT_PYTHON" in str(caught.value)


def test_a_job_that_dies_says_by_what(tmp_path: Path, settings: Settings) -> None:
    """An interpreter that kills itself stands for the kernel's out-of-memory killer."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    with pytest.raises(JobError, match="the ingest job was killed by SIGKILL") as caught:
        run_job(Job("ingest", plan_over("/nowhere/%Y-%m-%d.csv", settings)), python=str(python), on_line=print)
    assert caught.value.retryable is True
    assert "memory" in str(caught.value)


def test_a_cancelled_job_says_so(settings: Settings) -> None:
    wish = Cancellation()
    wish.request("not needed any more")
    with pytest.raises(JobError, match="not needed any more"):
        run_job(Job("ingest", plan_over("/nowhere/%Y-%m-%d.csv", settings)), on_line=print, cancellation=wish)


def test_the_skipped_night_is_no_job_error() -> None:
    raw = {"error": {"type": "NightSkipped", "message": "no data", "hint": None, "retryable": False}}
    with pytest.raises(NightSkipped, match="no data"):
        process.read_result(raw)


def test_no_job_is_left_by_this_file() -> None:
    assert [found for found in psutil.Process(os.getpid()).children() if "guard.py" in " ".join(found.cmdline())] == []
