"""A real Spark standalone cluster on this machine: one master and some workers, from the installed pyspark.

Every daemon runs below ``nightshift.jobs.guard``, which adopts what a daemon starts (executors, their Python
processes) and ends it with the daemon, and ends the daemon with the test process, however that dies.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pyspark

from nightshift.java import find_java
from nightshift.jobs import guard

T = TypeVar("T")
HOST = "127.0.0.1"
SPARK_HOME = Path(pyspark.__file__).parent
SECRET = "_SPARK_AUTH_SECRET"
START_SECONDS = 90
STOP_SECONDS = 20
DAEMON_FLAGS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Dspark.authenticate=true"
# What a developer's shell may hold for another Spark.
FOREIGN = re.compile(r"(SPARK|PYSPARK|HADOOP|YARN)_|_JAVA_OPTIONS$|JAVA_TOOL_OPTIONS$")


@dataclass
class Daemon:
    """A master or a worker.

    Attributes:
        name: ``master``, ``worker-1``, …
        process: The guard that the daemon runs below.
        log: What the daemon says.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self, pattern: str) -> str | None:
        """The first group of the pattern, where the log has it."""
        match = re.search(pattern, self.log.read_text(errors="replace"))
        return match[1] if match else None

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """``kill -9`` the daemon and everything that it started, at once."""
        victims = psutil.Process(self.process.pid).children(recursive=True) if self.alive else []
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(STOP_SECONDS)  # the guard collects the rest and ends

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class SparkCluster:
    """A running cluster.

    Attributes:
        folder: Logs and work folders.
        cores: Cores of a worker, where nothing else is asked for.
        memory: Memory that a worker gives to executors, likewise.
        secret: What every side of an RPC connection must know.
        url: ``spark://127.0.0.1:PORT``.
        ui: The master's page, ``http://127.0.0.1:PORT``.
    """

    folder: Path
    cores: int = 1
    memory: str = "1g"
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    url: str = ""
    ui: str = ""
    daemons: list[Daemon] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a program needs to use the cluster as ``compute.target: standalone``."""
        return {
            SECRET: self.secret,
            "NIGHTSHIFT_COMPUTE": "standalone",
            "NIGHTSHIFT_SPARK_MASTER": self.url,
            "NIGHTSHIFT_SPARK_UI": self.ui,
        }

    @property
    def workers(self) -> list[Daemon]:
        """Those that live."""
        return [daemon for daemon in self.daemons if daemon.alive and daemon.name != "master"]

    def state(self) -> dict[str, Any]:
        """What the master says about itself."""
        with urllib.request.urlopen(f"{self.ui}/json/", timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def registered(self) -> int:
        """Workers that the master counts as alive."""
        return sum(worker["state"] == "ALIVE" for worker in self.state()["workers"])

    def applications(self, *, completed: bool = False) -> list[dict[str, Any]]:
        """Running applications, with ``id``, ``name``, ``cores``, ``state``; or those that have ended."""
        found: list[dict[str, Any]] = self.state()["completedapps" if completed else "activeapps"]
        return found

    def start_master(self) -> None:
        """Start the master on free ports and wait for its page."""
        master = self._start("master", "org.apache.spark.deploy.master.Master", "--port", "0", "--webui-port", "0")
        self.url = wait_for(lambda: master.said(r"Starting Spark master at (spark://\S+)"), master)
        self.ui = wait_for(lambda: master.said(r"Bound MasterWebUI to .* started at (http://\S+)"), master)

    def add_worker(self, *, cores: int | None = None, memory: str | None = None, wait: bool = True) -> Daemon:
        """Start one more worker.

        Args:
            cores: Its cores.
            memory: What it gives to executors, such as ``1g``.
            wait: Until the master has registered it.
        """
        number = 1 + sum(daemon.name != "master" for daemon in self.daemons)
        worker = self._start(
            f"worker-{number}", "org.apache.spark.deploy.worker.Worker", "--port", "0", "--webui-port", "0",
            "-c", str(cores or self.cores), "-m", memory or self.memory, "-d", str(self.folder / f"worker-{number}"), self.url,
        )  # fmt: skip
        if wait:
            self.wait_registered(worker)
        return worker

    def wait_registered(self, worker: Daemon) -> None:
        wait_for(lambda: worker.said(r"(Successfully registered with master)"), worker)

    def kill_worker(self, worker: Daemon | None = None) -> Daemon:
        """``kill -9`` a worker, by default the first, with its executors and their Python processes."""
        victim = worker or self.workers[0]
        victim.kill()
        return victim

    def stop(self) -> None:
        """End everything."""
        for daemon in self.daemons:
            daemon.process.terminate()
        for daemon in self.daemons:
            daemon.stop()

    def _start(self, name: str, program: str, *arguments: str) -> Daemon:
        work = self.folder / name
        work.mkdir(parents=True)
        log = self.folder / f"{name}.log"
        own = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(work)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*own, str(SPARK_HOME / "bin" / "spark-class"), program, "--host", HOST, *arguments],
                cwd=work,
                env=self._variables(work),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        daemon = Daemon(name, process, log)
        self.daemons.append(daemon)
        return daemon

    def _variables(self, work: Path) -> Mapping[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not FOREIGN.match(name)},
            SECRET: self.secret,
            "JAVA_HOME": str(find_java().home),
            "LC_ALL": "C.UTF-8",
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_CONF_DIR": str(work),
            "SPARK_DAEMON_JAVA_OPTS": DAEMON_FLAGS,
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LAUNCHER_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "SPARK_LOCAL_DIRS": str(work),
            "SPARK_LOCAL_IP": HOST,
            # A dead worker is missed after 15 s instead of a minute.
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false -Dspark.worker.timeout=15",
            "SPARK_NO_DAEMONIZE": "1",
            "SPARK_PUBLIC_DNS": HOST,
            "SPARK_WORKER_OPTS": "-Dspark.worker.timeout=15",
        }


@contextmanager
def spark_cluster(folder: Path, *, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[SparkCluster]:
    """A cluster for the length of a ``with`` block; it is up, with every worker registered, when the block begins.

    Args:
        folder: Where its logs and work folders may lie.
        workers: How many.
        cores: Of each.
        memory: That each gives to executors.
    """
    cluster = SparkCluster(folder, cores, memory)
    try:
        cluster.start_master()
        for worker in [cluster.add_worker(wait=False) for _ in range(workers)]:
            cluster.wait_registered(worker)
        yield cluster
    finally:
        cluster.stop()


def wait_for(find: Callable[[], T | None], daemon: Daemon, *, seconds: float = START_SECONDS) -> T:
    """What ``find`` gives, as soon as it gives something.

    Raises:
        AssertionError: The daemon ended, or it took too long; with the tail of the daemon's log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = find()
        except (urllib.error.URLError, TimeoutError):
            found = None
        if found:
            return found
        assert daemon.alive, f"{daemon.name} ended:\n{daemon.tail()}"
        assert time.monotonic() < deadline, f"{daemon.name} is not ready after {seconds} s:\n{daemon.tail()}"
        time.sleep(0.1)
