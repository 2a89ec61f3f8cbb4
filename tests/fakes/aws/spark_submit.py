"""What a step's ``spark-submit`` becomes on this machine: the same program, arguments and settings, with a local
master, and an environment that holds what a node of EMR gives and nothing of whoever runs the tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyspark
from tests.fakes.aws import s3_sync

from nightshift.java import find_java

JARS = "NIGHTSHIFT_TEST_SPARK_JARS"  # a folder or a list of files: hadoop-aws, the SDK's bundle, spark-hadoop-cloud
FLAGS = ("--verbose", "-v", "--supervise")
# The cluster's business, of which there is one machine here.
DROPPED = (
    *("--master", "--deploy-mode", "--queue", "--num-executors", "--executor-memory", "--executor-cores"),
    *("--driver-memory", "--driver-cores", "--total-executor-cores"),
)
DROPPED_SETTINGS = (
    *(
        "spark.master",
        "spark.submit.deployMode",
        "spark.yarn.",
        "spark.emr-serverless.",
        "spark.driver.memory",
        "spark.driver.cores",
    ),
    *("spark.executor.memory", "spark.executor.cores", "spark.executor.instances", "spark.dynamicAllocation."),
    *("spark.archives", "spark.files", "spark.driver.host", "spark.driver.bindAddress"),
)
QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # of the JVMs: to start counts, not to run for hours
YARN_VARIABLES = "spark.yarn.appMasterEnv."  # for a driver that is on the cluster
SERVERLESS_VARIABLES = "spark.emr-serverless.driverEnv."
ARCHIVE_SETTINGS = ("spark.archives", "spark.yarn.dist.archives")
SHIELD = """\
# A node of the cluster has neither the packages' source code nor whatever else is installed for development.
import sys
from pathlib import Path

BARE = {bare}
sys.meta_path[:] = [each for each in sys.meta_path if not getattr(each, "__module__", "").startswith("__editable__")]
sys.path[:] = [
    each for each in sys.path
    if not (Path(each) / "nightshift").is_dir() and not (BARE and each.endswith(("site-packages", "dist-packages")))
]
"""


@dataclass
class Submission:
    """A ``spark-submit`` as it was sent.

    Attributes:
        options: Options with a value, but for ``--conf``, in order.
        settings: What ``--conf`` set.
    """

    program: str
    arguments: list[str]
    options: list[tuple[str, str]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def on_cluster(self) -> bool:
        """Whether the driver runs on the cluster and not in the step's own process."""
        asked = dict(self.options).get("--deploy-mode") or self.settings.get("spark.submit.deployMode")
        return asked == "cluster"

    def listed(self, option: str, *settings: str) -> list[str]:
        """Items of a list that an option and settings hold, commas between them."""
        texts = [value for name, value in self.options if name == option]
        texts += [self.settings[name] for name in settings if name in self.settings]
        return [item for text in texts for item in text.split(",") if item]


def parse(arguments: Sequence[str]) -> Submission:
    """The arguments of ``command-runner.jar``.

    Raises:
        ValueError: It is not ``spark-submit`` with a program.
    """
    if not arguments or arguments[0] != "spark-submit":
        raise ValueError(f"only spark-submit runs here, not {' '.join(arguments[:1]) or 'nothing'}")
    submission, rest = Submission("", []), list(arguments[1:])
    while rest and rest[0].startswith("-"):
        name, separator, value = rest.pop(0).partition("=")
        if name in FLAGS:
            continue
        if not separator:
            if not rest:
                raise ValueError(f"{name} has no value")
            value = rest.pop(0)
        if name in ("--conf", "-c"):
            key, _, setting = value.partition("=")
            submission.settings[key] = setting
        else:
            submission.options.append((name, value))
    if not rest:
        raise ValueError("spark-submit names no program")
    submission.program, submission.arguments = rest[0], rest[1:]
    return submission


