"""Runs a step's program in a thread, below a guard that leaves nothing of it behind, and uploads its logs."""

from __future__ import annotations

import gzip
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.fakes.aws import spark_submit, step_logs
from tests.fakes.aws.clock import Clock
from tests.fakes.aws.cluster import Cluster, Step
from tests.fakes.aws.injection import Rule
from tests.fakes.aws.process import Outcome, run_guarded
from tests.fakes.aws.spark_submit import Node

from nightshift.errors import NightshiftError

CANNOT_START = 1
LOG_DELAY = 300.0  # seconds, as EMR takes at most


class StepRunner:
    """Runs steps, each in a thread of its own.

    Args:
        node: What the machine has.
        client: A client of S3, made by whoever needs one.
        clock: The time.
        ended: Told how a step ended: the state and, for a failure, its details.
    """

    def __init__(
        self,
        node: Node,
        client: Callable[[], Any],
        clock: Clock,
        ended: Callable[[Cluster, Step, str, dict[str, str] | None], None],
    ) -> None:
        self._node = node
        self._client = client
        self._clock = clock
        self._ended = ended
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._late: list[tuple[float, str, dict[str, bytes]]] = []

    def start(self, cluster: Cluster, step: Step, fault: Rule | None) -> None:
        """Start a step; what is to go wrong with it goes wrong."""
        if fault is not None and fault.kind == "HANG":
            return
        halt = threading.Event()
        step.stop = halt.set
        thread = threading.Thread(
            target=self._run, args=(cluster, step, fault, halt), name=f"step {step.id}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until every step that was started has ended."""
        for thread in self._threads:
            thread.join()

    def upload_late_logs(self) -> None:
        """Upload the logs that are due by now."""
        now = self._clock.now()
        with self._lock:
            due = [each for each in self._late if each[0] <= now]
            self._late = [each for each in self._late if each[0] > now]
        for _, bucket, files in due:
            self._upload(bucket, files)

    def _run(self, cluster: Cluster, step: Step, fault: Rule | None, halt: threading.Event) -> None:
        submission = spark_submit.parse(step.config["HadoopJarStep"].get("Args", []))
        if fault is not None and fault.kind in ("COMPLETED", "FAILED"):
            outcome = Outcome(int(fault.kind == "FAILED"), b"", f"{fault.message or 'injected'}\n".encode())
        else:
            with tempfile.TemporaryDirectory(prefix="aws-double-step-", ignore_cleanup_errors=True) as folder:
                outcome = self._execute(cluster, step, submission, Path(folder), halt)
        root = cluster.request.get("LogUri")
        if root is not None:
            bucket, files = step_logs.files(root, cluster, step, outcome, on_cluster=submission.on_cluster)
            if fault is not None and fault.kind == "LATE_LOGS":
                with self._lock:
                    self._late.append((self._clock.now() + LOG_DELAY, bucket, files))
            else:
                self._upload(bucket, files)
        if outcome.code == 0:
            self._ended(cluster, step, "COMPLETED", None)
        else:
            details = step_logs.failure(root, cluster, step, outcome, on_cluster=submission.on_cluster)
            self._ended(cluster, step, "FAILED", details)

    def _execute(
        self, cluster: Cluster, step: Step, submission: spark_submit.Submission, work: Path, halt: threading.Event
    ) -> Outcome:
        configured = spark_submit.configured(cluster.request.get("Configurations", []), cluster.places)
        node = self._node if step.role is None else replace(self._node, credentials=runtime_credentials(step.role))
        try:
            prepared = spark_submit.prepare(submission, node, configured, self._client(), work)
        except (BotoCoreError, ClientError, NightshiftError, OSError, ValueError) as error:
            return Outcome(CANNOT_START, b"", f'Exception in thread "main" {type(error).__name__}: {error}\n'.encode())
        outcome = run_guarded(prepared.command, prepared.environment, prepared.folder, work, halt)
        try:
            prepared.copies.send_back()
        except (BotoCoreError, ClientError, OSError) as error:
            said = outcome.errors + f"what the program wrote cannot be stored: {error}\n".encode()
            return Outcome(outcome.code or 1, outcome.output, said)
        return outcome

    def _upload(self, bucket: str, files: dict[str, bytes]) -> None:
        """Whoever has no bucket for logs has no logs, as on AWS."""
        with suppress(BotoCoreError, ClientError):
            for key, text in files.items():
                self._client().put_object(Bucket=bucket, Key=key, Body=gzip.compress(text))


def runtime_credentials(role: str) -> dict[str, str]:
    """What a step gets that runs with a role of its own: the access key names it, so the journal shows who asked."""
    name = f"runtime-{role.rpartition('/')[2]}"
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": f"{name}-secret", "AWS_SESSION_TOKEN": f"{name}-token"}
