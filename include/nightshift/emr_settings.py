"""The AWS account that EMR clusters are created in: ``NIGHTSHIFT_EMR_*``, read once into one frozen object.

What differs from model to model is in the spec (``compute.emr``); what is one for all of them is here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nightshift.errors import SettingsError

RELEASE_LABEL = "emr-spark-8.1.0"  # Spark 4.1, supported until 2029-09-07
NODE_PYTHON = "/usr/bin/python3.11"  # every release of that line has it

NEEDED = {
    "NIGHTSHIFT_EMR_CODE": "s3://bucket/prefix of the code and dependency archives",
    "NIGHTSHIFT_EMR_LOG_URI": "s3://bucket/prefix of the clusters' logs",
    "NIGHTSHIFT_EMR_SUBNETS": "subnets to choose from, such as subnet-0a1b2c3d,subnet-4e5f6071",
    "NIGHTSHIFT_EMR_SERVICE_ROLE": "name or ARN of EMR's service role",
    "NIGHTSHIFT_EMR_INSTANCE_PROFILE": "name or ARN of the nodes' instance profile",
    "NIGHTSHIFT_EMR_SECURITY_CONFIGURATION": "name of an EMR security configuration that asks for IMDSv2",
}
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
_LABEL = re.compile(r"emr-spark-8\.\d{1,2}\.\d{1,2}")
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")
_ROLE = re.compile(r"(arn:aws[a-z-]*:iam::\d{12}:role/)?[\w+=,.@/-]{1,512}", re.ASCII)
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_PROFILE = re.compile(r"(arn:aws[a-z-]*:iam::\d{12}:instance-profile/)?[\w+=,.@/-]{1,512}", re.ASCII)
_TAG = re.compile(r"[\w +=.:/@-]{1,256}", re.ASCII)
_NAME = re.compile(r"[\w.@ -]{1,250}", re.ASCII)
_PATH = re.compile(r"/[\w./@+-]+", re.ASCII)


@dataclass(frozen=True)
class EmrSettings:
    """Where clusters are created, and as whom they run.

    Attributes:
        code: Folder of the code archive, the dependency archive and the bootstrap script; no slash at the end.
        log_uri: Folder of the clusters' logs; no slash at the end.
        subnets: EMR chooses one of them.
        service_role: What EMR itself acts as.
        instance_profile: What the nodes act as.
        security_configuration: Encryption and IMDSv2, by name.
        release_label: Of specs that name none.
        runtime_role: ARN of the role that steps act as instead of the nodes' own.
        dependencies: Name of the dependency archive below ``code``; None where the nodes have the packages.
        node_python: Path of the interpreter of jobs on the nodes.
        stages: Which stages run there, for specs that do not say.
        cost_center: Value of the tag ``cost_center``.
        connection: Airflow connection id of the account.
        poll_s: Seconds between two looks at a cluster or step.
        log_wait_s: How long to wait for the logs of a step that failed without a word; EMR takes minutes.
    """

    code: str
    log_uri: str
    subnets: tuple[str, ...]
    service_role: str
    instance_profile: str
    security_configuration: str
    release_label: str = RELEASE_LABEL
    runtime_role: str | None = None
    dependencies: str | None = None
    node_python: str = NODE_PYTHON
    stages: Literal["to_evaluate", "all"] = "to_evaluate"
    cost_center: str | None = None
    connection: str = "aws_default"
    poll_s: int = 15
    log_wait_s: int = 360

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> EmrSettings:
        """Read ``NIGHTSHIFT_EMR_*``.

        Raises:
            SettingsError: Variables are missing, or hold what cannot be used; it names all of them.
        """
        reader = _Reader(os.environ if environ is None else environ)
        stages = reader.text("STAGES", re.compile("to_evaluate|all"), "to_evaluate or all")
        read = cls(
            code=reader.folder("CODE"),
            log_uri=reader.folder("LOG_URI"),
            subnets=reader.subnets(),
            service_role=reader.text("SERVICE_ROLE", _ROLE, "the name or ARN of a role") or "",
            instance_profile=reader.text("INSTANCE_PROFILE", _PROFILE, "the name or ARN of an instance profile") or "",
            security_configuration=reader.text("SECURITY_CONFIGURATION", _NAME, "its name") or "",
            release_label=reader.text("RELEASE_LABEL", _LABEL, "a release for Spark 4, such as " + RELEASE_LABEL)
            or RELEASE_LABEL,
            runtime_role=reader.text("RUNTIME_ROLE", _ROLE_ARN, "an ARN such as arn:aws:iam::123456789012:role/jobs"),
            dependencies=reader.text(
                "DEPENDENCIES", re.compile(r"[\w.+-]+\.tar\.gz"), "a file name below CODE, .tar.gz"
            ),
            node_python=reader.text("PYTHON", _PATH, "an absolute path on the nodes") or NODE_PYTHON,
            stages="all" if stages == "all" else "to_evaluate",
            cost_center=reader.text("COST_CENTER", _TAG, "letters, digits, spaces and + = . : / @ - _"),
            connection=reader.text("CONNECTION", _NAME, "an Airflow connection id") or "aws_default",
            poll_s=reader.number("POLL", 15, most=300),
            log_wait_s=reader.number("LOG_WAIT", 360, most=3600),
        )
        reader.complain()
        return read

    def stages_of(self, wanted: Literal["to_evaluate", "all"] | None) -> Literal["to_evaluate", "all"]:
        """Which stages run on the cluster: as the spec says, else as here."""
        return wanted or self.stages


def connection_of(environ: Mapping[str, str] | None = None) -> str:
    """The connection id alone: what is enough to find and end clusters, when another variable is wrong."""
    return (os.environ if environ is None else environ).get("NIGHTSHIFT_EMR_CONNECTION") or "aws_default"


def is_configured(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this environment says anything about EMR."""
    return any(name.startswith("NIGHTSHIFT_EMR_") for name in (os.environ if environ is None else environ))


class _Reader:
    """Reads variables, and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def text(self, name: str, form: re.Pattern[str], words: str) -> str | None:
        variable = f"NIGHTSHIFT_EMR_{name}"
        value = self._environ.get(variable, "").strip()
        if not value:
            if variable in NEEDED:
                self._problems.append(f"{variable} is not set: {NEEDED[variable]}")
            return None
        if not form.fullmatch(value):
            self._problems.append(f"{variable} is {value!r}, which is not {words}")
        return value

    def folder(self, name: str) -> str:
        return (self.text(name, _BUCKET, "s3://bucket/prefix") or "").rstrip("/")

    def subnets(self) -> tuple[str, ...]:
        text = self.text("SUBNETS", re.compile(".*"), "") or ""
        found = tuple(part.strip() for part in text.split(",") if part.strip())
        if wrong := [one for one in found if not _SUBNET.fullmatch(one)]:
            self._problems.append(f"NIGHTSHIFT_EMR_SUBNETS has {wrong[0]!r}, which is not such as subnet-0a1b2c3d")
        return found

    def number(self, name: str, default: int, *, most: int) -> int:
        text = self.text(name, re.compile(r"[1-9]\d{0,4}"), f"a whole number of seconds from 1 to {most}")
        value = int(text) if text and text.isdecimal() else default
        if value > most:
            self._problems.append(f"NIGHTSHIFT_EMR_{name} is {value}, and {most} is the most")
        return value

    def complain(self) -> None:
        """Raises SettingsError: There was anything to complain of."""
        if self._problems:
            raise SettingsError(
                "compute target emr cannot be used:\n  " + "\n  ".join(self._problems),
                hint="docs/emr.md says what each variable is and how to make what it names",
            )