def parse_serverless(driver: Mapping[str, Any]) -> Submission:
    """The ``sparkSubmit`` of a job run.

    Raises:
        ValueError: An option has no value, or a quotation does not end.
    """
    options = shlex.split(driver.get("sparkSubmitParameters") or "")
    return parse(["spark-submit", *options, driver["entryPoint"], *driver.get("entryPointArguments", [])])


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster has.

    Attributes:
        endpoint: Where AWS is.
        credentials: The instance role's, as the names of variables.
        cores: Threads of Spark.
        memory: Of the driver's JVM.
        bare: Only Python and PySpark are installed; everything else must come with the step.
        local_arguments: Give programs copies of what their arguments name on S3.
        driver_variables: How settings begin that are variables of the driver.
    """

    endpoint: str
    credentials: Mapping[str, str]
    region: str = "us-east-1"
    cores: int = 2
    memory: str = "1g"
    bare: bool = False
    local_arguments: bool = False
    driver_variables: str = YARN_VARIABLES


@dataclass(frozen=True)
class Prepared:
    """A program to start, with its environment and its folder."""

    command: list[str]
    environment: dict[str, str]
    folder: Path
    copies: s3_sync.LocalCopies


def prepare(submission: Submission, node: Node, configured: Configured, client: Any, work: Path) -> Prepared:
    """Bring what the step names on S3 to this machine, and say how to start it.

    Args:
        submission: What to run.
        node: Where.
        configured: What the cluster's configuration says.
        client: A client of S3.
        work: An empty folder.

    Raises:
        FileNotFoundError: Something that the step names is not there.
    """
    folder = work / "container"
    folder.mkdir()
    copies = s3_sync.LocalCopies(client, work / "s3")
    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit")]
    for name, value in submission.options:
        if name not in DROPPED and name not in ("--archives", "--files"):
            command += [name, _localised(value, client, folder)]
    submission.settings = configured.placed({**configured.defaults, **submission.settings})
    for name, value in {**_kept(submission.settings), **_own_settings(work)}.items():
        command += [
            "--conf",
            f"{name}={_localised(value, client, folder) if name == 'spark.submit.pyFiles' else value}",
        ]
    command += ["--master", f"local[{node.cores}]", "--driver-memory", node.memory]
    if jars := spark_jars():
        command += ["--driver-class-path", ":".join(str(path) for path in jars)]
    for item in submission.listed("--files", "spark.files", "spark.yarn.dist.files"):
        _place(item, client, folder)
    for item in submission.listed("--archives", *ARCHIVE_SETTINGS):
        _unpack(item, client, folder)
    command.append(_localised(submission.program, client, folder))
    for argument in submission.arguments:
        local = node.local_arguments and s3_sync.is_s3(argument)
        command.append(str(copies.of(argument)) if local else argument)
    exports = configured.placed(configured.exports)
    return Prepared(command, environment(submission, node, exports, work), folder, copies)


def environment(submission: Submission, node: Node, exports: Mapping[str, str], work: Path) -> dict[str, str]:
    """The driver's variables: the node's, the cluster's configuration, and the step's if its driver is there."""
    asked = {
        name.removeprefix(node.driver_variables): value
        for name, value in submission.settings.items()
        if name.startswith(node.driver_variables) and (submission.on_cluster or node.driver_variables != YARN_VARIABLES)
    }
    own = {**node_variables(node, work), **_on_disk({**exports, **asked}, work)}
    own["PYTHONPATH"] = os.pathsep.join(filter(None, (_shield(node, work), own.get("PYTHONPATH"))))
    return own


def _on_disk(variables: Mapping[str, str], work: Path) -> dict[str, str]:
    """Variables with paths of this machine for those below ``/mnt``, where a node has its large disk."""
    (work / "mnt" / "tmp").mkdir(parents=True, exist_ok=True)
    return {name: f"{work}{value}" if value.startswith("/mnt/") else value for name, value in variables.items()}


def _shield(node: Node, work: Path) -> str:
    """A folder for ``PYTHONPATH`` that hides what is installed on this machine and on no node."""
    folder = work / "shield"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SHIELD.format(bare=node.bare))
    return str(folder)


def node_variables(node: Node, work: Path) -> dict[str, str]:
    """What every program on a node finds in its environment."""
    (work / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(work / "tmp"),
        "USER": "hadoop",
        "JAVA_HOME": str(find_java(work).home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(work / "tmp"),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LAUNCHER_OPTS": QUICK,
        "SPARK_SUBMIT_OPTS": QUICK,
        "AWS_ENDPOINT_URL": node.endpoint,
        "AWS_ALLOW_HTTP": "true",  # obstore refuses plain HTTP without it
        "AWS_REGION": node.region,
        "AWS_DEFAULT_REGION": node.region,
        **node.credentials,
    }


@dataclass(frozen=True)
class Configured:
    """What a cluster's configuration sets for every step.

    Attributes:
        exports: Variables, of ``spark-env`` and ``hadoop-env``.
        defaults: Settings of ``spark-defaults``, which a step's own override.
        places: What the paths that bootstrap actions wrote to are on this machine.
    """

    exports: Mapping[str, str]
    defaults: Mapping[str, str]
    places: Mapping[str, str]

    def placed(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Settings that name paths of this machine instead of a node's."""
        changed = dict(settings)
        for there, here in self.places.items():
            changed = {name: value.replace(there, here) for name, value in changed.items()}
        return changed


