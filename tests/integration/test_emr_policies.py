"""The policies of ``docs/aws``, as IAM would decide by them, for everything that is really asked of AWS: by Airflow's
tasks here, by jobs with Spark in the test that takes minutes. What is taken out of a policy, some call needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.aws import AwsDouble, aws_double
from tests.fakes.aws.server import INSTANCE_ROLE
from tests.fakes.aws.spark_submit import JARS
from tests.fakes.aws.wire import Call
from tests.fakes.aws_policies import Account, Right, refusals
from tests.fakes.emr_account import (
    NODE_ROLE,
    PROGRAMS,
    RUNTIME_ROLE,
    SERVICE_ROLE,
    emr_workplace,
    prepare,
)
from tests.fakes.emr_night import Night, emr_spec, leave_results, tasks_of
from tests.fakes.s3a_jars import s3a_jars
from tests.fakes.tiny_model import FIRST_NIGHT

from nightshift.emr_settings import EmrSettings
from nightshift.storage.s3_leftovers import remove_s3_leftovers
from nightshift_airflow.compute.emr import driver_log, stage_run
from nightshift_airflow.compute.emr.account import Account as AwsAccount
from nightshift_airflow.compute.emr.stage_run import Submitted

AS = "orchestrator"
PREFIX = "jobs/night"  # one for all three buckets, as the module of docs/aws makes it
NAMES = {
    "account": "123456789012",
    "partition": "aws",
    "region": "us-east-1",
    "env": "dev",
    "data_bucket": "ns-store",
    "code_bucket": "ns-code",
    "logs_bucket": "ns-logs",
    "prefix": PREFIX,
    "key": "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d",
    "service_role": SERVICE_ROLE,
    "node_role": NODE_ROLE,
    "job_role": RUNTIME_ROLE,
    "orchestrator_arn": "arn:aws:sts::123456789012:user/moto",
    "instance_data": "aws157-instance-data",
    "system_logs": "aws157-logs-prod",
}
PLACES = {
    "NIGHTSHIFT_STORAGE": f"s3://ns-store/{PREFIX}",
    "NIGHTSHIFT_EMR_CODE": f"s3://ns-code/{PREFIX}",
    "NIGHTSHIFT_EMR_LOG_URI": f"s3://ns-logs/{PREFIX}",
}
AIRFLOW, NODES, JOBS = ("orchestrator", "storage"), ("node", "storage"), ("job", "storage")
# What every call would be allowed without.
BY_AWS = {Right("orchestrator", "LetEmrCleanUp", "iam:CreateServiceLinkedRole"): "EMR asks, once in an account's life"}
TWICE = {  # both policies are always attached, and each is whole for whoever reads it
    Right(policy, "UseTheKeyThroughS3", f"kms:{action}")
    for policy in ("orchestrator", "storage")
    for action in ("Decrypt", "GenerateDataKey")
}
TWICE_ON_NODES = {right for right in TWICE if right.policy == "storage"} | {
    Right("node", "UseTheKeyForDisksAndS3", f"kms:{action}") for action in ("Decrypt", "GenerateDataKey")
}
# Of machines and services that the double has not: encrypted disks, and file systems that look into folders.
OF_EMR = {
    Right("node", "LookIntoBuckets", "s3:ListBucket"),
    Right("node", "UseTheKeyForDisksAndS3", "kms:DescribeKey"),
    Right("node", "UseTheKeyForDisksAndS3", "kms:Encrypt"),
}
# What jobs may, and only Airflow's housekeeping does: uploads of a job that was killed.
OF_HOUSEKEEPING = {
    Right("storage", "Objects", f"s3:{action}") for action in ("AbortMultipartUpload", "ListMultipartUploadParts")
}


def unneeded(calls: list[Call], account: Account, key: str, *policies: str) -> set[Right]:
    """Rights without which every call would have been allowed all the same."""
    return {
        right
        for right in account.rights(*policies)
        if not refusals(calls, account, {key: [account.statements(*policies, without=right)]})
    }


@pytest.fixture(scope="module")
def evening(aws: AwsDouble) -> Iterator[tuple[list[Call], Account]]:
    """All that Airflow's tasks do: a night, a step that is cancelled, a protected cluster's end, housekeeping."""
    with pytest.MonkeyPatch.context() as patch:
        aws.reset()
        for name, value in {**prepare(aws), **PLACES, "NIGHTSHIFT_EMR_RUNTIME_ROLE": runtime_role()}.items():
            patch.setenv(name, value)
        role, keys = airflow_role(aws)
        for name, value in keys.items():
            patch.setenv(name, value)
        patch.setattr(stage_run, "_add", leave_results(aws))
        aws.inject.step("*", "COMPLETED", times=None)
        night = Night(aws, tasks_of(emr_spec()))
        night.before = lambda task, _: spoil(aws, task)
        aws.journal.clear()
        assert night.run() == "success", night.said
        leave_behind(aws)
        remove_s3_leftovers(PLACES["NIGHTSHIFT_STORAGE"], before=datetime.now(UTC) + timedelta(hours=1), dry_run=False)
        calls = [replace(call, key=AS) for call in aws.journal if call.key == keys["AWS_ACCESS_KEY_ID"]]
        tags = {each.id: each.tags for each in aws.emr.clusters()}
        yield calls, Account({**NAMES, "orchestrator_arn": role}, tags)


def airflow_role(aws: AwsDouble) -> tuple[str, dict[str, str]]:
    """A role with a path, as MWAA makes them, and keys of a session of it."""
    name = f"airflow-{uuid.uuid4().hex[:8]}"
    made = aws.client("iam").create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument="{}")
    given = aws.client("sts").assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName="airflow")["Credentials"]
    names = {"AccessKeyId": "ACCESS_KEY_ID", "SecretAccessKey": "SECRET_ACCESS_KEY", "SessionToken": "SESSION_TOKEN"}
    return made["Role"]["Arn"], {f"AWS_{variable}": given[key] for key, variable in names.items()}


def runtime_role() -> str:
    return f"arn:aws:iam::123456789012:role/{RUNTIME_ROLE}"


def spoil(aws: AwsDouble, task: str) -> None:
    """Before the end: somebody protects the cluster, a step's logs are read, and it is cancelled."""
    if task == "release":
        [cluster] = aws.emr.clusters()
        someone = aws.client("emr", {**INSTANCE_ROLE, "AWS_ACCESS_KEY_ID": "someone"})
        someone.set_termination_protection(JobFlowIds=[cluster.id], TerminationProtected=True)
        account, emr, step = AwsAccount("aws_default"), EmrSettings.from_environment(), cluster.steps[-1].id
        driver_log.last_words(account, driver_log.folder_of(emr.log_uri, cluster.id, step), wait_s=0)
        result = f"{PLACES['NIGHTSHIFT_STORAGE']}/result.json"
        Submitted(account, emr, stage="evaluate", cluster_id=cluster.id, step_id=step, result=result).cancel()


