"""``make trigger``: one night of a model on the running stack, followed to its end if asked."""

from __future__ import annotations

import datetime
import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nightshift.errors import SettingsError, SpecError, StackError
from nightshift.stack.airflow_api import CONFLICT, NOT_FOUND, PROCESS, Airflow, NotUp, Refused, Task
from nightshift.stack.terminal import Terminal, duration

FINAL = ("success", "failed")
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
MARK = {"success": "good", "failed": "bad", "skipped": "odd", "upstream_failed": "idle", "removed": "idle"}
LOG_LINES = 25
REASON_LINES = 2
POLL = 2.0
SILENCE = 120  # seconds that Airflow may be away in the middle of a run
REMINDER = 60


@dataclass
class Follow:
    """Follows one run, and says what changes.

    Attributes:
        airflow: Where it runs.
        terminal: Where the lines go.
        dag: Its DAG.
        run: Its id.
        timeout: Seconds until we stop looking; the run goes on.
        wait: How to wait between two looks.
    """

    airflow: Airflow
    terminal: Terminal
    dag: str
    run: str
    timeout: float
    wait: Callable[[float], None] = time.sleep
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _spoke: float = field(default_factory=time.monotonic)

    def to_the_end(self) -> str:
        """The run's final state.

        Raises:
            StackError: Airflow is gone for too long, or time is up.
        """
        answered = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                state = self.airflow.state(self.dag, self.run)
                self._tell(state, self.airflow.tasks(self.dag, self.run))
                answered = now
            except NotUp:
                if now - answered > SILENCE:
                    raise
                self._remind("Airflow does not answer; trying again")
                state = ""
            if state in FINAL:
                return state
            if now - self._began > self.timeout:
                raise StackError(
                    f"{self.run} has not ended after {duration(self.timeout)}; it goes on.",
                    hint=f"look at {self.airflow.page(self.dag, self.run)}",
                )
            self.wait(POLL)

    def _tell(self, state: str, tasks: list[Task]) -> None:
        for task in tasks:
            now = (task.state, task.attempt)
            if now == self._seen.get(task.name) or task.state in ("", "scheduled", "queued", "upstream_failed"):
                continue
            self._seen[task.name] = now
            self._say(self._line(task))
        if state == "queued" and not any(self._seen.values()):
            self._remind("queued; one run of a model at a time, and a paused or busy scheduler starts none")
        running = ", ".join(task.name for task in tasks if task.state == "running")
        self._remind(f"{running or 'nothing'} is running")

    def _line(self, task: Task) -> str:
        again = f"  attempt {task.attempt}" if task.attempt > 1 else ""
        mark = self.terminal.mark(MARK.get(task.state, "busy"))
        seconds = duration(task.seconds) if task.seconds is not None and task.state in ENDED else ""
        return f"{mark} {task.name:<11} {task.state:<12} {seconds:>11}{again}".rstrip()

    def _remind(self, text: str) -> None:
        if time.monotonic() - self._spoke >= REMINDER:
            self._say(f"{self.terminal.mark('idle')} {text}")

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        self.terminal.say(f"  {duration(self._spoke - self._began):>6}  {text}")


def trigger(
    airflow: Airflow, terminal: Terminal, model: str, *, night: str | None = None, wait: bool = False, timeout: float
) -> bool:
    """Start a night; with ``wait`` follow it, and give whether it succeeded.

    Raises:
        SettingsError: The night is no date, or Airflow does not take the password.
        SpecError: Airflow has no such model.
        StackError: Airflow is not up, or refuses.
    """
    if not model:
        raise SettingsError("no model is named.", hint="make trigger MODEL=flight_delays, or another of dags/models")
    conf = {"night": _date(night)} if night else {}
    dag = f"{model}__{PROCESS}"
    airflow.log_in()
    _require_model(airflow, model)
    if airflow.is_paused(dag):
        airflow.unpause(dag)
        terminal.say(f"{terminal.mark('good')} {dag} was paused; it is not any more, and runs by its schedule too.")
    run = _start(airflow, dag, conf)
    terminal.say(f"{terminal.mark('good')} Started {run}{f' for the night {night}' if night else ''}")
    terminal.say(f"  {airflow.page(dag, run)}")
    if not wait:
        return True
    follow = Follow(airflow, terminal, dag, run, timeout)
    state = follow.to_the_end()
    return _sum_up(airflow, terminal, dag, run, state)


def _date(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise SettingsError(f"{text!r} is not a night.", hint="write it as YYYY-MM-DD: NIGHT=2013-07-15") from None


def _require_model(airflow: Airflow, model: str) -> None:
    models = airflow.models()
    if model in models:
        return
    near = difflib.get_close_matches(model, models, n=1)
    errors = airflow.import_errors()
    if near:
        hint = f"did you mean {near[0]}?"
    elif errors:
        hint = "Airflow could not read everything:\n" + "\n".join(f"  | {line}" for line in errors[0].splitlines()[-8:])
    elif models:
        hint = "a model is a file in dags/models; a new one is seen within half a minute"
    else:
        hint = "Airflow has not read any DAG yet: try again in half a minute; make logs SERVICE=airflow-dag-processor"
    raise SpecError(f"there is no model {model!r}; there {_listed(models)}.", hint=hint)


def _listed(models: list[str]) -> str:
    return f"{'are' if len(models) > 1 else 'is'} {', '.join(models)}" if models else "are none"


def _start(airflow: Airflow, dag: str, conf: dict[str, str]) -> str:
    try:
        return airflow.trigger(dag, conf)
    except Refused as error:
        hints = {
            CONFLICT: "such a run is there already: wait until it ends, or clear it in Airflow's UI",
            NOT_FOUND: "the DAG has just gone; make logs SERVICE=airflow-dag-processor says why",
        }
        raise StackError(error.message, hint=hints.get(error.status)) from error


def _sum_up(airflow: Airflow, terminal: Terminal, dag: str, run: str, state: str) -> bool:
    tasks = airflow.tasks(dag, run)
    failed = [task for task in tasks if task.state == "failed"]
    for task in failed[:1]:
        terminal.say(f"{task.name} failed; its last lines:")
        for line in airflow.log(dag, run, task)[-LOG_LINES:]:
            terminal.say(f"  | {line}")
    skipped = [task for task in tasks if task.state == "skipped" and task.began]
    for task in skipped[:1]:
        for line in airflow.log(dag, run, task)[-REASON_LINES:]:
            terminal.say(f"  | {line}")
    done = sum(task.state == "success" for task in tasks)
    told = {True: "succeeded", False: "failed"}[state == "success"]
    mark = terminal.mark("good" if state == "success" else "bad")
    terminal.say(f"{mark} The night {told}: {done} of {len(tasks)} stages{', the rest skipped' if skipped else ''}.")
    return state == "success"
