"""Building the image, with one line that says where it is instead of thousands."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from nightshift.errors import StackError
from nightshift.stack.child import Child
from nightshift.stack.engine import Compose
from nightshift.stack.terminal import Terminal, duration, size

# BuildKit:   #12 [prepare packages 3/4] RUN …      #12 CACHED      #12 DONE 3.4s
# the old one: Step 3/12 : RUN …            ---> Using cache
STEP = re.compile(r"^(?:#(?P<number>\d+) (?P<told>\[(?![^\]]*\binternal\])[^\]]+\] .*)|(?P<old>Step \d+/\d+ : .*))$")
DONE = re.compile(r"^#(?P<number>\d+) DONE (?P<seconds>[\d.]+)s$")
LONG = 1.0  # seconds: shorter steps are not worth a line
SHOWN_ON_FAILURE = 25
REMINDER = 30


@dataclass
class Step:
    """A step of the build that is running."""

    told: str
    began: float
    number: str = ""


class BuildLog:
    """Reads what a builder writes, line by line."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.current: Step | None = None

    def read(self, line: str, now: float) -> str | None:
        """Take a line; gives what to say about a step that has just ended, if that took a while."""
        step = STEP.match(line)
        if step:
            before, told = self.current, " ".join((step["told"] or step["old"]).split())
            self.current = Step(told, now, step["number"] or "")
            if step["number"]:
                # BuildKit names a step again whenever its output goes on.
                self.current = self.steps.setdefault(step["number"], self.current)
                return None
            return self._ended(before, now - before.began) if before else None
        done = DONE.match(line)
        if done and done["number"] in self.steps:
            return self._ended(self.steps.pop(done["number"]), float(done["seconds"]))
        return None

    @staticmethod
    def _ended(step: Step, seconds: float) -> str | None:
        return f"{step.told[:80]}  {duration(seconds)}" if seconds >= LONG else None


def build(compose: Compose, terminal: Terminal) -> None:
    """Build what docker-compose.yaml builds.

    Raises:
        StackError: It failed; the message ends with the builder's last lines.
    """
    began = spoke = time.monotonic()
    log = BuildLog()
    with Child(compose.start("build")) as child:
        while not child.ended:
            for line in child.lines(0.5):
                now = time.monotonic()
                ended = log.read(line, now)
                if ended and not terminal.live:
                    terminal.say(f"  {duration(now - began):>6}  {ended}")
                    spoke = now
            now = time.monotonic()
            told = log.current.told if log.current else "reading the context"
            if terminal.live:
                terminal.stream.write(f"\r\x1b[2K  … Image  {duration(now - began)}  {told}"[: size().columns + 4])
                terminal.stream.flush()
            elif now - spoke >= REMINDER:
                terminal.say(f"  {duration(now - began):>6}  still at {told[:80]}")
                spoke = now
        if terminal.live:
            terminal.stream.write("\r\x1b[2K")
        if child.code != 0:
            said = [line for line in child.tail if line.strip()]
            last = "\n".join(f"  | {line}" for line in said[-SHOWN_ON_FAILURE:])
            raise StackError(
                f"the image could not be built (exit code {child.code}); the builder's last lines:\n{last}",
                hint=_hint(last),
            )
    terminal.say(f"{terminal.mark('good')} Image is built  {duration(time.monotonic() - began)}")


def _hint(log: str) -> str:
    if "no space left on device" in log.lower():
        return "free some disk: docker system df, docker system prune"
    if re.search("certificate|could not resolve|timeout|connection refused|temporary failure", log, re.IGNORECASE):
        return "the build needs the network; behind a proxy, tell Docker about it and about its certificates"
    return "all of the builder's output: docker compose build --progress plain"
