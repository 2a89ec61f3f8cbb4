"""Named points at which a test may kill the process, to prove that readers never see half of anything."""

from __future__ import annotations

import os
import signal

POINTS = ("start", "mid_write", "before_manifest", "before_publish", "after_publish")
VARIABLE = "NIGHTSHIFT_CRASH_AT"


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if ``NIGHTSHIFT_CRASH_AT`` names this point."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
