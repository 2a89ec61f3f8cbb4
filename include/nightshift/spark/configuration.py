"""Every setting of Spark, in three groups: what results depend on, what one machine needs, what a cluster needs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from nightshift.errors import SettingsError
from nightshift.settings import Settings
from nightshift.spark import s3a

MEMORY = "NIGHTSHIFT_SPARK_MEMORY"
EXECUTOR_MEMORY = "NIGHTSHIFT_SPARK_EXECUTOR_MEMORY"
MEMORY_FORM = re.compile(r"[1-9]\d*[mg]")
AUTH_SECRET = "_SPARK_AUTH_SECRET"  # noqa: S105 (the name that Spark gives the variable)
LOOPBACK = "127.0.0.1"
LOG4J_FILE = "log4j2.properties"

JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dfile.encoding=UTF-8")
# A short job is mostly start-up. The JVM's optimising compiler takes longer than it saves until about here
# (measured: 19 s of processor time instead of 33 for 70,000 rows, about even at 340,000).
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
QUICK_UP_TO_ROWS = 250_000

# A barrier stage that the cluster has no room for fails after a minute, not after ten.
BARRIER = {
    "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "5s",
    "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "12",
}

# The form of the job's own log lines; Spark's multi-line messages are folded, stack traces are left out
# because the error that reaches Python has them.
LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.target = SYSTEM_OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = \
%d{HH:mm:ss}{UTC} %p{WARN=WARNING, FATAL=CRITICAL} spark: %replace{%m}{\\s*[\\r\\n]+\\s*}{ | }%ex{none}%n
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.metrics.name = org.apache.hadoop.metrics2
logger.metrics.level = error
logger.truncated.name = org.apache.spark.util.SparkStringUtils
logger.truncated.level = error
logger.window.name = org.apache.spark.sql.execution.window.WindowExec
logger.window.level = error
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = off
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
logger.ending.name = org.apache.spark.scheduler.cluster
logger.ending.level = error
logger.late.name = org.apache.spark.rpc.netty.Dispatcher
logger.late.level = error
logger.blas.name = dev.ludovic.netlib
logger.blas.level = error
"""


def configuration(
    app: str, *, threads: int, scratch: Path, rows: int = 0, storage: str | None = None
) -> dict[str, str]:
    """Every setting of a session on this machine; for the arguments see ``session``.

    Raises:
        SettingsError: A variable cannot be used.
    """
    return {
        **_shared(app, threads=threads, scratch=scratch, storage=storage),
        "spark.master": f"local[{threads}]",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.memory": memory(MEMORY, "2g"),
        "spark.driver.extraJavaOptions": java_options(scratch, rows=rows),
        "spark.ui.enabled": "false",
    }


def on_cluster(
    app: str, *, threads: int, scratch: Path, rows: int, storage: str | None, settings: Settings
) -> dict[str, str]:
    """Every setting of a session on a cluster but those of ``submitted``, which the driver's JVM began with.

    Raises:
        SettingsError: A variable cannot be used.
    """
    chosen = {
        **_shared(app, threads=threads, scratch=scratch, storage=storage),
        # As many as on one machine, so that both read and shuffle in the same portions.
        "spark.default.parallelism": str(threads),
        "spark.executor.memory": memory(EXECUTOR_MEMORY, "1g"),
        "spark.executor.extraJavaOptions": " ".join((*JVM_FLAGS, *_compiler(rows))),
        "spark.dynamicAllocation.enabled": "false",
        **BARRIER,
        "spark.network.timeout": "60s",
        "spark.executor.heartbeatInterval": "10s",
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
        "spark.ui.killEnabled": "false",
    }
    if settings.spark_ui:
        # Whoever looks at the cluster through the master's page gets the application's through it too.
        chosen["spark.ui.reverseProxy"] = "true"
        chosen["spark.ui.reverseProxyUrl"] = settings.spark_ui
    if settings.spark_cores:
        chosen["spark.cores.max"] = str(settings.spark_cores)
    if settings.spark_events:
        chosen["spark.eventLog.enabled"] = "true"
        chosen["spark.eventLog.dir"] = s3a.path(settings.spark_events)
        chosen["spark.eventLog.compress"] = "true"
        if settings.spark_events.startswith("s3"):
            chosen.update(s3a.access())
    if secret := os.environ.get(AUTH_SECRET):
        # Spark's driver takes it from nowhere else. It stays in memory: not in a file, nor on a command line.
        chosen["spark.authenticate.secret"] = secret
    return chosen


def on_emr(
    app: str, *, threads: int, scratch: Path, rows: int, storage: str | None, settings: Settings
) -> dict[str, str]:
    """Settings of a session on EMR: what results depend on. How large an executor is and how many there are, how
    S3 is read and written, what is logged where: EMR's own settings know its machines better.

    Raises:
        SettingsError: A variable cannot be used.
    """
    chosen = _results(app, threads=threads, scratch=scratch)
    root = storage or settings.storage
    if s3a.is_elsewhere():
        chosen |= s3a.settings() if root.startswith("s3") else {}
    return {**chosen, "spark.default.parallelism": str(threads), **BARRIER, "spark.ui.killEnabled": "false"}


def submitted(scratch: Path, *, host: str, bind: str) -> dict[str, str]:
    """What the JVM of a driver must know before it starts; it is written to a file, so no secret is in it.

    Raises:
        SettingsError: ``NIGHTSHIFT_SPARK_MEMORY`` is not an amount of memory.
    """
    return {
        "spark.driver.host": host,
        "spark.driver.bindAddress": bind,
        "spark.driver.memory": memory(MEMORY, "2g"),
        "spark.driver.extraJavaOptions": java_options(scratch),
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
        "spark.authenticate": str(bool(os.environ.get(AUTH_SECRET))).lower(),
    }


def _shared(app: str, *, threads: int, scratch: Path, storage: str | None) -> dict[str, str]:
    """What results depend on, and how a store is reached by whoever looks after Spark himself."""
    root = storage or Settings.from_environment().storage
    return {
        **_results(app, threads=threads, scratch=scratch),
        **(s3a.settings() if root.startswith("s3") else {}),
    }


def _results(app: str, *, threads: int, scratch: Path) -> dict[str, str]:
    """What results depend on, and what is the same wherever the session is."""
    return {
        "spark.app.name": app,
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


def java_options(scratch: Path, *, rows: int = 0) -> str:
    """Options of the JVM that the driver is in."""
    options = [
        *JVM_FLAGS,
        *_compiler(rows),
        f"-Djava.io.tmpdir={scratch}",
        f"-Dderby.system.home={scratch}",
        f"-Dlog4j2.configurationFile={scratch / LOG4J_FILE}",
    ]
    return " ".join(f'"{option}"' if " " in option else option for option in options)


def _compiler(rows: int) -> tuple[str, ...]:
    return (QUICK_COMPILER,) if rows <= QUICK_UP_TO_ROWS else ()


def memory(variable: str, default: str) -> str:
    """Raises SettingsError: The variable is not an amount of memory."""
    amount = os.environ.get(variable) or default
    if not MEMORY_FORM.fullmatch(amount):
        raise SettingsError(f"{variable} is {amount!r}.", hint="use a number with m or g, such as 2g or 1500m")
    return amount
