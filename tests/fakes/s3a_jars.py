"""Jars by which the double's Spark reads and writes its S3: from a folder that is named, else from Maven's central
repository, by the Ivy that comes with Spark; checked, and kept for the next time.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pyspark
from tests.fakes.aws.spark_submit import JARS

from nightshift.java import find_java

PINNED = Path(__file__).with_name("s3a_jars.sha256")
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightshift-tests"
MINUTES = 10


@cache
def s3a_jars() -> str:
    """A folder of jars, for ``NIGHTSHIFT_TEST_SPARK_JARS``."""
    if named := os.environ.get(JARS):
        return named
    folder = KEPT / f"s3a-{hashlib.sha256(PINNED.read_bytes()).hexdigest()[:16]}"
    if not folder.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as work:
            _fetch(Path(work))
            _check(Path(work, "jars"))
            if not folder.is_dir():  # another test process may have been quicker
                Path(work, "jars").rename(folder)
    _check(folder)
    return str(folder)


def pinned() -> dict[tuple[str, str, str], str]:
    """sha256 by organisation, artifact and revision."""
    lines = (line.split() for line in PINNED.read_text().splitlines() if not line.startswith("#"))
    found = {}
    for digest, name in lines:
        organisation, artifact, revision = name.split(":")
        found[organisation, artifact, revision] = digest
    return found


def _fetch(work: Path) -> None:
    wanted = "".join(
        f'<dependency org="{organisation}" name="{artifact}" rev="{revision}" conf="default->master" transitive="false"/>'
        for organisation, artifact, revision in pinned()
    )
    (work / "ivy.xml").write_text(
        f'<ivy-module version="2.0"><info organisation="t" module="t"/><configurations><conf name="default"/>'
        f"</configurations><dependencies>{wanted}</dependencies></ivy-module>"
    )
    [ivy] = Path(pyspark.__file__).parent.glob("jars/ivy-*.jar")
    command = [
        *(str(find_java(work).home / "bin" / "java"), "-cp", str(ivy), "org.apache.ivy.Main", "-warn"),
        *("-cache", str(work / "cache"), "-ivy", str(work / "ivy.xml"), "-confs", "default", "-types", "jar"),
        *("-retrieve", f"{work / 'jars'}/[artifact]-[revision].[ext]"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=MINUTES * 60)


def _check(folder: Path) -> None:
    """Raises ValueError: A jar is missing, or is not the one that was pinned."""
    for (_, artifact, revision), digest in pinned().items():
        jar = folder / f"{artifact}-{revision}.jar"
        if not jar.is_file() or hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{jar} is not what {PINNED.name} names; delete {folder} and try again")
