"""``nightshift demo``: the demo model, retrained under Airflow for some consecutive nights, with something to see."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from nightshift.cli.console import err, out
from nightshift.cli.environment import env_sh_path, java_home_in_use, process_environment, scripts_folder, shown
from nightshift.cli.models import load, store_of
from nightshift.errors import JobError, NightshiftError, SettingsError
from nightshift.plan import STAGES, stages_of
from nightshift.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from nightshift.cli.progress import Board, Ended
    from nightshift.storage import Store

MODEL = "flight_delays"
NIGHTS = "2013-06-26,2013-06-27,2013-06-28"
NIGHT_TIMEOUT = 900
STOP_TIMEOUT = 10
LAST_LINES = 25
STARTING_TASK = re.compile(rf"\[DAG TEST\] starting task_id=({'|'.join(STAGES)})\b")


@click.command()
@click.option("--nights", default=NIGHTS, show_default=True, help="Nights, separated by commas.")
@click.option("--model", default=MODEL, show_default=True, help="Which model.")
def demo(nights: str, model: str) -> None:
    """Retrain the demo model for consecutive nights by airflow dags test, and show what came of it.

    Finished work is never repeated: a second demo reuses what the first one published, and says so.
    """
    settings = Settings.from_environment()
    asked = _parse_nights(nights)
    if not env_sh_path(settings).is_file():
        raise SettingsError("this checkout is not set up yet.", hint="run: nightshift init")
    console, began = err(), time.monotonic()
    stages = stages_of(load(settings, model))
    reused = sum(_run_night(settings, model, night, stages, console) for night in asked)
    _show_results(settings, model, asked)
    out().print(_summary(len(asked), len(stages), reused, time.monotonic() - began))
    _show_next(settings, model, asked[-1])


def _summary(nights: int, each: int, reused: int, seconds: float) -> str:
    stages = nights * each
    took = f"{nights} night{'s' if nights > 1 else ''} in {seconds:.0f} s"
    if reused == stages:
        return f"{took}: everything had been done before, so every stage was reused and nothing was repeated."
    if reused:
        return f"{took}; {reused} of {stages} stages had been done before and were not repeated."
    return f"{took}."


def _parse_nights(text: str) -> list[date]:
    try:
        return [date.fromisoformat(part.strip()) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{error}; write dates as YYYY-MM-DD,YYYY-MM-DD", param_hint="--nights") from None


# -- one night ---------------------------------------------------------------------------------------


def _run_night(settings: Settings, model: str, night: date, stages: tuple[str, ...], console: Console) -> int:
    """Run one night; gives how many of its stages were reused.

    Raises:
        JobError: The night failed; the last lines of its log have been shown.
    """
    from nightshift.cli.progress import Board

    path = settings.home / "demo" / f"{night}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    program = [str(scripts_folder() / "airflow"), "dags", "test", f"{model}__retraining", str(night)]
    environment = process_environment(settings, java_home=java_home_in_use(settings))
    follower = Follower(store_of(settings, model))
    with Board(console, stages, f"Night {night}") as board, path.open("w") as log:
        with started(program, environment, timeout=NIGHT_TIMEOUT) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                board.log.append(line.rstrip())
                follower.take(line, board)
        states = board.states()
        if process.returncode != 0:
            follower.give_up(board)
    if process.returncode != 0:
        _show_log(console, board.log, path)
        raise _night_failed(night, process.returncode, path)
    return sum(state == "reused" for state in states.values())


@dataclass
class Follower:
    """Reads Airflow's output and moves the board.

    Attributes:
        store: Where the stages' results are looked up, once their last line names them.
    """

    store: Store
    running: str | None = None

    def take(self, line: str, board: Board) -> None:
        """Take one line of output."""
        from nightshift.cli.progress import Ended, JobLine

        if (task := STARTING_TASK.search(line)) is not None:
            self.running = task[1]
            board.start(task[1])
        said = JobLine.parse(line)
        if said is None:
            return
        ended = Ended.parse(said.message)
        if ended is not None:
            self._finish(said.stage, ended, said.message, board)
        elif said.level == "ERROR":
            board.fail(said.stage, said.message)
        else:
            board.say(said.stage, said.message)

    def give_up(self, board: Board) -> None:
        """Mark the stage that was running when Airflow ended as failed."""
        if self.running is not None and board.states()[self.running] == "running":
            board.fail(self.running, "Airflow ended before the stage did")

    def _finish(self, stage: str, ended: Ended, message: str, board: Board) -> None:
        from nightshift.stage import StageResult

        if ended.ref is not None:
            manifest = self.store.manifest(*ended.ref)
            board.finish(StageResult.of(manifest, reused=ended.reused), ended.seconds)
            return
        reason = message.partition(": ")[2].rpartition(" in ")[0]
        result = StageResult(stage, ended.status, None, ended.reused, {}, reason or None)
        board.finish(result, ended.seconds)


@contextmanager
def started(
    program: Sequence[str], environment: Mapping[str, str], *, timeout: float
) -> Iterator[subprocess.Popen[str]]:
    """A process in its own group, its output as text; the whole group ends with the block, or at the timeout.

    ``airflow dags test`` runs its tasks in itself and may ignore SIGTERM, so the group is killed if it does not end.
    """
    process = subprocess.Popen(
        list(program),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    clock = threading.Timer(timeout, _signal_group, (process, signal.SIGKILL))
    clock.daemon = True
    clock.start()
    try:
        yield process
        process.wait()
    finally:
        clock.cancel()
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def _night_failed(night: date, code: int, path: Path) -> JobError:
    if code == -signal.SIGKILL:
        message = f"night {night} was killed: it took longer than {NIGHT_TIMEOUT} s, or memory ran out."
    else:
        message = f"night {night} failed (airflow dags test ended with exit code {code})."
    return DemoFailed(message, hint=f"the whole log: {shown(path)}")


class DemoFailed(JobError):
    """A night of the demo failed."""

    exit_code = 1


def _show_log(console: Console, lines: Iterable[str], path: Path) -> None:
    console.print(f"\n[dim]The last lines of {escape(shown(path))}:[/]")
    for line in list(lines)[-LAST_LINES:]:
        console.print(f"[dim]  {escape(line)}[/]", soft_wrap=True)


# -- what came of it ---------------------------------------------------------------------------------


def _show_results(settings: Settings, model: str, asked: Sequence[date]) -> None:
    from nightshift.cli.history import show_nights
    from nightshift.report.nights import nights

    wanted = {night.isoformat() for night in asked}
    console = out()
    console.print()
    show_nights(console, [night for night in nights(store_of(settings, model)) if night.night in wanted])
    console.print()


def _show_next(settings: Settings, model: str, night: date) -> None:
    """Where to look and what to type next."""
    from nightshift.report.render import report_path

    console = out()
    page = report_path(settings, model, night.isoformat())
    if page.is_file():
        console.print(f"[bold]Report[/]   {escape(shown(page))}", soft_wrap=True)
    console.print("[bold]UI[/]       make airflow")
    if (version := _waiting(settings, model, night)) is not None:
        console.print(f"[bold]Approve[/]  {escape(f'nightshift promote {model} --version {version}')}", soft_wrap=True)
    command = predict_command(settings, model)
    if command is not None:
        console.print("[bold]Predict[/]  a row of the holdout, by the champion:", soft_wrap=True)
        console.print(f"\n{escape(command)}\n", soft_wrap=True)


def _waiting(settings: Settings, model: str, night: date) -> int | None:
    """The version of the night that a person is to approve; None if none waits."""
    from nightshift.report.nights import nights

    waits = [one for one in nights(store_of(settings, model)) if (one.verdict, one.night) == ("waiting", str(night))]
    return waits[-1].model_version if waits else None


def predict_command(settings: Settings, model: str) -> str | None:
    """A line that scores one real row when it is pasted; None where there is no champion."""
    from nightshift.cli.predict import example_row, require_champion

    store = store_of(settings, model)
    try:
        row = example_row(store, require_champion(store, model))
    except NightshiftError as error:
        err().print(f"[yellow]No example to predict:[/] {escape(error.message)}", soft_wrap=True)
        return None
    program = shlex.quote(shown(scripts_folder() / "nightshift"))
    return f"{program} predict {model} {shlex.quote(json.dumps(row, ensure_ascii=False))}"
