"""What is wrong is said within seconds, all at once and with its fix, and nothing is paid for."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_account import SECURITY
from tests.fakes.emr_night import Night, emr_spec, leave_results, tasks_of

from nightshift.jobs.pins import pinned, shipped
from nightshift.spec.models import Training
from nightshift_airflow.compute.emr import stage_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves

ARCHIVE = "nightshift-dependencies-0123456789abcdef-py3.11-x86_64.tar.gz"
DESCRIBED = {
    "bootstrap": "bootstrap-0123456789abcdef.sh",
    "lock": "cd" * 32,
    "packages": pinned(shipped(), python="3.11", platform="x86_64"),
    "platform": "x86_64",
    "python": "3.11",
    "sha256": "ab" * 32,
    "size": 7,
}


def preflight(
    double: AwsDouble, *, night: str = "2013-07-15", training: Training | None = None, **emr: Any
) -> dict[str, Any]:
    """Run the task; after it, nothing has been paid for."""
    spec = emr_spec(**emr)
    run = Night(double, tasks_of(spec.model_copy(update={"training": training or spec.training})))
    context = run.context("preflight", 1)
    context["params"]["night"] = night
    context["dag_run"].run_after = datetime(2026, 11, 20, tzinfo=UTC)
    try:
        found: dict[str, Any] = run.tasks["preflight"].execute(context)
    finally:
        assert double.journal.billable() == []
    return found


def refused(double: AwsDouble, **emr: Any) -> str:
    with pytest.raises(AirflowFailException) as caught:
        preflight(double, **emr)
    return str(caught.value)


def upload(double: AwsDouble, **changes: Any) -> None:
    s3 = double.client("s3")
    s3.put_object(Bucket="ns-code", Key=f"jobs/{ARCHIVE}", Body=b"archive")
    s3.put_object(Bucket="ns-code", Key=f"jobs/{ARCHIVE}.json", Body=json.dumps({**DESCRIBED, **changes}).encode())


def test_all_is_well(double: AwsDouble) -> None:
    assert preflight(double) == {"account": "123456789012", "region": "us-east-1", "release_label": "emr-spark-8.1.0"}


def test_a_release_that_is_not_there_and_those_that_are(double: AwsDouble) -> None:
    said = refused(double, release_label="emr-spark-8.9.0")
    assert "EMR has no release emr-spark-8.9.0 in us-east-1; it has emr-spark-8.0.0, emr-spark-8.1.0" in said
    assert "compute.emr.release_label" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERVICE_ROLE", "no-such-role", "correct NIGHTSHIFT_EMR_SERVICE_ROLE"),
        ("RUNTIME_ROLE", "arn:aws:iam::123456789012:role/no-such", "correct NIGHTSHIFT_EMR_RUNTIME_ROLE"),
        ("INSTANCE_PROFILE", "no-such-profile", "correct NIGHTSHIFT_EMR_INSTANCE_PROFILE"),
        ("SECURITY_CONFIGURATION", "none", "name another in NIGHTSHIFT_EMR_SECURITY_CONFIGURATION"),
        ("SUBNETS", "subnet-00000000", "correct NIGHTSHIFT_EMR_SUBNETS"),
        ("CODE", "s3://no-such-bucket/x", "correct NIGHTSHIFT_EMR_CODE"),
        ("LOG_URI", "s3://no-such-logs/x", "correct NIGHTSHIFT_EMR_LOG_URI"),
        ("DEPENDENCIES", "missing.tar.gz", "nightshift package --to"),
    ],
)
def test_what_is_not_there(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"NIGHTSHIFT_EMR_{name}", value)
    told = refused(double)
    assert value.removeprefix("s3://").removesuffix("/x") in told
    assert said in told
    assert told.count(f"correct NIGHTSHIFT_EMR_{name}") <= 1, "one finding for one mistake"
    assert "nothing was started" in told


def test_everything_at_once(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_ROLE", "INSTANCE_PROFILE", "SECURITY_CONFIGURATION"):
        monkeypatch.setenv(f"NIGHTSHIFT_EMR_{name}", "none")
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", "file:///store")
    told = refused(double, release_label="emr-spark-8.7.0")
    for part in ("SERVICE_ROLE", "INSTANCE_PROFILE", "SECURITY_CONFIGURATION", "file:///store", "emr-spark-8.7.0"):
        assert part in told


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "databricks"])
def test_an_mlflow_that_a_cluster_cannot_reach(double: AwsDouble, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", uri)
    assert f"NIGHTSHIFT_MLFLOW_URI is {uri}, which a cluster cannot reach" in refused(double, stages="all")
    assert preflight(double)


def test_an_mlflow_with_a_password_that_no_node_gets(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", "https://mlflow.example.com")
    assert preflight(double, stages="all")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "airflow")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-4711")
    said = refused(double, stages="all")
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of this machine would be needed" in said
    assert "canary-4711" not in said
    assert preflight(double), "register runs beside Airflow"


def test_a_variable_that_is_missing(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_EMR_SUBNETS")
    assert "NIGHTSHIFT_EMR_SUBNETS is not set" in refused(double)
    assert double.journal.operations("elasticmapreduce")[1:] == [], "AWS was not asked"


@pytest.mark.parametrize(
    ("name", "value", "there"),
    [
        ("SERVICE_ROLE", "arn:aws:iam::999999999999:role/nightshift-emr-service", "role/nightshift-emr-service"),
        ("SERVICE_ROLE", "arn:aws:iam::123456789012:role/other/nightshift-emr-service", "role/nightshift-emr-service"),
        ("SERVICE_ROLE", "other/nightshift-emr-service", "role/nightshift-emr-service"),
        ("RUNTIME_ROLE", "arn:aws:iam::999999999999:role/nightshift-emr-jobs", "role/nightshift-emr-jobs"),
        (
            "INSTANCE_PROFILE",
            "arn:aws:iam::999999999999:instance-profile/nightshift-emr-nodes",
            "instance-profile/nightshift-emr-nodes",
        ),
    ],
)
def test_a_role_of_that_name_that_is_another(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, name: str, value: str, there: str
) -> None:
    monkeypatch.setenv(f"NIGHTSHIFT_EMR_{name}", value)
    said = refused(double)
    assert f"NIGHTSHIFT_EMR_{name} is {value}, and the one of this account is arn:aws:iam::123456789012:{there}" in said


def test_roles_by_their_full_names(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    account = "arn:aws:iam::123456789012"
    monkeypatch.setenv("NIGHTSHIFT_EMR_SERVICE_ROLE", f"{account}:role/nightshift-emr-service")
    monkeypatch.setenv("NIGHTSHIFT_EMR_INSTANCE_PROFILE", f"{account}:instance-profile/nightshift-emr-nodes")
    assert preflight(double)["account"] == "123456789012"


def test_an_instance_profile_without_a_role(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    iam = double.client("iam")
    iam.create_instance_profile(InstanceProfileName="empty")
    monkeypatch.setenv("NIGHTSHIFT_EMR_INSTANCE_PROFILE", "empty")
    assert "the instance profile empty has no role, so nodes could reach nothing" in refused(double)
    iam.delete_instance_profile(InstanceProfileName="empty")


def test_rights_are_asked_of_the_role_by_its_path(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ARN of a session leaves the path of its role out; MWAA's roles have one."""
    iam, name = double.client("iam"), f"mwaa-{uuid.uuid4().hex[:8]}"
    role = iam.create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    keys = double.client("sts").assume_role(RoleArn=role, RoleSessionName="airflow")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    preflight(double)
    asked = [call.parameters["PolicySourceArn"] for call in double.journal.of("SimulatePrincipalPolicy")]
    nodes = "arn:aws:iam::123456789012:role/nightshift-emr-nodes"
    assert {each for each in asked if each != nodes} == {f"arn:aws:iam::123456789012:role/service-role/{name}"}
    assert "not checked" not in caplog.text


