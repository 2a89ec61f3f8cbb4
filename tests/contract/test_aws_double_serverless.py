"""The double's EMR Serverless through boto3 and the Amazon provider. No program is run here."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.request
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.fakes.aws import AwsDouble, Clock, Timing, aws_double

PHASES = Timing(starting=40, terminating=20)
ROLE = "arn:aws:iam::123456789012:role/nightshift-job"
LOGS = {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://logs/serverless/"}}}


@pytest.fixture(scope="module")
def started() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/jobs/", clock=Clock(frozen=True), timing=PHASES) as double:
        double.client("s3").create_bucket(Bucket="logs")
        yield double


@pytest.fixture
def double(started: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    started.reset()
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    return started


@pytest.fixture
def serverless(double: AwsDouble) -> Any:
    return double.client("emr-serverless")


def create(serverless: Any, **changes: Any) -> str:
    wanted = {"name": "nights", "releaseLabel": "emr-spark-8.1.0", "type": "SPARK", **changes}
    return serverless.create_application(**wanted)["applicationId"]


def run(serverless: Any, application: str, name: str = "train", **changes: Any) -> str:
    driver = {"sparkSubmit": {"entryPoint": "s3://code/jobs/program.py", "entryPointArguments": ["train"]}}
    wanted = {"executionRoleArn": ROLE, "jobDriver": driver, "configurationOverrides": LOGS, **changes}
    return serverless.start_job_run(applicationId=application, name=name, **wanted)["jobRunId"]


def state(serverless: Any, application: str) -> str:
    return serverless.get_application(applicationId=application)["application"]["state"]


def job(serverless: Any, application: str, run_id: str) -> dict[str, Any]:
    return serverless.get_job_run(applicationId=application, jobRunId=run_id)["jobRun"]


def test_an_application_starts_with_its_first_job_and_stops_by_itself(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("train", "COMPLETED")
    application = create(serverless, autoStopConfiguration={"enabled": True, "idleTimeoutMinutes": 5})
    assert state(serverless, application) == "CREATED"
    first = run(serverless, application)
    assert (state(serverless, application), job(serverless, application, first)["state"]) == ("STARTING", "SUBMITTED")
    double.advance(40)
    double.join()
    assert (state(serverless, application), job(serverless, application, first)["state"]) == ("STARTED", "SUCCESS")
    double.advance(299)
    assert state(serverless, application) == "STARTED"
    double.advance(1)
    assert state(serverless, application) == "STOPPING"
    double.advance(20)
    assert state(serverless, application) == "STOPPED"
    serverless.delete_application(applicationId=application)
    assert state(serverless, application) == "TERMINATED"


def test_a_job_that_fails_is_tried_again_as_often_as_was_asked(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("train", "FAILED", times=2, message="ValueError: no such column")
    double.inject.step("train", "COMPLETED")
    application = create(serverless)
    twice = run(serverless, application, retryPolicy={"maxAttempts": 2})
    double.advance(40)
    double.join()
    found = job(serverless, application, twice)
    assert (found["state"], found["attempt"]) == ("FAILED", 2)
    assert "ExitCode: 1. Last few exceptions: ValueError: no such column" in found["stateDetails"]
    key = f"serverless/applications/{application}/jobs/{twice}/SPARK_DRIVER/stdout.gz"
    assert gzip.decompress(double.client("s3").get_object(Bucket="logs", Key=key)["Body"].read()).endswith(b"column\n")


def test_a_job_that_takes_too_long_is_cancelled_and_its_hours_are_billed(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("train", "HANG")
    application = create(serverless)
    parameters = "--conf spark.driver.cores=2 --conf spark.executor.cores=4 --conf spark.executor.instances=3 --conf spark.driver.memory=8g --conf spark.executor.memory=16g"
    driver = {"sparkSubmit": {"entryPoint": "s3://code/jobs/program.py", "sparkSubmitParameters": parameters}}
    long = run(serverless, application, jobDriver=driver, executionTimeoutMinutes=60)
    double.advance(40)
    double.advance(10_000)
    found = job(serverless, application, long)
    assert (found["state"], found["totalExecutionDurationSeconds"]) == ("CANCELLED", 3600)
    assert found["billedResourceUtilization"] == pytest.approx({"vCPUHour": 14, "memoryGBHour": 56, "storageGBHour": 0})


def test_jobs_are_cancelled_listed_and_tagged(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("*", "HANG", times=None)
    application = create(serverless, tags={"env": "dev"})
    first, second = run(serverless, application, "a"), run(serverless, application, "b", tags={"run": "1"})
    double.advance(40)
    serverless.cancel_job_run(applicationId=application, jobRunId=first)
    with pytest.raises(ClientError, match=r"ValidationException.*has ended already"):
        serverless.cancel_job_run(applicationId=application, jobRunId=first)
    running = serverless.list_job_runs(applicationId=application, states=["RUNNING", "PENDING"])["jobRuns"]
    assert [each["id"] for each in running] == [second]
    arn = running[0]["arn"]
    serverless.tag_resource(resourceArn=arn, tags={"model": "flights"})
    serverless.untag_resource(resourceArn=arn, tagKeys=["run"])
    assert serverless.list_tags_for_resource(resourceArn=arn)["tags"] == {"model": "flights"}
    with pytest.raises(ClientError, match="have not ended"):
        serverless.stop_application(applicationId=application)
    assert [each["id"] for each in serverless.list_applications(states=["STARTED"])["applications"]] == [application]
    with urllib.request.urlopen(f"{double.endpoint}/_double/applications") as answer:
        jobs = {first: ["a", "CANCELLED"], second: ["b", "RUNNING"]}
        assert json.load(answer) == [{"id": application, "state": "STARTED", "jobs": jobs}]


def test_the_same_token_starts_the_same_thing_once(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("*", "HANG", times=None)
    application = create(serverless, clientToken="night")
    assert create(serverless, clientToken="night") == application
    assert run(serverless, application, clientToken="train") == run(serverless, application, clientToken="train")
    double.inject.lose_answer("StartJobRun")
    run(serverless, application, "third")
    assert len(serverless.list_job_runs(applicationId=application)["jobRuns"]) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"releaseLabel": "emr-9.9.9"}, "emr-9.9.9 is not supported"),
        ({"type": "HIVE"}, "type Spark"),
        ({"architecture": "RISC"}, "ARM64, X86_64"),
    ],
)
def test_an_application_that_cannot_be_is_refused(serverless: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        create(serverless, **changes)


def test_a_job_that_cannot_be_is_refused(double: AwsDouble, serverless: Any) -> None:
    application = create(serverless, autoStartConfiguration={"enabled": False})
    with pytest.raises(ClientError, match="must be STARTED to run jobs"):
        run(serverless, application)
    outside = {"sparkSubmit": {"entryPoint": "s3://other/program.py"}}
    with pytest.raises(ClientError, match="programs below s3://code/jobs/ only"):
        run(serverless, application, jobDriver=outside)
    with pytest.raises(ClientError, match=r"ResourceNotFoundException.*does not exist"):
        serverless.get_job_run(applicationId="00none", jobRunId="00none")
    double.inject.refuse("GetApplication", "AccessDeniedException")
    with pytest.raises(ClientError, match="not authorized to perform: emr-serverless:GetApplication"):
        serverless.get_application(applicationId=application)
    assert double.journal.billable() == []


def test_the_provider_waits_for_applications_and_jobs(double: AwsDouble, serverless: Any) -> None:
    double.inject.step("train", "COMPLETED")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own
        from airflow.providers.amazon.aws.hooks.emr import EmrServerlessHook
        from airflow.providers.amazon.aws.triggers.emr import EmrServerlessStartJobTrigger

        hook, once = EmrServerlessHook(aws_conn_id="aws_default"), {"Delay": 0, "MaxAttempts": 1}
        application = create(serverless)
        hook.get_waiter("serverless_app_created").wait(applicationId=application, WaiterConfig=once)
        serverless.start_application(applicationId=application)
        double.advance(40)
        hook.get_waiter("serverless_app_started").wait(applicationId=application, WaiterConfig=once)
        done = run(serverless, application)
        double.join()
        trigger = EmrServerlessStartJobTrigger(
            application, done, waiter_delay=0, waiter_max_attempts=3, aws_conn_id="aws_default", cancel_on_kill=False
        )

        async def first() -> Any:
            async for event in trigger.run():
                return event.payload

        assert asyncio.run(first())["status"] == "success"
