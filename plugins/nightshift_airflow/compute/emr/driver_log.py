"""What the driver of a failed step said last, from the logs that EMR copies to S3 minutes later."""

from __future__ import annotations

import gzip
import re
import time
import zlib

from nightshift.errors import NightshiftError
from nightshift_airflow.compute.emr.account import Account
from nightshift_airflow.compute.emr.packages import get

NAMES = ("stderr.gz", "stdout.gz")
MOST_LINES = 40
# What Spark says of its own progress.
NOISE = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (INFO|DEBUG|TRACE) |^SLF4J: |^WARNING: |^\s*$")
POLL = 5.0


def folder_of(log_uri: str, cluster_id: str, step_id: str) -> str:
    """Where EMR puts the logs of a step."""
    return f"{log_uri}/{cluster_id}/steps/{step_id}"


def last_words(account: Account, folder: str, *, wait_s: float) -> list[str]:
    """The last lines of the driver that are no noise; empty if no log has come.

    Args:
        account: The account.
        folder: The step's logs.
        wait_s: How long to wait for them.
    """
    deadline = time.monotonic() + wait_s
    try:
        while True:
            found = {name: data for name in NAMES if (data := get(account, f"{folder}/{name}")) is not None}
            if found or time.monotonic() >= deadline:
                return [f"{name.removesuffix('.gz')}: {line}" for name, data in found.items() for line in _tail(data)]
            time.sleep(min(POLL, max(0.0, deadline - time.monotonic())))
    except NightshiftError as error:
        return [f"the logs cannot be read: {error.message}"]


def _tail(data: bytes) -> list[str]:
    try:
        text = gzip.decompress(data).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return ["this log is damaged"]
    return [line for line in text.splitlines() if not NOISE.match(line)][-MOST_LINES:]
