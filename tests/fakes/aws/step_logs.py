"""What EMR keeps of a step's output, and where below the cluster's log URI.

What a Python program says on its standard error is in ``stdout.gz``: Spark joins the two, there as here.
"""

from __future__ import annotations

import re

from tests.fakes.aws import s3_sync
from tests.fakes.aws.cluster import Cluster, Step
from tests.fakes.aws.process import Outcome

REASON = "Unknown Error."
ERROR = re.compile(r"\w(Error|Exception)\b")
LONGEST_MESSAGE = 1024


def files(
    root: str, cluster: Cluster, step: Step, outcome: Outcome, *, on_cluster: bool
) -> tuple[str, dict[str, bytes]]:
    """Bucket, and texts by key: what the step said, and what the driver's container said if it was in one."""
    bucket, prefix = s3_sync.split(root)
    base = f"{prefix.rstrip('/')}/{cluster.id}".lstrip("/")
    own = f"{base}/steps/{step.id}"
    controller = f"INFO startExec 'hadoop jar command-runner.jar'\nINFO ended with exit code {outcome.code}\n"
    found = {f"{own}/controller.gz": controller.encode()}
    if not on_cluster:
        errors = outcome.errors + (f"Command exiting with ret '{outcome.code}'\n".encode() if outcome.code else b"")
        return bucket, {**found, f"{own}/stdout.gz": outcome.output, f"{own}/stderr.gz": errors}
    application = application_id(step)
    driver = f"{base}/containers/{application}/{application.replace('application', 'container')}_01_000001"
    found |= {f"{driver}/stdout.gz": outcome.output, f"{driver}/stderr.gz": outcome.errors}
    return bucket, {**found, f"{own}/stdout.gz": b"", f"{own}/stderr.gz": _client_says(step, outcome)}


def failure(root: str | None, cluster: Cluster, step: Step, outcome: Outcome, *, on_cluster: bool) -> dict[str, str]:
    """``FailureDetails``: what EMR makes of the step's own stderr."""
    message = _client_error(step) if on_cluster else _last_error(outcome.errors)
    details = {"Reason": REASON, **({"Message": message[:LONGEST_MESSAGE]} if message else {})}
    if root is not None:
        details["LogFile"] = f"{root.rstrip('/')}/{cluster.id}/steps/{step.id}/stderr.gz"
    return details


def _last_error(errors: bytes) -> str | None:
    lines = [line for line in errors.decode(errors="replace").splitlines() if ERROR.search(line)]
    return lines[-1] if lines else None


def application_id(step: Step) -> str:
    """The YARN application of a step."""
    return f"application_{int(step.created * 1000)}_{int(step.id[2:], 36) % 10_000:04d}"


def _client_says(step: Step, outcome: Outcome) -> bytes:
    """The step's own stderr when the driver is on the cluster: that of YARN's client, which knows no more."""
    state = "SUCCEEDED" if outcome.code == 0 else "FAILED"
    lines = [f"INFO Client: Application report for {application_id(step)} (state: FINISHED), final status: {state}"]
    return "".join(f"{line}\n" for line in [*lines, *([_client_error(step)] if outcome.code else [])]).encode()


def _client_error(step: Step) -> str:
    words = f"Application {application_id(step)} finished with failed status"
    return f'Exception in thread "main" org.apache.spark.SparkException: {words}'
