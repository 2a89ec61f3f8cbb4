"""``make up``: from nothing, or from anything, to a stack whose every service is healthy."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from nightshift.errors import StackError
from nightshift.stack import env_file
from nightshift.stack.build import build
from nightshift.stack.child import Child
from nightshift.stack.engine import Compose, engine
from nightshift.stack.places import places
from nightshift.stack.progress import Board, Display
from nightshift.stack.readiness import require_env_file, require_memory, require_ports
from nightshift.stack.services import Container, Layout
from nightshift.stack.terminal import Terminal, columns, duration, size_of

LOG_LINES = 25
SAID_LINES = 6
BLIND = 30  # seconds without a list of containers
PULL = re.compile(r"^\s*(?P<service>[\w.-]+) (?P<what>Pulling|Pulled|Error|Interrupted)\b")
DEMO = "flight_delays"
# Patterns of log lines, and what to do about what they say.
CAUSES = (
    (r"password authentication failed|InvalidAccessKeyId|SignatureDoesNotMatch", (
        ".env does not have the secrets that the volumes were made with: put the old one back, or delete the volumes "
        "and all that is in them: make down VOLUMES=1"
    )),
    (r"no space left on device", "free some disk: docker system df, docker system prune"),
    (r"OutOfMemoryError|Cannot allocate memory|exit code 137", "give Docker more memory: the stack needs 8 GiB"),
    (r"Permission denied.*dags", "the services run as user 50000: make dags/ readable, or set NIGHTSHIFT_UID in .env"),
    (r"exec format error", "the image is for another processor: docker image rm nightshift:local, make up"),
)  # fmt: skip


def up(compose: Compose, terminal: Terminal, *, timeout: float) -> None:
    """Check, build, start, and wait until everything is healthy.

    Raises:
        SettingsError: This machine cannot run it as it is.
        StackError: The image cannot be built, or a service does not get healthy.
    """
    found = engine()
    project = compose.layout(everything=True).project
    written = require_env_file(compose, project)
    if written.fresh or written.added or written.tightened:
        terminal.say(f"{terminal.mark('good')} {written}")
    for name in env_file.overridden(compose.env_file, compose.environ):
        terminal.say(f"{terminal.mark('odd')} {name} of this shell replaces the one in .env")
    layout = compose.layout()
    warning = require_memory(found, layout)
    containers = compose.containers()
    require_ports(layout, containers, compose.values)
    told = f"Docker {found.version}, compose {found.compose}, {size_of(found.memory)}; ports are free or ours"
    terminal.say(f"{terminal.mark('good')} {told}")
    if warning:
        terminal.say(f"{terminal.mark('odd')} {warning}")
    if any(service.built for service in layout.services.values()):
        build(compose, terminal)
    board = Board(layout)
    board.observe(compose.containers(), 0.0)
    if board.all_good and compose.is_current(layout, compose.containers()):
        terminal.say(f"{terminal.mark('good')} All {len(layout.services)} services are up already.")
    else:
        seconds = start(compose, layout, terminal, timeout=timeout)
        terminal.say(f"{terminal.mark('good')} All {len(layout.services)} services are up  {duration(seconds)}")
    farewell(compose, layout, terminal)


def start(compose: Compose, layout: Layout, terminal: Terminal, *, timeout: float) -> float:
    """Start the services and watch them; gives the seconds that it took.

    Raises:
        StackError: A service is broken, or time is up; names it, with its last lines.
    """
    began = time.monotonic()
    board = Board(layout, began)
    display = Display(terminal, board)
    pulling: set[str] = set()
    deadline = began + timeout
    containers: dict[str, Container] = {}
    looked = began
    with Child(compose.start("up", "--detach", "--no-build", "--remove-orphans")) as child:
        while True:
            for line in child.lines(1.0):
                _note_pull(line, pulling)
            if child.ended:
                time.sleep(1)
            now = time.monotonic()
            containers, looked = _look(compose, containers, now, looked)
            display.update(board.observe(containers, now, pulling), now)
            # How long a download takes says nothing about the services.
            deadline = max(deadline, now + timeout) if pulling else deadline
            if child.ended and board.all_good and child.code == 0:
                return now - began
            # While compose is still starting them, a service may well show what it was before.
            broken = board.broken(now) if child.ended else board.crashing(now)
            if child.ended and child.code != 0:
                broken = board.broken(now, linger=0)
                raise _failure(compose, board, broken, "the stack did not start", said=list(child.tail)[-SAID_LINES:])
            if broken:
                raise _failure(compose, board, broken, "the stack did not start")
            if now > deadline:
                raise _failure(compose, board, board.pending(), f"not everything is up after {duration(timeout)}")


def _look(
    compose: Compose, before: dict[str, Container], now: float, looked: float
) -> tuple[dict[str, Container], float]:
    """The containers, and when they were seen; what was seen before while docker cannot say.

    Containers that compose replaces in this very moment make docker's list fail.

    Raises:
        StackError: docker has not been able to say for a while.
    """
    try:
        return compose.containers(), now
    except StackError:
        if now - looked > BLIND:
            raise
        return before, looked


def _note_pull(line: str, pulling: set[str]) -> None:
    found = PULL.match(line)
    if found and found["what"] == "Pulling":
        pulling.add(found["service"])
    elif found:
        pulling.discard(found["service"])


def _failure(
    compose: Compose, board: Board, services: Iterable[str], what: str, said: Iterable[str] = ()
) -> StackError:
    """An error that names services, each with its last lines; and what compose said, if that is all there is."""
    parts, names = [], list(services)
    for name in names:
        row = board.rows[name]
        tail = compose.log_tail(name, LOG_LINES)
        lines = "\n".join(f"  | {line}" for line in tail) or "  | (it has written nothing)"
        parts.append(f"{name} is {row.phase}{f', {row.told}' if row.told else ''}; its last lines:\n{lines}")
    if not names:
        parts = [compose.without_secrets("\n".join(f"  | {line}" for line in said))]
    detail = "\n".join(parts)
    return StackError(f"{what}.\n{detail}", hint=_hint(detail, names))


def _hint(detail: str, names: list[str]) -> str:
    for pattern, hint in CAUSES:
        if re.search(pattern, detail, re.IGNORECASE):
            return hint
    return f"all of its log: make logs SERVICE={names[0]}" if names else "make ps shows what is there"


def farewell(compose: Compose, layout: Layout, terminal: Terminal) -> None:
    """Where everything is, and what to do next."""
    rows = [("", "address", "user", "password in .env")]
    rows += [
        (place.name, place.url, place.user or "–", place.password or "no login")
        for place in places(compose.values)
        if place.service in layout.services
    ]
    terminal.say()
    for line in columns(rows):
        terminal.say(f"  {line}".rstrip())
    terminal.say()
    terminal.say(f"Next:  {next_command(compose.root)}")


def next_command(root: Path) -> str:
    """A command that makes a model: the demo's for a night that it has data for, else the first model's."""
    models = sorted(path.stem for path in (root / "dags" / "models").glob("*.yaml"))
    if DEMO in models or not models:
        return f"make trigger MODEL={DEMO} NIGHT=2013-07-15 WAIT=1"
    return f"make trigger MODEL={models[0]} WAIT=1"
