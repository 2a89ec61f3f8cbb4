"""``make down``: containers and networks go; volumes, and so all data, stay unless asked otherwise."""

from __future__ import annotations

import time

from nightshift.errors import StackError
from nightshift.stack.child import Child
from nightshift.stack.engine import Compose, engine
from nightshift.stack.terminal import Terminal, duration

SAID_LINES = 10


def down(compose: Compose, terminal: Terminal, *, volumes: bool) -> None:
    """Stop and remove.

    Raises:
        SettingsError: The engine does not answer.
        StackError: docker compose failed.
    """
    engine()
    project = compose.layout(everything=True).project
    containers, before = compose.containers(), compose.volumes(project)
    began = time.monotonic()
    if containers:
        running = sum(found.state == "running" for found in containers.values())
        terminal.say(f"Stopping {running} services…")
    arguments = ["down", "--remove-orphans", *(["--volumes"] if volumes else [])]
    with Child(compose.start(*arguments, everything=True)) as child:
        while not child.ended:
            list(child.lines(1.0))
        if child.code != 0:
            last = "\n".join(f"  | {line}" for line in list(child.tail)[-SAID_LINES:])
            raise StackError(f"docker compose down ended with exit code {child.code}:\n{last}")
    if containers:
        gone = f"{len(containers)} containers and their network are gone"
        terminal.say(f"{terminal.mark('good')} {gone}  {duration(time.monotonic() - began)}")
    else:
        terminal.say("There are no containers.")
    left = compose.volumes(project)
    if set(before) - set(left):
        terminal.say(f"{terminal.mark('good')} Deleted the volumes {', '.join(sorted(set(before) - set(left)))}.")
    if left:
        terminal.say(f"The data stays, in the volumes {', '.join(left)}.")
        terminal.say("To delete it too: make down VOLUMES=1")
