"""One stage as one step: submitted once, found again, waited for, explained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from nightshift.emr_settings import EmrSettings
from nightshift.errors import JobError, NightshiftError, StorageError
from nightshift.jobs import Job
from nightshift.jobs.distant import Told
from nightshift.jobs.process import read_result
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageResult
from nightshift_airflow.compute.emr import driver_log, waiting
from nightshift_airflow.compute.emr.account import Account, in_our_words
from nightshift_airflow.compute.emr.clusters import Clusters, outcome_unknown
from nightshift_airflow.compute.emr.steps import (
    Code,
    parse_step_name,
    result_uri,
    step_key,
    step_name,
    step_request,
)
from nightshift_airflow.compute.task_log import TaskLog

log = logging.getLogger(__name__)

ACTIVE = ("PENDING", "RUNNING")


class Submitted:
    """A step that runs a stage.

    Args:
        account: The account.
        emr: Its settings.
        stage: The stage.
        cluster_id: The cluster.
        step_id: The step.
        result: URI of the result that the job leaves.
        seen: How much of its log has been shown.
    """

    def __init__(
        self,
        account: Account,
        emr: EmrSettings,
        *,
        stage: str,
        cluster_id: str,
        step_id: str,
        result: str,
        seen: int = 0,
    ) -> None:
        self._account = account
        self._emr = emr
        self._told = Told(result, seen=seen)
        self._to_log = TaskLog()
        self.stage = stage
        self.cluster_id = cluster_id
        self.step_id = step_id
        self.result = result

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, for a trigger to carry."""
        return {
            "stage": self.stage,
            "cluster_id": self.cluster_id,
            "step_id": self.step_id,
            "result": self.result,
            "seen": self._told.seen,
        }

    @classmethod
    def from_dict(cls, account: Account, emr: EmrSettings, raw: Mapping[str, Any]) -> Submitted:
        named = {name: raw[name] for name in ("stage", "cluster_id", "step_id", "result", "seen")}
        return cls(account, emr, **named)

    def arguments(self) -> dict[str, str]:
        """Of DescribeStep."""
        return {"ClusterId": self.cluster_id, "StepId": self.step_id}

    def wait(self, limit: timedelta) -> StageResult:
        """Wait for the end of the step, and tell its lines meanwhile.

        Raises:
            NightshiftError: What the job reported, or JobError if it could not say.
        """
        try:
            waiting.wait(
                self._account,
                "step_wait_for_terminal",
                self.arguments(),
                poll_s=self._emr.poll_s,
                limit_s=limit.total_seconds(),
                meanwhile=self._tell,
            )
        except NightshiftError:
            self.cancel()
            raise
        return self.outcome()

    def outcome(self) -> StageResult:
        """What a step that is over has left.

        Raises:
            NightshiftError: What the job reported, or JobError if it could not say.
        """
        self._tell()
        raw = self._told.result()
        if raw is None:
            raise self._died()
        if "error" in raw:
            log.info("the logs of the step are below %s/", self._logs)
        return read_result(raw)

    def cancel(self) -> None:
        """Ask EMR to end the step. What it does not end, ends with the cluster."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            _ask_to_cancel(self._account, self.cluster_id, [self.step_id])
        except (BotoCoreError, ClientError) as error:
            log.warning("step %s was not cancelled: %s", self.step_id, error)

    @property
    def _logs(self) -> str:
        return driver_log.folder_of(self._emr.log_uri, self.cluster_id, self.step_id)

    def _tell(self) -> None:
        try:
            for line in self._told.lines():
                self._to_log(line)
        except StorageError as error:
            log.warning("the job's lines cannot be read now: %s", error)

    def _died(self) -> JobError:
        """Why there is no result, from what EMR says and the driver said last."""
        step = self._account.call(
            f"look at the step {self.step_id}",
            lambda: self._account.hook.conn.describe_step(**self.arguments())["Step"],
        )
        cluster = Clusters(self._account).describe(self.cluster_id)
        state = step["Status"]["State"]
        words = driver_log.last_words(
            self._account, self._logs, wait_s=self._emr.log_wait_s if state == "FAILED" else 0
        )
        for line in words:
            log.error("%s", line)
        details = step["Status"].get("FailureDetails", {})
        why = details.get("Message") or step["Status"].get("StateChangeReason", {}).get("Message")
        return JobError(
            f"the {self.stage} step {self.step_id} is {state} and left no result"
            f"{f': {why}' if why else ''}. Cluster: {cluster}.",
            hint=f"its logs are below {self._logs}/"
            + ("; the last lines of the driver are above" if words else ", where EMR puts them minutes later"),
        )


def submit(
    account: Account, emr: EmrSettings, job: Job, *, cluster_id: str, spec: ModelSpec, code: Code, attempt: int
) -> Submitted:
    """Send a stage to the cluster, or find the step that does the same work already.

    Args:
        account: The account.
        emr: Its settings.
        job: What to run.
        cluster_id: The cluster.
        spec: The model's spec.
        code: Where the program is.
        attempt: Which try of the task this is.

    Raises:
        NightshiftError: AWS refuses, or does not answer.
    """
    key = step_key(job, code)
    there = _steps(account, cluster_id, job.stage)
    for step in there:
        stage, found, number = parse_step_name(step["Name"]) or ("", "", 0)
        result = result_uri(job, key, number)
        if found == key and _is_of_use(step["Status"]["State"], result):
            log.info("step %s does this already: %s, %s", step["Id"], step["Name"], step["Status"]["State"])
            return Submitted(account, emr, stage=stage, cluster_id=cluster_id, step_id=step["Id"], result=result)
    _cancel(account, cluster_id, [step for step in there if step["Status"]["State"] in ACTIVE])
    name, result = step_name(job.stage, key, attempt), result_uri(job, key, attempt)
    step_id = _add(account, emr, cluster_id, step_request(job, spec, code, name=name, result=result))
    log.info("step %s: %s", step_id, name)
    return Submitted(account, emr, stage=job.stage, cluster_id=cluster_id, step_id=step_id, result=result)


def _is_of_use(state: str, result: str) -> bool:
    """Whether a step of an earlier try goes on, or has left what this try is for."""
    return state in ACTIVE or (state == "COMPLETED" and Told(result).result() is not None)


def _steps(account: Account, cluster_id: str, stage: str) -> list[dict[str, Any]]:
    """Steps of a stage, the newest first; not those that a person has added."""

    def listed() -> list[dict[str, Any]]:
        pages = account.hook.conn.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        every = [step for page in pages for step in page["Steps"]]
        return [step for step in every if (parse_step_name(step["Name"]) or ("",))[0] == stage]

    return account.call(f"list the steps of {cluster_id}", listed)


def _cancel(account: Account, cluster_id: str, steps: list[dict[str, Any]]) -> None:
    """End steps of an earlier try whose plan or code is out of date: the new one would wait behind them."""
    if not steps:
        return
    ids = [step["Id"] for step in steps]
    log.warning("cancelling %s: the same stage by another plan or other code", ", ".join(ids))
    account.call("cancel steps", lambda: _ask_to_cancel(account, cluster_id, ids))


def _ask_to_cancel(account: Account, cluster_id: str, step_ids: list[str]) -> None:
    """Ask EMR, once, to end steps; of one that runs the process is killed."""
    account.hook.conn.cancel_steps(ClusterId=cluster_id, StepIds=step_ids, StepCancellationOption="TERMINATE_PROCESS")


def _add(account: Account, emr: EmrSettings, cluster_id: str, step: dict[str, Any]) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    def add() -> str:
        try:
            return str(
                account.once().add_job_flow_steps(
                    job_flow_id=cluster_id, steps=[step], execution_role_arn=emr.runtime_role
                )[0]
            )
        except (BotoCoreError, ClientError) as error:
            if not outcome_unknown(error):
                raise
            log.warning("nobody can tell whether the step was added: %s", error)
            named = [
                each for each in _steps(account, cluster_id, step["Name"].split(" ")[0]) if each["Name"] == step["Name"]
            ]
            if named:
                return str(named[0]["Id"])
            raise in_our_words(error, "add the step") from error

    return account.call("add the step", add)
