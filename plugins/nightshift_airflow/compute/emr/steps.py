"""What a step is asked for: the job's own arguments, behind ``spark-submit``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from nightshift.jobs import Job
from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_use import most_workers

RESULT = "result.json"
STEP_NAME = re.compile(r"(?P<stage>[a-z]+) (?P<key>[0-9a-f]{12}) try (?P<attempt>[0-9]+)")


@dataclass(frozen=True)
class Code:
    """What steps run: uploaded once, under names that say what is in them.

    Attributes:
        archive: URI of the code archive.
        entry: URI of the program that Spark starts.
        dependencies: Digest of the lock of the packages on the nodes; the job refuses others. None where the nodes
            have the packages of their own.
    """

    archive: str
    entry: str
    dependencies: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        return asdict(self)


def step_key(job: Job, code: Code) -> str:
    """The same for the same work by the same code: plan, upstream versions, archive."""
    return hashlib.sha256(json.dumps([job.arguments(), code.archive, code.entry]).encode()).hexdigest()[:12]


def step_name(stage: str, key: str, attempt: int) -> str:
    """Such as ``train 0f3a9c21d4e5 try 2``: by its beginning the step is found again."""
    return f"{stage} {key} try {attempt}"


def parse_step_name(name: str) -> tuple[str, str, int] | None:
    """Stage, key and try of a step of ours; None of one that somebody else has added to the cluster."""
    match = STEP_NAME.fullmatch(name)
    return (match["stage"], match["key"], int(match["attempt"])) if match else None


def result_uri(job: Job, key: str, attempt: int) -> str:
    """Where the job leaves its result: beside its plan, and deleted with it."""
    return f"{job.plan.uri.removesuffix('.json')}/{job.stage}-{key}-{attempt}/{RESULT}"


def step_request(job: Job, spec: ModelSpec, code: Code, *, name: str, result: str) -> dict[str, Any]:
    """One item of ``Steps`` of ``AddJobFlowSteps``.

    In client mode, on the primary node: in cluster mode YARN fails a program that never starts Spark, and most
    stages do not.

    Args:
        job: What to run.
        spec: The model's spec.
        code: Where the program is.
        name: Name of the step.
        result: URI of the result that the job leaves.
    """
    settings = _settings(job.stage, spec)
    return {
        "Name": name,
        # The cluster has the other stages before it; what a failure means is for Airflow to decide.
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                "spark-submit",
                *("--deploy-mode", "client"),
                *("--name", f"nightshift {name}"),
                *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}")),
                *("--py-files", code.archive),
                code.entry,
                *job.arguments(),
                *(("--dependencies", code.dependencies) if code.dependencies else ()),
                *("--result", result),
            ],
        },
    }


def _settings(stage: str, spec: ModelSpec) -> dict[str, str]:
    """What Spark must know before it starts, and only this stage needs."""
    settings = {"spark.driver.memory": spec.compute.emr.driver_memory}
    workers = most_workers(spec, "emr", cores=None) or 1
    if stage == "train" and workers > 1:
        # All workers at once, for as long as it takes: Spark refuses that where executors come and go.
        # Where auto decides to train natively, Spark is never started.
        settings |= {
            "spark.dynamicAllocation.enabled": "false",
            "spark.executor.cores": "1",
            "spark.executor.instances": str(workers),
        }
    return settings
