"""The README's commands, by where they can run."""

from __future__ import annotations

import re
from pathlib import Path

FENCE = re.compile(r"^```bash(?P<lane>[^\n]*)\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL)
LANES = ("clone", "stack")


def blocks(path: Path) -> dict[str, list[str]]:
    """The scripts of every ``bash`` block, by lane.

    A block that opens with "```bash" runs in a fresh clone; one that opens with "```bash stack" needs a Docker engine.
    """
    found: dict[str, list[str]] = {lane: [] for lane in LANES}
    for match in FENCE.finditer(path.read_text()):
        found[match["lane"].strip() or "clone"].append(match["script"])
    return found