def test_subnets_that_awss_own_policy_lets_emr_not_use(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    iam, ec2 = double.client("iam"), double.client("ec2")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    arn = iam.create_policy(PolicyName="AmazonEMRServicePolicy_v2", PolicyDocument=policy)["Policy"]["Arn"]
    iam.create_role(RoleName="tagged-only", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="tagged-only", PolicyArn=arn)
    monkeypatch.setenv("NIGHTSHIFT_EMR_SERVICE_ROLE", "tagged-only")
    first, second = os.environ["NIGHTSHIFT_EMR_SUBNETS"].split(",")
    tag = [{"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}]
    ec2.create_tags(Resources=[first], Tags=tag)
    assert f"{second} has no tag for-use-with-amazon-emr-managed-policies=true" in refused(double)
    ec2.create_tags(Resources=[second], Tags=tag)
    preflight(double)
    ec2.delete_tags(Resources=[first, second], Tags=tag)


@pytest.mark.parametrize(("bucket", "said"), [("ns-code", "NIGHTSHIFT_EMR_CODE"), ("ns-store", "storage.json")])
def test_a_bucket_that_may_be_looked_at_and_not_written_to(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, bucket: str, said: str
) -> None:
    """The code and the plan are the first things that tasks write: they are written before anything is paid for."""
    place = f"{bucket}/{uuid.uuid4()}"
    monkeypatch.setenv("NIGHTSHIFT_STORAGE" if bucket == "ns-store" else "NIGHTSHIFT_EMR_CODE", f"s3://{place}")
    double.inject.refuse("s3:PutObject", "AccessDeniedException", calls=None)
    told = refused(double)
    assert f"write s3://{place}/" in told
    assert said in told


def test_nodes_that_may_not_write_are_found_before_there_are_any(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.inject.refuse("DeleteObject", "AccessDeniedException", calls=None)
    store = os.environ["NIGHTSHIFT_STORAGE"]
    role = "arn:aws:iam::123456789012:role/nightshift-emr-"
    assert f"{role}nodes may not s3:DeleteObject below {store}: attach docs/aws/policies/storage.json" in refused(
        double
    )
    monkeypatch.setenv("NIGHTSHIFT_EMR_RUNTIME_ROLE", f"{role}jobs")
    assert f"{role}jobs may not s3:DeleteObject below {store}" in refused(double)
    asked = [call.parameters for call in double.journal.of("SimulatePrincipalPolicy")]
    places = {(each["PolicySourceArn"], each["ResourceArns.member.1"]) for each in asked}
    assert places >= {
        (f"{role}nodes", "arn:aws:s3:::ns-code/jobs/object"),
        (f"{role}nodes", "arn:aws:s3:::ns-logs/emr/object"),
        (f"{role}jobs", "arn:aws:s3:::ns-store/nights/object"),
    }


def test_what_preflight_writes_is_what_the_first_stage_needs(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", f"s3://ns-store/{uuid.uuid4()}")
    monkeypatch.setenv("NIGHTSHIFT_EMR_CODE", f"s3://ns-code/jobs/{uuid.uuid4()}")
    night = Night(double, tasks_of(emr_spec()))
    night.run(until="preflight")
    written = {call.parameters["Key"] for call in double.journal.of("PutObject")}
    assert [name for name in written if "/plan/2013-07-14/" in name]
    assert [name for name in written if name.endswith(".zip")]
    double.journal.clear()
    double.inject.step("*", "COMPLETED", times=None)
    monkeypatch.setattr(stage_run, "_add", leave_results(double))
    night.run(until="ingest")
    later = {call.parameters["Key"] for call in double.journal.of("PutObject") if call.key == "orchestrator"}
    assert night.states["ingest"] == "success"
    assert {name for name in later if not name.endswith("result.json")} <= written


@pytest.mark.parametrize(
    "encryption",
    [
        None,
        {**SECURITY["EncryptionConfiguration"], "EnableAtRestEncryption": False},
        {"EnableAtRestEncryption": True, "AtRestEncryptionConfiguration": {"LocalDiskEncryptionConfiguration": {}}},
    ],
)
def test_a_security_configuration_that_encrypts_no_disks(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, encryption: dict[str, Any] | None
) -> None:
    asked = {**SECURITY, "EncryptionConfiguration": encryption} if encryption else dict(list(SECURITY.items())[:2])
    double.client("emr").create_security_configuration(Name="open", SecurityConfiguration=json.dumps(asked))
    monkeypatch.setenv("NIGHTSHIFT_EMR_SECURITY_CONFIGURATION", "open")
    assert "the security configuration open does not encrypt disks: set EncryptionConfiguration." in refused(double)


def test_a_security_configuration_without_imdsv2_or_without_runtime_roles(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = {"EncryptionConfiguration": SECURITY["EncryptionConfiguration"]}
    double.client("emr").create_security_configuration(Name="weak", SecurityConfiguration=json.dumps(weak))
    monkeypatch.setenv("NIGHTSHIFT_EMR_SECURITY_CONFIGURATION", "weak")
    monkeypatch.setenv("NIGHTSHIFT_EMR_RUNTIME_ROLE", "arn:aws:iam::123456789012:role/nightshift-emr-jobs")
    told = refused(double)
    assert "does not ask for IMDSv2" in told
    assert "does not allow runtime roles" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"python": "3.13"}, "is for Python 3.13, and jobs run by /usr/bin/python3.11"),
        ({"platform": "aarch64"}, "is for aarch64, and m5.xlarge is x86_64"),
        ({"sha256": "?"}, "names no sha256"),
        ({"bootstrap": "../x"}, "no script to unpack it"),
    ],
)
def test_packages_for_other_machines(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    upload(double, **changes)
    monkeypatch.setenv("NIGHTSHIFT_EMR_DEPENDENCIES", ARCHIVE)
    monkeypatch.delenv("NIGHTSHIFT_EMR_PYTHON")
    assert said in refused(double)


def test_packages_that_fit(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(double)
    monkeypatch.setenv("NIGHTSHIFT_EMR_DEPENDENCIES", ARCHIVE)
    monkeypatch.delenv("NIGHTSHIFT_EMR_PYTHON")
    assert preflight(double)["account"] == "123456789012"


def test_packages_without_the_engine(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has is not asked."""
    monkeypatch.setenv("NIGHTSHIFT_EMR_DEPENDENCIES", ARCHIVE)
    monkeypatch.delenv("NIGHTSHIFT_EMR_PYTHON")
    torch = Training(engine="torch")
    upload(double)
    assert f"{ARCHIVE} has no torch, which the engine torch needs: build it" in refused(double, training=torch)
    assert preflight(double)
    upload(double, packages={**DESCRIBED["packages"], "torch": "2.9.0"})
    assert preflight(double, training=torch)


def test_packages_of_another_lock(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade of the code an archive of the old lock runs other libraries under equal stage keys."""
    monkeypatch.setenv("NIGHTSHIFT_EMR_DEPENDENCIES", ARCHIVE)
    monkeypatch.delenv("NIGHTSHIFT_EMR_PYTHON")
    locked = DESCRIBED["packages"]
    older = {name: version for name, version in locked.items() if name != "onnx"} | {"numpy": "2.2.0"}
    upload(double, packages=older)
    said = refused(double)
    assert f"{ARCHIVE} has other packages than this code was locked with" in said
    assert f"numpy 2.2.0 (locked: {locked['numpy']}), onnx is missing (locked: {locked['onnx']}); build it" in said
    upload(double, packages={**locked, "our-engine": "1.0"})
    assert preflight(double), "more than the lock may be there"
    upload(double, packages=["numpy"])
    assert "does not describe a dependency archive" in refused(double)


def test_a_bucket_that_may_not_be_used(double: AwsDouble) -> None:
    double.inject.refuse("s3:HeadBucket", "AccessDeniedException")
    assert "allow s3:ListBucket on it" in refused(double)


@pytest.mark.parametrize(
    "operation", ["ListReleaseLabels", "DescribeSecurityConfiguration", "GetRole", "DescribeSubnets"]
)
def test_what_may_not_be_asked_is_not_checked_and_no_reason_to_fail(
    double: AwsDouble, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    double.inject.refuse(operation, "AccessDeniedException", calls=None)
    preflight(double)
    assert "not checked" in caplog.text


def test_what_may_not_be_done_is_said_before_anything_is_paid_for(double: AwsDouble) -> None:
    double.inject.refuse("RunJobFlow", "AccessDeniedException", calls=None)
    double.inject.refuse("TerminateJobFlows", "AccessDeniedException", calls=None)
    said = refused(double)
    assert "may not elasticmapreduce:RunJobFlow, elasticmapreduce:TerminateJobFlows" in said
    assert "attach the orchestrator's policy" in said


def test_where_nobody_may_ask_about_rights_the_refusal_itself_says_it(double: AwsDouble) -> None:
    night = Night(double, tasks_of(emr_spec()))
    double.inject.refuse("SimulatePrincipalPolicy", "AccessDeniedException", calls=None)
    double.inject.refuse("RunJobFlow", "AccessDeniedException", calls=None)
    assert night.run() == "failed"
    assert double.journal.billable() == []
    assert [task for task, _ in night.said] == ["cluster", "release"], "and it is not tried again"
    assert "orchestrator's policy" in night.said[0][1]


def test_a_night_without_data_has_no_cluster(double: AwsDouble) -> None:
    with pytest.raises(AirflowSkipException, match=r"source\.until"):
        preflight(double, night="2014-01-05")


def test_no_credentials(double: AwsDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "NIGHTSHIFT_EMR_CONNECTION" in refused(double)


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"])
def test_keys_that_nobody_knows(double: AwsDouble, code: str) -> None:
    """Said after one request: nobody waits for what does not pass, and nobody needs to hear it ten times."""
    double.inject.refuse("*", code, calls=None, message="The security token included in the request is invalid.")
    said = refused(double)
    assert "is invalid." in said
    assert code.removesuffix("Exception") in said
    assert "NIGHTSHIFT_EMR_CONNECTION" in said
    assert double.journal.operations()[-1:] == ["GetCallerIdentity"]
    assert len(double.journal.of("GetCallerIdentity")) == 1
