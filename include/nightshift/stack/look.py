"""``make ps | doctor-stack | logs | open``: what is there, whether it is right, what it says, where it is."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import webbrowser

from nightshift.errors import SettingsError
from nightshift.stack.engine import Compose, program
from nightshift.stack.places import places
from nightshift.stack.probes import findings
from nightshift.stack.progress import MARK, in_order
from nightshift.stack.terminal import Terminal, columns


def ps(compose: Compose, terminal: Terminal) -> None:
    """A table of the services: state, health, memory, ports."""
    layout = compose.layout(everything=True)
    containers = compose.containers()
    if not containers:
        terminal.say("Nothing is there. Start it with make up.")
        return
    memory = compose.memory()
    rows, marks = [("service", "state", "memory", "ports on this machine")], [" "]
    for name in in_order(layout):
        container = containers.get(name)
        if container is None:
            continue
        phase = layout.phase(name, containers)
        told = f"{phase}, exit code {container.exit_code}" if phase in ("exited", "stopped", "restarting") else phase
        ports = ", ".join(f"{port.address}:{port.number}" for port in container.ports)
        rows.append((name, told, memory.get(container.name, ""), ports))
        marks.append(terminal.mark(MARK[phase]))
    for mark, line in zip(marks, columns(rows), strict=True):
        terminal.say(f"{mark} {line}")


def doctor(compose: Compose, terminal: Terminal) -> bool:
    """A table of everything that was looked at; gives whether all is right."""
    found = list(findings(compose))
    rows = [("check", "found", "what to do"), *((each.name, each.found, each.fix) for each in found)]
    marks = [" ", *(terminal.mark({"ok": "good", "warning": "odd", "error": "bad"}[each.state]) for each in found)]
    for mark, line in zip(marks, columns(rows), strict=True):
        terminal.say(f"{mark} {line}")
    broken = sum(each.state == "error" for each in found)
    terminal.say()
    terminal.say(f"{broken} broken." if broken else "Everything is right.")
    return not broken


def logs(compose: Compose, service: str | None, *, lines: int, follow: bool) -> int:
    """Hand over to docker's own log command; gives its exit code.

    Raises:
        SettingsError: There is no such service.
    """
    if service:
        require_service(compose, service)
    tail = ["logs", "--tail", str(lines), *(["--follow"] if follow else []), *([service] if service else [])]
    command = [program(), *compose.command(*tail, everything=True)]
    return subprocess.run(command, check=False, cwd=compose.root, env=compose.variables()).returncode


def require_service(compose: Compose, service: str) -> None:
    """Raises SettingsError: There is no such service."""
    names = in_order(compose.layout(everything=True))
    if service not in names:
        near = difflib.get_close_matches(service, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise SettingsError(f"there is no service {service!r}.", hint=hint)


def show(compose: Compose, terminal: Terminal) -> None:
    """Print the pages' addresses, and open them where there is a display."""
    running = {name for name, found in compose.containers().items() if found.state == "running"}
    found = [place for place in places(compose.values) if place.name and place.service in running]
    if not found:
        terminal.say("Nothing is up. Start it with make up.")
        return
    for line in columns([(place.name, place.url) for place in found]):
        terminal.say(line)
    if has_display():
        for place in found:
            webbrowser.open(place.url)


def has_display() -> bool:
    """Whether a browser that is opened here can be seen by somebody."""
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
