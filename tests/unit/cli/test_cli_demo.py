from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight
from tests.unit.cli.conftest import Call

from nightshift.cli import demo as demo_module
from nightshift.cli import environment
from nightshift.cli.demo import predict_command, started
from nightshift.plan import STAGES
from nightshift.settings import Settings

LINE = "2026-11-20T09:54:44.509922Z [info     ] {} [nightshift_airflow.compute.local] loc=local.py:57"


@pytest.fixture
def airflow(site: Path, nights_: list[PublishedNight], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says what ``airflow dags test`` says, and a checkout that is set up; gives its folder."""
    settings = Settings.from_environment()
    path = environment.env_sh_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.env_sh(settings, java_home=None))
    scripts = site / "scripts"
    scripts.mkdir()
    monkeypatch.setattr(demo_module, "scripts_folder", lambda: scripts)
    say(scripts, *night_lines("2013-06-25"))
    return scripts


def say(scripts: Path, *lines: str, code: int = 0) -> None:
    program = scripts / "airflow"
    text = "".join(f"echo {shlex.quote(line)}\n" for line in lines)
    program.write_text(f'#!/bin/sh\necho "$@" >> {scripts}/called\n{text}exit {code}\n')
    program.chmod(0o755)


def night_lines(interval: str, *, reused: bool = False, until: str = "deploy") -> list[str]:
    lines = [
        "2026-11-20T09:54:38.9Z [info     ] Filling up the DagBag from /x [airflow.dag_processing.dagbag] loc=dagbag.py:460"
    ]
    for stage in STAGES[: STAGES.index(until) + 1]:
        lines.append(
            f"2026-11-20T09:54:39.0Z [info     ] [DAG TEST] starting task_id={stage} map_index=-1 [airflow.sdk] loc=dag.py:1501"
        )
        lines.append(LINE.format(f"{stage}: night 2013-06-26 of flight_delays"))
        told = (
            f"succeeded, as published before: {stage}/{interval}@1" if reused else f"succeeded ({stage}/{interval}@1)"
        )
        lines.append(LINE.format(f"{stage}: {told} in 4.2 s"))
    return lines


def test_three_nights(call: Call, airflow: Path, site: Path) -> None:
    called = call("demo")
    assert called.code == 0, called.err
    asked = (airflow / "called").read_text().splitlines()
    assert asked == [f"dags test flight_delays__retraining 2013-06-{day}" for day in (26, 27, 28)]
    assert called.err.count("Night 2013-06-") == 3
    assert "✓ ingest        4.2 s  71,523 rows in, 3 quarantined, 75 days added" in called.err
    assert "AUC 0.9102" in called.err
    assert "2013-06-27   71,520" in called.out
    assert "promoted" in called.out
    assert "3 nights in" in called.out
    assert "make airflow" in called.out
    assert "Filling up the DagBag" in (site / ".nightshift" / "demo" / "2013-06-26.log").read_text()


def test_the_environment_is_that_of_env_sh(call: Call, airflow: Path, site: Path) -> None:
    (airflow / "airflow").write_text(f"#!/bin/sh\nenv > {site}/env\n")
    call("demo", "--nights", "2013-06-26")
    found = (site / "env").read_text()
    assert f"AIRFLOW_HOME={site}/.airflow" in found
    assert f"NIGHTSHIFT_HOME={site}/.nightshift" in found


def test_the_second_time_nothing_is_repeated_and_it_says_so(call: Call, airflow: Path) -> None:
    say(airflow, *night_lines("2013-06-25", reused=True))
    called = call("demo", "--nights", "2013-06-26")
    assert "reused: 71,520 rows in" in called.err
    assert "1 night in" in called.out
    assert "every stage was reused and nothing was repeated" in called.out


def test_a_night_that_was_half_done_before(call: Call, airflow: Path) -> None:
    lines = night_lines("2013-06-25", reused=True, until="validate")
    fresh = night_lines("2013-06-25")
    say(airflow, *lines, *fresh[1 + 2 * 3 :])
    assert "2 of 7 stages had been done before and were not repeated" in call("demo", "--nights", "2013-06-26").out


class TestFailure:
    def test_the_stage_the_last_lines_and_the_log(self, call: Call, airflow: Path) -> None:
        error = LINE.format("validate: 22 % of the rows fail").replace("[info     ]", "[error    ]")
        lines = night_lines("2013-06-25", until="ingest")
        lines.append(
            "2026-11-20T09:54:39.0Z [info     ] [DAG TEST] starting task_id=validate map_index=-1 [airflow.sdk] loc=dag.py:1501"
        )
        say(airflow, *lines, error, "DagRun failed", code=1)
        called = call("demo")
        assert called.code == 1
        assert "✗ validate" in called.err
        assert "22 % of the rows fail" in called.err
        assert "night 2013-06-26 failed (airflow dags test ended with exit code 1)" in called.err
        assert "Hint: the whole log: .nightshift/demo/2013-06-26.log" in called.err
        assert (airflow / "called").read_text().count("dags test") == 1

    def test_a_stage_that_never_said_how_it_ended(self, call: Call, airflow: Path) -> None:
        say(airflow, "2026Z [info ] [DAG TEST] starting task_id=train map_index=-1", "Killed", code=137)
        called = call("demo")
        assert "✗ train" in called.err
        assert "Airflow ended before the stage did" in called.err

    def test_before_set_up(self, call: Call) -> None:
        called = call("demo")
        assert (called.code, "Hint: run: nightshift init" in called.err) == (78, True)

    def test_dates_that_are_none(self, call: Call, airflow: Path) -> None:
        called = call("demo", "--nights", "2013-06-26,tomorrow")
        assert (called.code, "YYYY-MM-DD" in called.err) == (2, True)

    def test_a_model_that_is_none(self, call: Call, airflow: Path) -> None:
        assert call("demo", "--model", "flights").code == 64


class TestProcess:
    PROGRAM = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(p.pid, flush=True); time.sleep(60)"

    def test_leaving_the_block_early_ends_the_whole_group(self) -> None:
        seen: list[tuple[subprocess.Popen[str], int]] = []

        def interrupted() -> None:
            with started([sys.executable, "-c", self.PROGRAM], os.environ, timeout=60) as process:
                assert process.stdout is not None
                seen.append((process, int(process.stdout.readline())))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        ((process, child),) = seen
        assert process.returncode == -signal.SIGTERM
        assert gone(child)

    def test_a_night_that_takes_too_long_is_killed(self) -> None:
        with started([sys.executable, "-c", self.PROGRAM], os.environ, timeout=0.5) as process:
            assert process.stdout is not None
            child = int(process.stdout.read())
        assert process.returncode == -signal.SIGKILL
        assert gone(child)


def gone(pid: int, *, within: float = 5) -> bool:
    """Whether a process has ended, or is only waiting for its new parent to notice."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def test_the_line_to_paste_survives_a_shell(
    site: Path, nights_: list[PublishedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"dep_delay": -3.5, "carrier": 'O\'Hare "x" $HOME'}
    monkeypatch.setattr("nightshift.cli.predict.example_row", lambda store, champion: row)
    command = predict_command(Settings.from_environment(), "flight_delays")
    assert command is not None
    program, rest = command.split(" ", 1)
    assert program.endswith("nightshift")
    shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {rest}"], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines()[:2] == ["predict", "flight_delays"]
    assert json.loads(shell.stdout.splitlines()[2]) == row


def test_no_champion_no_line_to_paste(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict_command(Settings.from_environment(), "flight_delays") is None
    assert "No example to predict" in capsys.readouterr().err
