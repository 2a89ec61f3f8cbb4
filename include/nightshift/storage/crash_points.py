"""Named points at which a test may kill the process, to prove that readers never see half of anything.

``NIGHTSHIFT_CRASH_AT=before_publish`` kills at that point of whatever dataset comes first;
``NIGHTSHIFT_CRASH_AT=train:before_publish`` only where the dataset ``train`` is written. Moving the champion has
points of its own, ``LEDGER_POINTS``: for example ``ledger:after_entry`` and ``roles:mid_aliases``; so has deleting,
``RETENTION_POINTS``: ``retention:before_removal``; and training that leaves checkpoints, ``train:after_checkpoint``.
"""

from __future__ import annotations

import os
import signal

from nightshift.errors import SettingsError

POINTS = ("start", "mid_write", "before_manifest", "before_publish", "after_publish")
LEDGER_POINTS = ("before_entry", "after_entry", "before_aliases", "mid_aliases", "after_aliases")
RETENTION_POINTS = ("before_removal", "mid_removal")
TRAINING_POINTS = ("after_checkpoint",)
ALL_POINTS = (*POINTS, *LEDGER_POINTS, *RETENTION_POINTS, *TRAINING_POINTS)
VARIABLE = "NIGHTSHIFT_CRASH_AT"


def crash_point(name: str, dataset: str) -> None:
    """Kill this process with SIGKILL if ``NIGHTSHIFT_CRASH_AT`` names this point.

    Args:
        name: One of ``ALL_POINTS``.
        dataset: What is being written here.

    Raises:
        SettingsError: The variable names no point there is, so the crash that was asked for would never come.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    where, _, point = wanted.rpartition(":")
    if point not in ALL_POINTS:
        raise SettingsError(
            f"{VARIABLE} is {wanted!r}, which is no crash point.",
            hint=f"use POINT or DATASET:POINT, with POINT one of {', '.join(ALL_POINTS)}; unset it outside of tests",
        )
    if point == name and where in ("", dataset):
        os.kill(os.getpid(), signal.SIGKILL)
