"""A job's output in the task's log."""

from __future__ import annotations

import logging
import re

log = logging.getLogger(__name__)

# Airflow puts a time and a level on every line itself.
_JOB_LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


class TaskLog:
    """Takes the lines of a job one by one and logs each with the level that the job gave it.

    A line without a level belongs to the one before: the traceback below an error is an error.
    """

    def __init__(self) -> None:
        self._level = logging.INFO

    def __call__(self, line: str) -> None:
        match = _JOB_LINE.fullmatch(line)
        if match is None:
            log.log(self._level if self._level >= logging.ERROR else logging.INFO, "%s", line)
            return
        self._level = logging.getLevelNamesMapping()[match[1]]
        log.log(self._level, "%s", match[2])
