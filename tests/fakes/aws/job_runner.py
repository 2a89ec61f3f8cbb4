"""Runs the program of a job run of EMR Serverless in a thread, and uploads its logs."""

from __future__ import annotations

import gzip
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.fakes.aws import s3_sync, spark_submit
from tests.fakes.aws.injection import Rule
from tests.fakes.aws.process import Outcome, run_guarded
from tests.fakes.aws.serverless_life import Application, JobRun
from tests.fakes.aws.spark_submit import Configured, Node
from tests.fakes.aws.step_runner import runtime_credentials

from nightshift.errors import NightshiftError


class JobRunner:
    """Runs job runs, each in a thread of its own.

    Args:
        node: What a worker has.
        client: A client of S3, made by whoever needs one.
        ended: Told the exit status and the last words.
    """

    def __init__(
        self, node: Node, client: Callable[[], Any], ended: Callable[[Application, JobRun, int, str], None]
    ) -> None:
        self._node = replace(node, driver_variables=spark_submit.SERVERLESS_VARIABLES)
        self._client = client
        self._ended = ended
        self._threads: list[threading.Thread] = []

    def start(self, application: Application, job: JobRun, fault: Rule | None) -> None:
        """Start a job run; what is to go wrong with it goes wrong."""
        if fault is not None and fault.kind == "HANG":
            return
        thread = threading.Thread(target=self._run, args=(application, job, fault), name=f"job {job.id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, application: Application, job: JobRun, fault: Rule | None) -> None:
        if fault is not None and fault.kind in ("COMPLETED", "FAILED", "SPOT_LOSS"):
            failed = fault.kind != "COMPLETED"
            outcome = Outcome(int(failed), f"{fault.message or 'injected'}\n".encode() if failed else b"", b"")
        else:
            with tempfile.TemporaryDirectory(prefix="aws-double-job-", ignore_cleanup_errors=True) as folder:
                outcome = self._execute(application, job, Path(folder))
        with suppress(BotoCoreError, ClientError):
            self._upload(application, job, outcome)
        last = (outcome.output.decode(errors="replace").strip().splitlines() or [""])[-1]
        words = f"Job failed, please check complete logs in configured logging destination. ExitCode: {outcome.code}. Last few exceptions: {last}"
        self._ended(application, job, outcome.code, words)

    def _execute(self, application: Application, job: JobRun, work: Path) -> Outcome:
        overrides = job.request.get("configurationOverrides", {}).get("applicationConfiguration", [])
        defaults = _defaults([*application.request.get("runtimeConfiguration", []), *overrides])
        node = replace(self._node, credentials=runtime_credentials(job.request["executionRoleArn"]))
        submission = spark_submit.parse_serverless(job.request["jobDriver"]["sparkSubmit"])
        try:
            prepared = spark_submit.prepare(submission, node, Configured({}, defaults, {}), self._client(), work)
        except (BotoCoreError, ClientError, NightshiftError, OSError, ValueError) as error:
            return Outcome(1, f"{type(error).__name__}: {error}\n".encode(), b"")
        outcome = run_guarded(prepared.command, prepared.environment, prepared.folder, work, job.halt)
        prepared.copies.send_back()
        return outcome

    def _upload(self, application: Application, job: JobRun, outcome: Outcome) -> None:
        for wanted in (job.request.get("configurationOverrides", {}), application.request):
            root = wanted.get("monitoringConfiguration", {}).get("s3MonitoringConfiguration", {}).get("logUri")
            if root:
                bucket, prefix = s3_sync.split(root)
                base = f"{prefix.rstrip('/')}/applications/{application.id}/jobs/{job.id}/SPARK_DRIVER".lstrip("/")
                for name, text in (("stdout", outcome.output), ("stderr", outcome.errors)):
                    self._client().put_object(Bucket=bucket, Key=f"{base}/{name}.gz", Body=gzip.compress(text))
                return


def _defaults(configurations: Sequence[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in configurations:
        if each.get("classification") == "spark-defaults":
            found.update(each.get("properties", {}))
    return found
