"""Runs the bootstrap actions of a cluster, on a node whose file system begins in a folder of its own.

An action gets paths of that folder for the absolute paths among its arguments, and whatever names those paths later
(variables, Spark's defaults, settings of steps) is changed the same way: ``Cluster.places``.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.fakes.aws import s3_sync, spark_submit
from tests.fakes.aws.cluster import PRIMARY, Cluster
from tests.fakes.aws.process import Outcome, run_guarded
from tests.fakes.aws.spark_submit import Node
from tests.fakes.aws_command import write_aws


class Bootstrapper:
    """Runs bootstrap actions, in a thread for each cluster.

    Args:
        node: What the machine has.
        client: A client of S3, made by whoever needs one.
        home: A folder for the nodes.
        ended: Told which action failed, or None.
    """

    def __init__(
        self, node: Node, client: Callable[[], Any], home: Path, ended: Callable[[Cluster, int | None], None]
    ) -> None:
        self._node = node
        self._client = client
        self._home = home
        self._ended = ended
        self._threads: list[threading.Thread] = []

    def start(self, cluster: Cluster) -> None:
        thread = threading.Thread(target=self._run, args=(cluster,), name=f"bootstrap {cluster.id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, cluster: Cluster) -> None:
        for number, action in enumerate(cluster.request["BootstrapActions"], 1):
            work = self._home / cluster.id / f"action-{number}"
            work.mkdir(parents=True)
            outcome = self._act(cluster, action["ScriptBootstrapAction"], work)
            self._upload(cluster, number, outcome)
            if outcome.code != 0:
                self._ended(cluster, number)
                return
        self._ended(cluster, None)

    def _act(self, cluster: Cluster, script: dict[str, Any], work: Path) -> Outcome:
        root = self._home / cluster.id / "root"
        root.mkdir(exist_ok=True)
        cluster.places |= {each: f"{root}{each}" for each in script.get("Args", []) if each.startswith("/")}
        variables = spark_submit.node_variables(self._node, work)
        variables["PATH"] = f"{write_aws(work / 'bin').parent}:{variables['PATH']}"
        try:
            program = s3_sync.fetch(self._client(), script["Path"], work)
        except (BotoCoreError, ClientError, OSError) as error:
            return Outcome(1, b"", f"{error}\n".encode())
        arguments = [cluster.places.get(each, each) for each in script.get("Args", [])]
        return run_guarded(["bash", str(program), *arguments], variables, work, work, cluster.halt)

    def _upload(self, cluster: Cluster, number: int, outcome: Outcome) -> None:
        if root := cluster.request.get("LogUri"):
            bucket, prefix = s3_sync.split(root)
            base = f"{prefix.rstrip('/')}/{cluster.id}/node/{PRIMARY}/bootstrap-actions/{number}".lstrip("/")
            with suppress(BotoCoreError, ClientError):
                for name, text in (("stdout", outcome.output), ("stderr", outcome.errors)):
                    self._client().put_object(Bucket=bucket, Key=f"{base}/{name}.gz", Body=gzip.compress(text))
