"""The one Spark session factory: same settings everywhere, so that a night gives the same bytes everywhere.

The JVM belongs to the session. It ends with it, and also when this process is killed: its standard input
is a pipe from here, and Spark's launcher exits at the end of that pipe.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import JobError, SettingsError
from nightshift.java import find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

MEMORY = "NIGHTSHIFT_SPARK_MEMORY"
MEMORY_FORM = re.compile(r"[1-9]\d*[mg]")
LOOPBACK = "127.0.0.1"
JVM_EXIT_SECONDS = 20

# What a user's shell may hold for another Spark, and would silently change this one.
FOREIGN_VARIABLES = (
    "HADOOP_CONF_DIR",
    "PYSPARK_GATEWAY_PORT",
    "PYSPARK_SUBMIT_ARGS",
    "SPARK_CONF_DIR",
    "SPARK_CONNECT_MODE",
    "SPARK_REMOTE",
    "SPARK_TESTING",
    "YARN_CONF_DIR",
)

JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dfile.encoding=UTF-8")
# A short job is mostly start-up. The JVM's optimising compiler takes longer than it saves until about here
# (measured: 19 s of processor time instead of 33 for 70,000 rows, about even at 340,000).
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
QUICK_UP_TO_ROWS = 250_000

# The form of the job's own log lines; Spark's multi-line messages are folded, stack traces are left out
# because the error that reaches Python has them.
LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.target = SYSTEM_OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss}{UTC} %p spark: %replace{%m}{\\s*[\\r\\n]+\\s*}{ | }%ex{none}%n
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.truncated.name = org.apache.spark.util.SparkStringUtils
logger.truncated.level = error
logger.window.name = org.apache.spark.sql.execution.window.WindowExec
logger.window.level = error
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = off
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
"""


@contextmanager
def session(app: str, *, threads: int, scratch: Path, rows: int = 0) -> Iterator[SparkSession]:
    """A Spark session on this machine, for the length of a ``with`` block.

    Where the process has a session already, the block gets one of its own on the same JVM: its own views
    and settings, the threads of the first. Only the block that started the JVM ends it.

    Args:
        app: Name of the application.
        threads: How many tasks run at once.
        scratch: Folder for Spark's temporary files.
        rows: About how many rows it will work on; decides how hard the JVM optimises.

    Raises:
        SettingsError: There is no Java, or a setting cannot be used.
        JobError: The JVM did not start.
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
    began = time.monotonic()
    started = _start(SparkSession, configuration(app, threads=threads, scratch=scratch, rows=rows), scratch)
    log.info("Spark %s session in %.1f s", started.version, time.monotonic() - began)
    try:
        yield started
    finally:
        _end(started)


def configuration(app: str, *, threads: int, scratch: Path, rows: int = 0) -> dict[str, str]:
    """Every setting of a local session.

    Raises:
        SettingsError: ``NIGHTSHIFT_SPARK_MEMORY`` is not an amount of memory.
    """
    memory = os.environ.get(MEMORY) or "2g"
    if not MEMORY_FORM.fullmatch(memory):
        raise SettingsError(f"{MEMORY} is {memory!r}.", hint="use a number with m or g, such as 2g or 1500m")
    logging_file = scratch / "log4j2.properties"
    options = [
        *JVM_FLAGS,
        *([QUICK_COMPILER] if rows <= QUICK_UP_TO_ROWS else []),
        f"-Djava.io.tmpdir={scratch}",
        f"-Dderby.system.home={scratch}",
        f"-Dlog4j2.configurationFile={logging_file}",
    ]
    return {
        "spark.app.name": app,
        "spark.master": f"local[{threads}]",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.memory": memory,
        "spark.driver.extraJavaOptions": " ".join(f'"{option}"' if " " in option else option for option in options),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.pyspark.python": sys.executable,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.variable.substitute": "false",
        "spark.sql.shuffle.partitions": str(threads),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.parquet.compression.codec": "zstd",
        # A night reads one file per day: listing them here is faster than a Spark job that lists them.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
        # Nothing reads an attempt before its manifest, so files may appear in place at once.
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


def _start(builder_of: type[SparkSession], settings: Mapping[str, str], scratch: Path) -> SparkSession:
    from pyspark.errors import PySparkRuntimeError

    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "log4j2.properties").write_text(LOG4J)
    with _environment(_variables(scratch)):
        try:
            return builder_of.builder.config(map=dict(settings)).getOrCreate()
        except PySparkRuntimeError as error:
            raise JobError(
                f"Spark's JVM did not start: {str(error).splitlines()[0]}",
                hint=f"its own words are in the log above; is there less memory than {settings['spark.driver.memory']} "
                f"({MEMORY})? `nightshift doctor` checks Java",
            ) from error


def _variables(scratch: Path) -> dict[str, str]:
    """The environment in which the JVM starts."""
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
        "SPARK_LOCAL_IP": LOOPBACK,
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these variables and hide foreign ones, for the length of the block."""
    before = dict(os.environ)
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in {*variables, *FOREIGN_VARIABLES}:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _end(started: SparkSession) -> None:
    """Stop Spark and its JVM, so that nothing is left that uses the scratch folder or memory."""
    from pyspark import SparkContext

    gateway: Any = SparkContext._gateway
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
