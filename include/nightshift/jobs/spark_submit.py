"""Starts a stage on a Spark cluster: ``python -m nightshift.jobs.spark_submit``, in place of ``nightshift.jobs``.

Takes the same arguments, prepares what ``spark-submit`` needs (the code archive, settings, log format) in the
job's own temporary folder, and becomes ``spark-submit``. So whoever guards this process guards the driver, and
everything about Spark and Java is found out by the interpreter that has them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from nightshift.errors import JobError, NightshiftError
from nightshift.jobs.archive import build
from nightshift.jobs.runner import refuse
from nightshift.jobs.submitted import entry
from nightshift.settings import Settings, require_master
from nightshift.spark.configuration import LOG4J, LOG4J_FILE, submitted
from nightshift.spark.session import FOREIGN_VARIABLES, variables

DRIVER_HOST = "NIGHTSHIFT_SPARK_DRIVER_HOST"
EVERYWHERE = "0.0.0.0"  # noqa: S104 (where the cluster knows this machine by another name than it does itself)
CONNECT_SECONDS = 5
MASTER_SECONDS = 45
PAUSE = 1.0


class Submission(NamedTuple):
    """A program with its arguments, and its environment."""

    command: list[str]
    environment: dict[str, str]


def main(argv: list[str]) -> int:
    """Become ``spark-submit``; gives an exit status only if that cannot be."""
    try:
        submission = prepare(argv, Settings.from_environment(), Path(tempfile.mkdtemp(prefix="nightshift-submit-")))
        _become(submission)
    except NightshiftError as error:
        return refuse(argv, error)


def prepare(argv: list[str], settings: Settings, folder: Path) -> Submission:
    """Write what ``spark-submit`` needs into a folder; gives its command line, which holds no secret.

    Raises:
        SettingsError: There is no Java, no address of a cluster, or a variable cannot be used.
        JobError: The cluster cannot be reached.
    """
    master = require_master(settings.spark_master, "this job runs on a Spark cluster")
    own = address_towards(master)
    host = os.environ.get(DRIVER_HOST) or own
    scratch = folder / "spark"
    scratch.mkdir()
    properties = submitted(scratch, host=host, bind=own if host == own else EVERYWHERE)
    (scratch / LOG4J_FILE).write_text(LOG4J)
    (folder / "spark.properties").write_text(_properties_text(properties))
    (folder / "job.py").write_text(entry("standalone"))
    wanted = variables(scratch, address=properties["spark.driver.bindAddress"])
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    # Safe path: the folder of job.py, where Spark unpacks things, is not where modules come from.
    environment |= {**wanted, "PYTHONSAFEPATH": "1"}
    command = [
        str(Path(wanted["SPARK_HOME"], "bin", "spark-submit")),
        *("--master", master),
        *("--deploy-mode", "client"),
        *("--properties-file", str(folder / "spark.properties")),
        *("--py-files", str(build(folder))),
        str(folder / "job.py"),
        *argv,
    ]
    return Submission(command, environment)


def address_towards(master: str) -> str:
    """The address of this machine by which it reaches the cluster, and the cluster reaches it.

    Args:
        master: ``spark://host:port``, with more of them after commas.

    Raises:
        JobError: No master can be reached.
    """
    places = [place.rpartition(":") for place in master.removeprefix("spark://").split(",")]
    deadline = time.monotonic() + MASTER_SECONDS
    while True:
        for host, _, port in places:
            try:
                with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
                    return str(ipaddress.ip_address(connection.getsockname()[0]))
            except OSError as failure:
                error = failure
        if time.monotonic() >= deadline:
            raise JobError(
                f"the Spark master {master} cannot be reached: {error.strerror or error}.",
                hint="is it running, and is NIGHTSHIFT_SPARK_MASTER its address as seen from here?",
            )
        time.sleep(PAUSE)


def _properties_text(properties: Mapping[str, str]) -> str:
    """As Java reads properties: backslashes doubled, everything beyond ASCII escaped."""
    lines = (f"{name}={value}\n".replace("\\", "\\\\") for name, value in sorted(properties.items()))
    return "".join(letter if letter.isascii() else _escaped(letter) for line in lines for letter in line)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _become(submission: Submission) -> NoReturn:
    """Raises JobError: ``spark-submit`` cannot be started."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(submission.command[0], submission.command, submission.environment)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        raise JobError(
            f"{submission.command[0]} cannot be started: {error.strerror}.",
            hint="it comes with the package pyspark; is that installed whole in the environment of jobs?",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