def leave_behind(aws: AwsDouble) -> None:
    """What a job leaves that is killed: an upload in parts, and a marker of a folder."""
    s3 = aws.client("s3", INSTANCE_ROLE)
    upload = s3.create_multipart_upload(Bucket="ns-store", Key=f"{PREFIX}/dev/{uuid.uuid4()}")
    place = {name: upload[name] for name in ("Bucket", "Key", "UploadId")}
    s3.upload_part(**place, PartNumber=1, Body=b"half")
    s3.put_object(Bucket="ns-store", Key=f"{PREFIX}/dev/folder/", Body=b"")


def test_airflow_may_do_all_that_its_tasks_do(evening: tuple[list[Call], Account]) -> None:
    calls, account = evening
    assert refusals(calls, account, {AS: [account.statements(*AIRFLOW)]}) == []


def test_airflow_needs_every_right_that_it_has(evening: tuple[list[Call], Account]) -> None:
    calls, account = evening
    assert unneeded(calls, account, AS, *AIRFLOW) == set(BY_AWS) | TWICE


@pytest.mark.parametrize(
    ("right", "resource", "operation"),
    [
        (
            Right("storage", "Objects", "s3:AbortMultipartUpload"),
            "s3:::ns-store/jobs/night/dev/",
            "AbortMultipartUpload",
        ),
        (Right("storage", "Objects", "s3:DeleteObject"), "s3:::ns-store/jobs/night/dev/folder/", "DeleteObjects"),
        (Right("orchestrator", "ProvideCode", "s3:PutObject"), "s3:::ns-code/jobs/night/", "PutObject"),
        (
            Right("orchestrator", "TagThemWhenTheyAreCreated", "elasticmapreduce:AddTags"),
            "elasticmapreduce:us-east-1:123456789012:cluster/j-",
            "RunJobFlow",
        ),
        (
            Right("orchestrator", "GiveNodesTheirRole", "iam:PassRole"),
            f"iam::123456789012:role/{NODE_ROLE}",
            "RunJobFlow",
        ),
    ],
)
def test_a_right_that_is_taken_away_is_named_with_the_call_that_needs_it(
    evening: tuple[list[Call], Account], right: Right, resource: str, operation: str
) -> None:
    calls, account = evening
    told = refusals(calls, account, {AS: [account.statements(*AIRFLOW, without=right)]})
    assert told
    for each in told:
        assert each.startswith(f"{AS} may not {right.action} on arn:aws:{resource}"), each
        assert f"which {operation} needs" in each


