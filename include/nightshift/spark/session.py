"""A Spark session for the length of a ``with`` block: on this machine, or on the cluster that a job was submitted to.

On this machine the JVM belongs to the session. It ends with it, and also when this process is killed: its
standard input is a pipe from here, and Spark's launcher exits at the end of that pipe.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import JobError
from nightshift.java import find_java
from nightshift.settings import Settings
from nightshift.spark import s3a
from nightshift.spark.cluster import Watch, prepare_events
from nightshift.spark.configuration import (
    JVM_FLAGS,
    LOG4J,
    LOG4J_FILE,
    LOOPBACK,
    MEMORY,
    QUICK_COMPILER,
    configuration,
    on_cluster,
    on_emr,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

JVM_EXIT_SECONDS = 20
GONE_SECONDS = 1.0

# What a user's shell may hold for another Spark, and would silently change this one.
FOREIGN_VARIABLES = (
    "HADOOP_CONF_DIR",
    "PYSPARK_DRIVER_PYTHON_OPTS",
    "PYSPARK_GATEWAY_PORT",
    "PYSPARK_GATEWAY_SECRET",
    "PYSPARK_SUBMIT_ARGS",
    "SPARK_CONF_DIR",
    "SPARK_CONNECT_MODE",
    "SPARK_REMOTE",
    "SPARK_SUBMIT_OPTS",
    "SPARK_TESTING",
    "YARN_CONF_DIR",
)

Submitted = Literal["standalone", "emr"]
_submitted: list[Submitted] = []


def use_submitted(cluster: Submitted) -> None:
    """Say that ``spark-submit`` started this process: sessions use its JVM and the cluster that it names.

    Nothing else may be concluded from: the environment of a shell inside a notebook looks the same.

    Args:
        cluster: What kind of cluster it is.
    """
    _submitted.append(cluster)


def submitted_to() -> Submitted | None:
    """The kind of cluster that this process was submitted to; None on a machine of its own."""
    return _submitted[-1] if _submitted else None


@contextmanager
def session(
    app: str, *, threads: int, scratch: Path, rows: int = 0, storage: str | None = None
) -> Iterator[SparkSession]:
    """A Spark session for the length of a ``with`` block.

    Where the process has a session already, the block gets one of its own on the same JVM: its own views
    and settings, the threads of the first. Only the block that started Spark ends it.

    Args:
        app: Name of the application.
        threads: How many tasks run at once on one machine; everywhere, how many portions data is shuffled in.
        scratch: Folder for Spark's temporary files.
        rows: About how many rows it will work on; decides how hard the JVM optimises.
        storage: Root URI of the store that is read and written; by default that of the settings.

    Raises:
        SettingsError: There is no Java, a setting cannot be used, or a library for S3 is missing.
        JobError: The JVM did not start, or the cluster did not answer, had no room, or ended the application.
    """
    from pyspark.logger import PySparkLogger
    from pyspark.sql import SparkSession

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints every error it raises, with the JVM's stack, as one line of JSON.
        PySparkLogger.getLogger(name).disabled = True
    running = SparkSession.getActiveSession()
    if running is not None:
        yield running.newSession()
        return
    start = _on_cluster if _submitted else _on_this_machine
    with start(app, threads=threads, scratch=scratch, rows=rows, storage=storage) as started:
        yield started


@contextmanager
def _on_this_machine(
    app: str, *, threads: int, scratch: Path, rows: int, storage: str | None
) -> Iterator[SparkSession]:
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    began = time.monotonic()
    chosen = configuration(app, threads=threads, scratch=scratch, rows=rows, storage=storage)
    started = _start(SparkSession, chosen, scratch)
    try:
        if "spark.sql.sources.commitProtocolClass" in chosen:
            s3a.require_jars(started.sparkContext._jvm)
        log.info("Spark %s session in %.1f s", started.version, time.monotonic() - began)
        yield started
    except (Py4JError, ConnectionError, JobError) as error:
        if _ended(SparkContext._gateway) and not isinstance(error, JobError):
            raise JobError(
                "Spark's JVM ended while it worked.",
                hint=f"where the machine ran out of memory, {MEMORY} and NIGHTSHIFT_THREADS make it take less",
            ) from error
        raise
    finally:
        _end(started)


@contextmanager
def _on_cluster(app: str, *, threads: int, scratch: Path, rows: int, storage: str | None) -> Iterator[SparkSession]:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    began = time.monotonic()
    settings = Settings.from_environment()
    configure = on_emr if _submitted[-1] == "emr" else on_cluster
    chosen = configure(app, threads=threads, scratch=scratch, rows=rows, storage=storage, settings=settings)
    SparkContext._ensure_initialized()
    if any(name.startswith("spark.hadoop.fs.s3a") for name in chosen):
        s3a.require_jars(SparkContext._jvm)
    if configure is on_cluster:
        prepare_events(settings.spark_events)
    try:
        started = SparkSession.builder.config(map=chosen).getOrCreate()
    except Exception as error:
        raise JobError(
            f"the Spark cluster {settings.spark_master or 'of EMR'} did not take the application: {_reason(error)}",
            hint="Spark's own lines are in the log above; is it the same Spark on both sides, and the same secret?",
        ) from error
    log.info(
        "Spark application %s on %s, Spark %s, in %.1f s",
        started.sparkContext.applicationId,
        started.sparkContext.master,
        started.version,
        time.monotonic() - began,
    )
    try:
        # On EMR executors come and go with the work: to have none is no sign of anything.
        with Watch(started) if configure is on_cluster else nullcontext():
            yield started
    finally:
        started.stop()


def _reason(error: Exception) -> str:
    """The first line of the innermost Java exception, or of the error itself."""
    java: Any = getattr(error, "java_exception", None)
    while java is not None and java.getCause() is not None:
        java = java.getCause()
    text = java.getMessage() if java is not None else str(error)
    return (str(text or error).strip().splitlines() or [type(error).__name__])[0]


def _start(builder_of: type[SparkSession], settings: Mapping[str, str], scratch: Path) -> SparkSession:
    from pyspark.errors import PySparkRuntimeError

    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / LOG4J_FILE).write_text(LOG4J)
    with _environment(variables(scratch, address=LOOPBACK)):
        try:
            return builder_of.builder.config(map=dict(settings)).getOrCreate()
        except PySparkRuntimeError as error:
            raise JobError(
                f"Spark's JVM did not start: {str(error).splitlines()[0]}",
                hint=f"its own words are in the log above; is there less memory than {settings['spark.driver.memory']} "
                f"({MEMORY})? `nightshift doctor` checks Java",
            ) from error


def variables(scratch: Path, *, address: str) -> dict[str, str]:
    """The environment in which the driver's JVM starts.

    Args:
        scratch: Folder for its temporary files.
        address: Address of this machine that it listens on.

    Raises:
        SettingsError: There is no Java, or no pyspark in this environment.
    """
    import pyspark

    java = find_java()
    log.debug("Java %s from %s: %s", java.version, java.origin, java.home)
    return {
        "JAVA_HOME": str(java.home),
        "LC_ALL": "C.UTF-8",  # without it Java 17 cannot name files beyond ASCII
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LAUNCHER_OPTS": " ".join((*JVM_FLAGS, QUICK_COMPILER)),
        "SPARK_LOCAL_IP": address,
    }


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set these variables and hide foreign ones, for the length of the block."""
    before = dict(os.environ)
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in {*wanted, *FOREIGN_VARIABLES}:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _ended(gateway: Any) -> bool:
    """Whether the JVM is gone. Its connections end before its process does, so it gets a moment."""
    try:
        gateway.proc.wait(timeout=GONE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(started: SparkSession) -> None:
    """Stop Spark and its JVM, so that nothing is left that uses the scratch folder or memory."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway: Any = SparkContext._gateway
    if gateway.proc.poll() is not None:
        started.sparkContext._jsc = None  # nothing is left that could be stopped
        started.sparkContext.stop()
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        with suppress(Py4JError, ConnectionError):
            gateway.shutdown()
    else:
        started.stop()
        gateway.shutdown()
    SparkContext._gateway = None
    SparkContext._jvm = None
    process: subprocess.Popen[bytes] = gateway.proc
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=JVM_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("Spark's JVM (process %d) did not end by itself; killed", process.pid)
        process.kill()
        process.wait()