def configured(configurations: Sequence[Mapping[str, Any]], places: Mapping[str, str]) -> Configured:
    """What is in the ``Configurations`` of ``RunJobFlow``."""
    exports: dict[str, str] = {}
    defaults: dict[str, str] = {}
    for each in configurations:
        match each.get("Classification"):
            case "spark-defaults":
                defaults.update(each.get("Properties", {}))
            case "spark-env" | "hadoop-env":
                for inner in each.get("Configurations", []):
                    if inner.get("Classification") == "export":
                        exports.update(inner.get("Properties", {}))
    return Configured(exports, defaults, places)


def spark_jars() -> list[Path]:
    """Jars that Spark needs for ``s3a://``, where this machine has them."""
    named = os.environ.get(JARS, "")
    paths = [Path(each) for each in named.split(os.pathsep) if each]
    found = [jar for path in paths for jar in (sorted(path.glob("*.jar")) if path.is_dir() else [path])]
    if named and not found:
        raise FileNotFoundError(f"{JARS} is {named!r}, and there are no jars")
    return found


def _own_settings(work: Path) -> dict[str, str]:
    return {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": str(work / "warehouse"),
    }


def _kept(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith(DROPPED_SETTINGS)}


def _localised(value: str, client: Any, folder: Path) -> str:
    """The list with its items of S3 replaced by files of this machine."""
    items = value.split(",")
    return ",".join(str(s3_sync.fetch(client, each, folder)) if s3_sync.is_s3(each) else each for each in items)


def _place(item: str, client: Any, folder: Path) -> None:
    """A file into the driver's folder, as YARN does it: under its name, or the one after ``#``."""
    uri, _, name = item.partition("#")
    path = s3_sync.fetch(client, uri, folder) if s3_sync.is_s3(uri) else Path(shutil.copy(uri, folder))
    if name:
        path.rename(folder / name)


def _unpack(item: str, client: Any, folder: Path) -> None:
    """An archive into the driver's folder, as YARN does it."""
    uri, _, name = item.partition("#")
    path = s3_sync.fetch(client, uri, folder) if s3_sync.is_s3(uri) else Path(shutil.copy(uri, folder))
    target = folder / (name or Path(uri).name)
    packed = path.rename(folder / f".{path.name}.packed")
    if zipfile.is_zipfile(packed):
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(target)
    else:
        with tarfile.open(packed) as archive:
            archive.extractall(target, filter="tar")
    packed.unlink()