def test_rights_end_at_the_prefix_and_at_the_environment(evening: tuple[list[Call], Account]) -> None:
    calls, account = evening
    elsewhere = replace(account, names={**account.names, "prefix": "jobs/other"})
    told = "\n".join(refusals(calls, account, {AS: [elsewhere.statements(*AIRFLOW)]}))
    assert "may not s3:PutObject on arn:aws:s3:::ns-code/jobs/night/" in told
    assert "may not s3:ListBucket on arn:aws:s3:::ns-store, which ListObjectsV2 needs" in told
    assert "elasticmapreduce" not in told
    other = replace(account, names={**account.names, "env": "prod"})
    told = "\n".join(refusals(calls, account, {AS: [other.statements(*AIRFLOW)]}))
    for action in ("RunJobFlow", "AddJobFlowSteps", "TerminateJobFlows", "SetTerminationProtection", "CancelSteps"):
        assert f"may not elasticmapreduce:{action} " in told
    assert "s3:" not in told


def test_somebody_whose_calls_nobody_knows_is_an_error(evening: tuple[list[Call], Account]) -> None:
    """A new operation must be given its action here before its policy can be complete."""
    _, account = evening
    with pytest.raises(LookupError, match="what does sqs:SendMessage need"):
        refusals([Call("sqs", "SendMessage", key=AS)], account, {AS: [[]]})


@pytest.mark.airflow
@pytest.mark.jvm
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nodes_and_jobs_may_do_all_that_a_night_with_spark_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JARS, s3a_jars())
    with aws_double(programs=PROGRAMS) as double:
        workplace = emr_workplace(tmp_path / "workplace", double)
        workplace.environ |= PLACES
        move_source(double, workplace.models / "parcels.yaml")
        double.journal.clear()
        ran = workplace.test(FIRST_NIGHT.isoformat())
        assert ran.returncode == 0, ran.stdout[-6000:]
        calls = list(double.journal)
        account = Account(NAMES, {each.id: each.tags for each in double.emr.clusters()})
    key = [{"Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": NAMES["key"]}]  # not by S3's endpoint
    rights = {
        AS: [account.statements(*AIRFLOW)],
        "instance-role": [account.statements(*NODES), account.statements("s3-endpoint") + key],
    }
    assert refusals(calls, account, rights) == []
    by_jobs = [
        replace(call, key="job")
        for call in calls
        if call.key == "instance-role" and call.parameters.get("Bucket") != "ns-logs"
    ]
    assert refusals(by_jobs, account, {"job": [account.statements(*JOBS)]}) == []
    assert unneeded(calls, account, "instance-role", *NODES) == OF_EMR | OF_HOUSEKEEPING | TWICE_ON_NODES
    assert (
        unneeded(by_jobs, account, "job", *JOBS) == {Right("job", "LookIntoBuckets", "s3:ListBucket")} | OF_HOUSEKEEPING
    )


def move_source(double: AwsDouble, spec: Path) -> None:
    """The rows of the source to where the policies reach; rows elsewhere need a policy of their own."""
    s3 = double.client("s3")
    for each in s3.list_objects_v2(Bucket="ns-data", Prefix="parcels/")["Contents"]:
        body = s3.get_object(Bucket="ns-data", Key=each["Key"])["Body"].read()
        s3.put_object(Bucket="ns-store", Key=f"{PREFIX}/{each['Key']}", Body=body)
    spec.write_text(spec.read_text().replace("s3://ns-data/parcels", f"s3://ns-store/{PREFIX}/parcels"))
