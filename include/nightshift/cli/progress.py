"""A night's stages in the terminal: live where there is one, line by line where there is not."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nightshift.plan import STAGES
from nightshift.report.facts import facts
from nightshift.stage import StageResult

State = Literal["waiting", "running", "succeeded", "reused", "refused", "skipped", "failed"]
MARK: dict[str, str] = {
    "succeeded": "[green]✓[/]",
    "reused": "[green]✓[/]",
    "refused": "[yellow]■[/]",
    "skipped": "[yellow]–[/]",
    "failed": "[red]✗[/]",
    "waiting": "[dim]·[/]",
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# A line of a job: as nightshift.jobs.runner writes it, or as Airflow's log has it, which adds
# "[name.of.the.logger] loc=file.py:1" and gives time and level in its own way.
JOB_LINE = re.compile(
    r"\d\d:\d\d:\d\d(?:\.\d+Z)? +\[?(?P<level>[A-Za-z]+) *\]? +"
    rf"(?P<stage>{'|'.join(STAGES)}): (?P<message>.*?)(?: +\[[a-z_]+\.[\w.]+\](?: .*)?)?$"
)
ENDED = re.compile(r"(?P<status>succeeded|refused|skipped)(?P<told>.*) in (?P<seconds>\d+\.\d) s$")
REF = re.compile(r"(?P<dataset>[a-z_]+)/(?P<interval>[^\s@/]+)@(?P<version>\d+)")
KEPT_LINES = 400


@dataclass(frozen=True)
class JobLine:
    """One line that a job logged."""

    level: str
    stage: str
    message: str

    @classmethod
    def parse(cls, line: str) -> JobLine | None:
        """The job's line inside a line of output, or None."""
        found = JOB_LINE.search(ANSI.sub("", line))
        if found is None:
            return None
        message = found["message"].rstrip().removeprefix(f"{found['stage']}: ")
        return cls(found["level"].upper(), found["stage"], message)


@dataclass(frozen=True)
class Ended:
    """What the last line of a job says about its stage."""

    status: Literal["succeeded", "refused", "skipped"]
    reused: bool
    seconds: float
    ref: tuple[str, str, int] | None

    @classmethod
    def parse(cls, message: str) -> Ended | None:
        """Reads ``succeeded (train/2013-06-27@1) in 4.2 s`` and its relatives; None for any other message."""
        found = ENDED.fullmatch(message)
        if found is None:
            return None
        refs = list(REF.finditer(found["told"]))
        ref = refs[-1] if refs else None
        return cls(
            status=found["status"],  # type: ignore[arg-type]
            reused=found["told"].startswith(", as published before"),
            seconds=float(found["seconds"]),
            ref=(ref["dataset"], ref["interval"], int(ref["version"])) if ref else None,
        )


@dataclass
class _Line:
    """What the board knows about one stage."""

    state: State = "waiting"
    began: float = 0.0
    seconds: float | None = None
    told: str = ""


@dataclass
class Board:
    """The stages of one night, one line each.

    Attributes:
        console: Where to; live only if it is a terminal.
        stages: Which stages will run, in order.
        title: A line above them.
    """

    console: Console
    stages: tuple[str, ...]
    title: str
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _lines: dict[str, _Line] = field(init=False)
    _live: Live | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._lines = {stage: _Line() for stage in self.stages}
        self._spinner = Spinner("dots", style="cyan")

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(self, console=self.console, refresh_per_second=8)
            self._live.start()
        else:
            self.console.print(self.title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for line in self._lines.values():
                if line.state == "running":
                    line.state = "failed"
                    line.seconds = time.monotonic() - line.began
        if self._live is not None:
            self._live.stop()

    def states(self) -> dict[str, State]:
        return {stage: line.state for stage, line in self._lines.items()}

    def start(self, stage: str) -> None:
        line = self._lines[stage]
        if line.state == "waiting":
            line.state, line.began = "running", time.monotonic()

    def say(self, stage: str, message: str) -> None:
        """Show what a running stage last logged."""
        self._lines[stage].told = message

    def finish(self, result: StageResult, seconds: float) -> None:
        """A stage has ended with a result."""
        state: State = "reused" if result.reused else result.status
        told = result.reason or facts(result.stage, result.summary)
        if result.reused:
            told = f"reused{': ' + told if told else ''}"
        self._end(result.stage, state, seconds, told)

    def fail(self, stage: str, message: str, seconds: float | None = None) -> None:
        """A stage has ended with an error."""
        line = self._lines[stage]
        self._end(stage, "failed", seconds if seconds is not None else time.monotonic() - line.began, message)

    def _end(self, stage: str, state: State, seconds: float, told: str) -> None:
        line = self._lines[stage]
        line.state, line.seconds, line.told = state, seconds, told
        if self._live is None:
            self.console.print(self._text(stage, line), soft_wrap=True)

    def _text(self, stage: str, line: _Line) -> Text:
        seconds = "" if line.seconds is None else f"{line.seconds:.1f} s"
        return Text.from_markup(f"  {MARK[line.state]} {stage:<11}{seconds:>8}  {escape(line.told)}")

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right")
        grid.add_column(width=11)
        grid.add_column(width=8, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for stage, line in self._lines.items():
            running = line.state == "running"
            seconds = time.monotonic() - line.began if running else line.seconds
            grid.add_row(
                self._spinner if running else MARK[line.state],
                f"[bold]{stage}[/]" if running else stage,
                "" if seconds is None else f"{seconds:.1f} s",
                Text(line.told, style="dim" if running else ""),
            )
        return Group(Text(self.title, style="bold"), grid)
