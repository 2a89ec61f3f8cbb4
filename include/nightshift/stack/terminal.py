"""Plain text for people: marks, aligned columns, and colour only where somebody sees it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from nightshift.errors import NightshiftError

COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
MARKS = {"good": ("✓", "green"), "bad": ("✗", "red"), "odd": ("!", "yellow"), "idle": ("·", "dim"), "busy": ("…", "")}
PLAIN = {"✓": "+", "✗": "x", "·": "-", "…": "~", "–": "-"}


class Terminal:
    """Where lines go.

    Args:
        stream: Standard output, or what a test reads.

    Attributes:
        live: Whether lines can be rewritten in place.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._coloured = self.live and not os.environ.get("NO_COLOR")

    def say(self, text: str = "") -> None:
        """One line, or more, at once: output of a build or a CI is read while it grows."""
        self.stream.write(self._encodable(text) + "\n")
        self.stream.flush()

    def rewrite(self, lines: Sequence[str], before: int) -> None:
        """Put lines in the place of the ``before`` last ones."""
        up = f"\x1b[{before}A" if before else ""
        self.stream.write(up + "".join(f"\x1b[2K{self._encodable(line)}\n" for line in lines) + "\x1b[J")
        self.stream.flush()

    def colour(self, text: str, name: str) -> str:
        return f"\x1b[{COLOURS[name]}m{text}\x1b[0m" if self._coloured and name else text

    def mark(self, kind: str) -> str:
        sign, colour = MARKS[kind]
        return self.colour(sign, colour)

    def fail(self, error: NightshiftError) -> None:
        """An error and what to do about it."""
        self.say(f"{self.colour('Error:', 'red')} {error.message}")
        if error.hint:
            self.say(f"{self.colour('Hint:', 'red')} {error.hint}")

    def _encodable(self, text: str) -> str:
        try:
            text.encode(self.stream.encoding or "utf-8")
        except UnicodeEncodeError:
            for sign, plain in PLAIN.items():
                text = text.replace(sign, plain)
            text = text.encode("ascii", "replace").decode()
        return text


def size() -> os.terminal_size:
    return shutil.get_terminal_size((100, 24))


def columns(rows: Sequence[Sequence[str]], *, gap: int = 3, right: Sequence[int] = ()) -> list[str]:
    """Rows as aligned lines; the columns named by ``right`` are aligned at their right side."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def duration(seconds: float) -> str:
    """``41 s`` or ``3 min 05 s``."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


def size_of(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
