"""How far the services are: rewritten in place on a terminal, a line per change where there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from nightshift.stack.services import GOOD, Container, Layout, Phase
from nightshift.stack.terminal import Terminal, duration, size

MARK: Mapping[Phase, str] = {
    "absent": "idle",
    "waiting": "idle",
    "starting": "busy",
    "healthy": "good",
    "running": "good",
    "done": "good",
    "unhealthy": "bad",
    "restarting": "odd",
    "exited": "bad",
    "stopped": "bad",
}
QUIET: frozenset[Phase] = frozenset({"absent", "waiting"})
RESTARTS = 3  # as often may a service die before it counts as broken
GIVEN_UP = 15  # seconds between two tries after which docker's next ones will hardly be better
LINGER = 5  # seconds that a service may be ill or gone before it counts as broken
REMINDER = 30  # seconds without a change, after which plain output says what it is waiting for


@dataclass
class Row:
    """What is known about one service."""

    phase: Phase = "absent"
    since: float = 0.0
    told: str = ""
    restarts: int = 0


@dataclass
class Board:
    """The services, in the order in which they start.

    Attributes:
        layout: What should run.
        began: When the clock of the seconds started.
    """

    layout: Layout
    began: float = 0.0
    rows: dict[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {name: Row(since=self.began) for name in in_order(self.layout)}

    def observe(self, containers: Mapping[str, Container], now: float, pulling: Collection[str] = ()) -> dict[str, Row]:
        """Take note of what the containers do; gives the services that do something else than before."""
        changed = {}
        for name, row in self.rows.items():
            phase = self.layout.phase(name, containers)
            waits = ", ".join(self.layout.waits_for(name, containers)) if phase in QUIET else ""
            row.told = "getting the image" if name in pulling else f"waits for {waits}" if waits else ""
            if phase in ("exited", "restarting", "stopped"):
                row.told = f"exit code {containers[name].exit_code}"
            if phase != row.phase:
                row.restarts += phase == "restarting"
                row.phase, row.since = phase, now
                changed[name] = row
        return changed

    @property
    def all_good(self) -> bool:
        return all(row.phase in GOOD for row in self.rows.values())

    def crashing(self, now: float) -> list[str]:
        """Services that start and die, over and over; one that dies at once may never be seen running."""
        return [
            name
            for name, row in self.rows.items()
            if row.restarts >= RESTARTS or (row.phase == "restarting" and now - row.since >= GIVEN_UP)
        ]

    def broken(self, now: float, *, linger: float = LINGER) -> list[str]:
        """Services that have ended or are ill, and have been so for a while; nothing will mend them by itself."""
        found = self.crashing(now)
        for name, row in self.rows.items():
            gone = row.phase in ("unhealthy", "exited", "stopped") and now - row.since >= linger
            if gone and name not in found:
                found.append(name)
        return found

    def pending(self) -> list[str]:
        """Services that are not where they should be, without those that only wait for others."""
        behind = [name for name, row in self.rows.items() if row.phase not in GOOD]
        return [name for name in behind if self.rows[name].phase not in QUIET] or behind

    def lines(self, terminal: Terminal, now: float) -> list[str]:
        """The whole board."""
        good = sum(row.phase in GOOD for row in self.rows.values())
        wide = max(map(len, self.rows))
        shown = [f"Services  {good} of {len(self.rows)} up  {duration(now - self.began)}"]
        for name, row in self.rows.items():
            seconds = "" if row.phase in QUIET else duration((row.since if row.phase in GOOD else now) - self.began)
            phase = "" if row.phase in QUIET else row.phase
            shown.append(f"  {terminal.mark(MARK[row.phase])} {name:<{wide}}  {phase:<10}  {seconds:>6}  {row.told}")
        return [line.rstrip() for line in shown]


@dataclass
class Display:
    """Shows a board.

    Attributes:
        terminal: Where to.
        board: What.
    """

    terminal: Terminal
    board: Board
    _shown: int = 0
    _spoke: float = field(init=False)

    def __post_init__(self) -> None:
        self._spoke = self.board.began
        self._live = self.terminal.live and len(self.board.rows) + 2 < size().lines

    def update(self, changed: Mapping[str, Row], now: float) -> None:
        """After every look at the containers."""
        if self._live:
            # A line that the terminal breaks in two would be two lines to go back.
            lines = [self._fitting(line) for line in self.board.lines(self.terminal, now)]
            self.terminal.rewrite(lines, self._shown)
            self._shown = len(lines)
            return
        for name, row in changed.items():
            if row.phase not in QUIET:
                self._say(now, f"{name:<{max(map(len, self.board.rows))}}  {row.phase}  {row.told}".rstrip())
        if now - self._spoke >= REMINDER:
            waiting = (f"{name} ({self.board.rows[name].phase})" for name in self.board.pending())
            self._say(now, f"still waiting for {', '.join(waiting)}")

    def _say(self, now: float, text: str) -> None:
        self.terminal.say(f"  {duration(now - self.board.began):>6}  {text}")
        self._spoke = now

    def _fitting(self, line: str) -> str:
        width = size().columns - 1
        invisible = len(line) - len(line.replace("\x1b[0m", "")) + 5 if "\x1b" in line else 0
        return line[: width + invisible]


def in_order(layout: Layout) -> list[str]:
    """The services' names: whoever is waited for comes first."""
    depths: dict[str, int] = {}

    def depth(name: str, path: tuple[str, ...] = ()) -> int:
        if name not in depths:
            needs = [need for need in layout.services[name].needs if need not in path]
            depths[name] = 1 + max((depth(need, (*path, name)) for need in needs), default=0)
        return depths[name]

    return sorted(layout.services, key=lambda name: (depth(name), name))
