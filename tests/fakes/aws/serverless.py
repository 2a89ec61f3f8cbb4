"""The operations of EMR Serverless: each takes the parameters of a request and gives those of the answer."""

from __future__ import annotations

import secrets
from typing import Any

from tests.fakes.aws.releases import SPARK_OF
from tests.fakes.aws.rest import service_model
from tests.fakes.aws.serverless_life import IDLE_MINUTES, JOB_ENDED, TIMEOUT_MINUTES, Application, JobRun
from tests.fakes.aws.service import Json, Service
from tests.fakes.aws.spark_submit import parse_serverless
from tests.fakes.aws.validation import ROLE_ARN, invalid
from tests.fakes.aws.wire import AwsError

ACCOUNT = "123456789012"
CHANGEABLE = ("CREATED", "STOPPED")
SHOWN = (
    *("name", "releaseLabel", "type", "initialCapacity", "maximumCapacity", "networkConfiguration", "architecture"),
    *("runtimeConfiguration", "monitoringConfiguration", "schedulerConfiguration", "diskEncryptionConfiguration"),
)


class Serverless(Service[Application, JobRun]):
    """Applications of one account and region. What is to go wrong with a job run is wished by its name, as of a step.

    Args:
        wishes: What every service takes.
    """

    def __init__(self, **wishes: Any) -> None:
        super().__init__(service_model(), **wishes)
        self._tokens: dict[tuple[str, str], str] = {}

    def applications(self) -> list[Application]:
        """All that ever were, the oldest first."""
        return self._all()

    def ended(self, application: Application, job: JobRun, code: int, words: str) -> None:
        """A job's program has ended."""
        with self._lock:
            application.finish(job, code, words, self._clock.now())
            application.settle(self._clock.now())

    def forget(self) -> None:
        """End all jobs and forget all applications."""
        with self._lock:
            for job in (job for application in self._resources.values() for job in application.jobs):
                if job.state not in JOB_ENDED:
                    job.end("CANCELLED", self._clock.now())
            self._resources.clear()
            self._tokens.clear()

    # Applications.

    def _create_application(self, p: Json) -> Json:
        if p["releaseLabel"] not in SPARK_OF:
            raise invalid(f"Release label {p['releaseLabel']} is not supported.")
        if p["type"].lower() != "spark":
            raise invalid("Only applications of type Spark run here.")
        known = self._tokens.get(("application", p["clientToken"]))
        if known is None:
            known = "00" + secrets.token_hex(7)
            self._tokens["application", p["clientToken"]] = known
            self._resources[known] = Application(known, p, at=self._clock.now(), timing=self._timing, start=self._start)
        return {"applicationId": known, "name": p.get("name", ""), "arn": _arn(known)}

    def _get_application(self, p: Json) -> Json:
        found = self._application(p)
        shown = {name: found.request[name] for name in SHOWN if name in found.request}
        stop = {"enabled": found.idle_seconds is not None}
        if found.idle_seconds is not None:
            stop["idleTimeoutMinutes"] = int(found.idle_seconds // 60) or IDLE_MINUTES
        return {
            "application": {
                **shown,
                **_summary(found),
                "applicationId": found.id,
                "tags": found.tags,
                "autoStartConfiguration": {"enabled": found.starts_itself},
                "autoStopConfiguration": stop,
            }
        }

    def _list_applications(self, p: Json) -> Json:
        found = [each for each in self._resources.values() if not p.get("states") or each.state in p["states"]]
        return {"applications": [{"id": each.id, **_summary(each)} for each in reversed(found)]}

    def _start_application(self, p: Json) -> Json:
        found = self._application(p)
        if found.state in CHANGEABLE:
            found.enter("STARTING", self._clock.now())
        elif found.state not in ("STARTING", "STARTED"):
            raise invalid(f"Application {found.id} cannot be started while it is {found.state}.")
        return {}

    def _stop_application(self, p: Json) -> Json:
        found = self._application(p)
        if found.busy():
            raise invalid(f"Application {found.id} has job runs that have not ended.")
        if found.state in ("STARTING", "STARTED"):
            found.enter("STOPPING", self._clock.now())
        return {}

    def _update_application(self, p: Json) -> Json:
        found = self._changeable(p)
        found.request.update({name: value for name, value in p.items() if name not in ("applicationId", "clientToken")})
        return self._get_application(p)

    def _delete_application(self, p: Json) -> Json:
        self._changeable(p).enter("TERMINATED", self._clock.now())
        return {}

    # Job runs.

    def _start_job_run(self, p: Json) -> Json:
        found = self._application(p)
        driver = p.get("jobDriver", {}).get("sparkSubmit")
        if driver is None:
            raise invalid("jobDriver.sparkSubmit must be specified.")
        self._check_driver(driver)
        if not ROLE_ARN.fullmatch(p["executionRoleArn"]):
            raise invalid(f"Invalid execution role ARN: {p['executionRoleArn']}.")
        if found.state != "STARTED" and not found.starts_itself:
            raise invalid(f"Application {found.id} must be STARTED to run jobs; it is {found.state}.")
        known = self._tokens.get((found.id, p["clientToken"]))
        if known is None:
            now = self._clock.now()
            job = JobRun("00" + secrets.token_hex(7), p, now, changed=now, tags=dict(p.get("tags", {})))
            found.jobs.append(job)
            known = self._tokens[found.id, p["clientToken"]] = job.id
        return {"applicationId": found.id, "jobRunId": known, "arn": _arn(found.id, known)}

    def _get_job_run(self, p: Json) -> Json:
        found, job = self._application(p), self._job(p)
        now, request = self._clock.now(), job.request
        seconds = int((job.ended or now) - job.started) if job.started is not None else 0
        times = {"startedAt": job.started, "endedAt": job.ended}
        same = ("configurationOverrides", "retryPolicy", "executionIamPolicy")
        return {
            "jobRun": {
                **{name: request[name] for name in same if name in request},
                **{name: at for name, at in times.items() if at is not None},
                **_job_summary(found, job),
                "jobRunId": job.id,
                "jobDriver": request["jobDriver"],
                "tags": job.tags,
                "executionTimeoutMinutes": request.get("executionTimeoutMinutes", TIMEOUT_MINUTES),
                "totalExecutionDurationSeconds": seconds,
                "totalResourceUtilization": job.hours(now),
                "billedResourceUtilization": job.hours(now),
            }
        }

    def _list_job_runs(self, p: Json) -> Json:
        found = self._application(p)
        jobs = [job for job in reversed(found.jobs) if not p.get("states") or job.state in p["states"]]
        return {"jobRuns": [{"id": job.id, **_job_summary(found, job)} for job in jobs]}

    def _cancel_job_run(self, p: Json) -> Json:
        found, job = self._application(p), self._job(p)
        if job.state in JOB_ENDED:
            raise invalid(f"Job run {job.id} has ended already: {job.state}.")
        job.end("CANCELLED", self._clock.now(), "Cancelled by user request")
        return {"applicationId": found.id, "jobRunId": job.id}

    # Tags.

    def _tag_resource(self, p: Json) -> Json:
        self._tags(p["resourceArn"]).update(p["tags"])
        return {}

    def _untag_resource(self, p: Json) -> Json:
        for key in p["tagKeys"]:
            self._tags(p["resourceArn"]).pop(key, None)
        return {}

    def _list_tags_for_resource(self, p: Json) -> Json:
        return {"tags": self._tags(p["resourceArn"])}

    # Checks.

    def _application(self, p: Json) -> Application:
        found = self._resources.get(p["applicationId"])
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Application {p['applicationId']} does not exist.", 404)
        return found

    def _changeable(self, p: Json) -> Application:
        found = self._application(p)
        if found.state not in CHANGEABLE:
            raise invalid(f"Application {found.id} must be CREATED or STOPPED; it is {found.state}.")
        return found

    def _job(self, p: Json) -> JobRun:
        found = next((job for job in self._application(p).jobs if job.id == p["jobRunId"]), None)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Job run {p['jobRunId']} does not exist.", 404)
        return found

    def _tags(self, arn: str) -> dict[str, str]:
        for application in self._resources.values():
            for tagged in (application, *application.jobs):
                if arn == (_arn(application.id) if tagged is application else _arn(application.id, tagged.id)):
                    return tagged.tags
        raise AwsError("ResourceNotFoundException", f"Resource {arn} does not exist.", 404)

    def _check_driver(self, driver: Json) -> None:
        try:
            program = parse_serverless(driver).program
        except ValueError as error:
            raise invalid(f"The double refuses the job: {error}.") from error
        self._check_program(program)

    def _start(self, application: Application, job: JobRun) -> None:
        fault = self._injections.for_step(job.name)
        self._start_program(application, job, fault)


def _arn(*parts: str) -> str:
    return f"arn:aws:emr-serverless:us-east-1:{ACCOUNT}:/applications/{'/jobruns/'.join(parts)}"


def _summary(found: Application) -> Json:
    shown = {name: found.request[name] for name in ("name", "releaseLabel", "type") if name in found.request}
    times = {"createdAt": found.created, "updatedAt": found.since}
    return {**shown, **times, "arn": _arn(found.id), "state": found.state, "stateDetails": found.details}


def _job_summary(found: Application, job: JobRun) -> Json:
    return {
        "applicationId": found.id,
        "name": job.name,
        "mode": job.request.get("mode", "BATCH"),
        "arn": _arn(found.id, job.id),
        "createdBy": f"arn:aws:sts::{ACCOUNT}:assumed-role/orchestrator/session",
        "createdAt": job.created,
        "updatedAt": job.changed,
        "executionRole": job.request["executionRoleArn"],
        "state": job.state,
        "stateDetails": job.details,
        "releaseLabel": found.request["releaseLabel"],
        "attempt": job.attempt,
    }
