"""What the double's EMR refuses, what goes wrong on demand, and what it remembers: through plain boto3."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from tests.fakes.aws import AwsDouble, Clock, aws_double, requests

ROOT = Path(__file__).parent.parent.parent
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def _double() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/jobs/", clock=Clock(frozen=True)) as double:
        double.client("s3").create_bucket(Bucket="code")
        yield double


@pytest.fixture
def double(_double: AwsDouble) -> AwsDouble:
    _double.reset()
    return _double


@pytest.fixture
def emr(double: AwsDouble) -> Any:
    return double.client("emr", config=ONCE)


def fleet(kind: str = "CORE", **changes: Any) -> dict[str, Any]:
    types = [{"InstanceType": "m5.xlarge"}]
    return {"InstanceFleetType": kind, "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": types, **changes}


def fleets(*wanted: dict[str, Any]) -> dict[str, Any]:
    return {"Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": list(wanted)}}


def types(count: int) -> list[dict[str, Any]]:
    return [{"InstanceType": f"m{n}.xlarge"} for n in range(count)]


SPOT = {"SpotSpecification": {"TimeoutDurationMinutes": 10, "TimeoutAction": "SWITCH_TO_ON_DEMAND"}}
LIMITS = {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 3}

REFUSED = {
    "unknown release": ({"ReleaseLabel": "emr-9.9.9"}, r"^The supplied release label is invalid: emr-9\.9\.9\.$"),
    "no release": ({"ReleaseLabel": None}, "Must specify exactly one of the following: release label"),
    "application": ({"Applications": [{"Name": "Presto"}]}, "Presto is not supported by release emr-spark-8.1.0"),
    "no service role": ({"ServiceRole": None}, r"^ServiceRole is required for creating cluster\.$"),
    "role that is none": ({"ServiceRole": "arn:aws:s3:::bucket"}, "Invalid ServiceRole: arn:aws:s3:::bucket"),
    "profile": ({"JobFlowRole": "a role/with:no name"}, r"^Invalid InstanceProfile: a role/with:no name\.$"),
    "too short idle time": ({"AutoTerminationPolicy": {"IdleTimeout": 59}}, "between 60 and 604800 seconds"),
    "idle time for ever": ({"AutoTerminationPolicy": {"IdleTimeout": 604_801}}, "between 60 and 604800 seconds"),
    "no primary": (fleets(fleet("CORE")), "must have one MASTER instance fleet"),
    "two cores": (fleets(fleet("MASTER"), fleet(), fleet()), "at most one CORE"),
    "two primaries": (fleets(fleet("MASTER", TargetOnDemandCapacity=2)), "exactly one"),
    "nothing wanted": (fleets(fleet("MASTER"), fleet(TargetOnDemandCapacity=0)), "capacity must be at least one"),
    "six types": (fleets(fleet("MASTER"), fleet(InstanceTypeConfigs=types(6))), "6 instance types, and at most 5"),
    "one type twice": (fleets(fleet("MASTER"), fleet(InstanceTypeConfigs=types(1) * 2)), "duplicate instance types"),
    "unknown market": (
        fleets(fleet("PRIMARY")),
        r"'PRIMARY' at 'instances\.instanceFleets\.1\.member\.instanceFleetType'",
    ),
    "impatient spot": (
        fleets(
            fleet("MASTER"),
            fleet(
                LaunchSpecifications={"SpotSpecification": {**SPOT["SpotSpecification"], "TimeoutDurationMinutes": 4}}
            ),
        ),
        "between 5 and 1440 minutes",
    ),
    "scaling in instances": (
        {"ManagedScalingPolicy": {"ComputeLimits": {**LIMITS, "UnitType": "Instances"}}},
        "use InstanceFleetUnits",
    ),
    "scaling down": (
        {"ManagedScalingPolicy": {"ComputeLimits": {**LIMITS, "MaximumCapacityUnits": 0}}},
        "not more than MaximumCapacityUnits",
    ),
    "scaling core": (
        {"ManagedScalingPolicy": {"ComputeLimits": {**LIMITS, "MaximumCoreCapacityUnits": 4}}},
        "MaximumCoreCapacityUnits must not be more",
    ),
    "no such security": ({"SecurityConfiguration": "none"}, "Security configuration with name 'none' does not exist"),
    "action": (
        {"Steps": [{**requests.step("a"), "ActionOnFailure": "SHRUG"}]},
        r"Member must satisfy enum value set: \[TERMINATE_JOB_FLOW, TERMINATE_CLUSTER, CANCEL_AND_WAIT, CONTINUE\]",
    ),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_emr_would_refuse_is_refused_and_costs_nothing(
    double: AwsDouble, emr: Any, changes: dict[str, Any], words: str
) -> None:
    request = {name: value for name, value in requests.cluster(**changes).items() if value is not None}
    with pytest.raises(ClientError) as refusal:
        emr.run_job_flow(**request)
    error = refusal.value.response["Error"]
    assert error["Code"] in ("ValidationException", "InvalidRequestException")
    assert re.search(words, error["Message"]), error["Message"]
    assert double.journal.billable() == []
    assert double.emr.clusters() == []


@pytest.mark.parametrize(
    ("jar", "arguments", "words"),
    [
        ("s3://other/script-runner.jar", ["spark-submit", requests.PROGRAM], "runs command-runner.jar only"),
        ("command-runner.jar", ["bash", "-c", "rm -rf /"], "only spark-submit runs here"),
        ("command-runner.jar", ["spark-submit", "--conf", "a=b"], "names no program"),
        ("command-runner.jar", ["spark-submit", "--conf"], "--conf has no value"),
        ("command-runner.jar", ["spark-submit", "s3://other/program.py"], "programs below s3://code/jobs/ only"),
        ("command-runner.jar", ["spark-submit", "s3://code/jobs/../evil.py"], "programs below s3://code/jobs/ only"),
        ("command-runner.jar", ["spark-submit", "/usr/bin/program.py"], "programs below s3://code/jobs/ only"),
        ("command-runner.jar", [], "only spark-submit runs here, not nothing"),
    ],
)
def test_nothing_runs_but_spark_submit_with_a_program_below_the_prefix(
    emr: Any, jar: str, arguments: list[str], words: str
) -> None:
    step = {"Name": "a", "HadoopJarStep": {"Jar": jar, "Args": arguments}}
    with pytest.raises(ClientError, match=words):
        emr.run_job_flow(**requests.cluster(Steps=[step]))
    cluster = emr.run_job_flow(**requests.cluster())["JobFlowId"]
    with pytest.raises(ClientError, match=words):
        emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])


def test_more_types_are_allowed_with_an_allocation_strategy(emr: Any) -> None:
    spot = {"SpotSpecification": {**SPOT["SpotSpecification"], "AllocationStrategy": "price-capacity-optimized"}}
    core = fleet(InstanceTypeConfigs=types(15), LaunchSpecifications=spot)
    assert emr.run_job_flow(**requests.cluster(**fleets(fleet("MASTER"), core)))["JobFlowId"].startswith("j-")


@pytest.mark.parametrize("operation", ["describe_cluster", "list_steps", "list_instance_fleets"])
def test_a_cluster_that_never_was_is_not_valid(emr: Any, operation: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidRequestException.*Cluster id 'j-NEVERWAS12345' is not valid\."):
        getattr(emr, operation)(ClusterId="j-NEVERWAS12345")
    with pytest.raises(ClientError, match=r"ValidationException.*Specified job flow ID does not exist"):
        emr.terminate_job_flows(JobFlowIds=["j-NEVERWAS12345"])


def test_releases_are_those_of_amazon(emr: Any) -> None:
    labels = emr.list_release_labels()["ReleaseLabels"]
    assert {"emr-spark-8.0.0", "emr-spark-8.1.0", "emr-7.14.0"} <= set(labels)
    found = emr.describe_release_label(ReleaseLabel="emr-spark-8.1.0")["Applications"]
    assert {"Name": "Spark", "Version": "4.1.1-amzn-0"} in found
    with pytest.raises(ClientError, match=r"emr-6\.0\.0 is not valid"):
        emr.describe_release_label(ReleaseLabel="emr-6.0.0")
    assert emr.list_release_labels(Filters={"Application": "spark@4.0"})["ReleaseLabels"] == ["emr-spark-8.0.0"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ThrottlingException", "Rate exceeded"),
        ("ExpiredTokenException", "security token included in the request is expired"),
        ("AccessDeniedException", "not authorized to perform: elasticmapreduce:DescribeCluster"),
        ("InvalidRequestException", "Cluster id 'j-1' is not valid"),
    ],
)
def test_calls_are_refused_as_often_as_was_wished(double: AwsDouble, emr: Any, code: str, words: str) -> None:
    cluster = emr.run_job_flow(**requests.cluster())["JobFlowId"]
    double.inject.refuse("DescribeCluster", code, calls=2)
    for _ in range(2):
        with pytest.raises(ClientError, match=words.replace("j-1", cluster)) as refusal:
            emr.describe_cluster(ClusterId=cluster)
        assert refusal.value.response["Error"]["Code"] == code
    assert emr.describe_cluster(ClusterId=cluster)["Cluster"]["Id"] == cluster
    assert [call.error for call in double.journal.of("DescribeCluster")] == [code, code, None]


def test_throttling_is_what_boto_tries_again_by_itself(double: AwsDouble) -> None:
    double.inject.refuse("ListClusters", "ThrottlingException", calls=1)
    assert double.client("emr").list_clusters()["Clusters"] == []
    assert [call.status for call in double.journal.of("ListClusters")] == [400, 200]


@pytest.mark.parametrize(
    ("service", "operation", "wish", "code"),
    [
        ("s3", "list_buckets", "s3:*", "AccessDenied"),
        ("sts", "get_caller_identity", "GetCallerIdentity", "AccessDenied"),
        ("iam", "list_roles", "iam:ListRoles", "AccessDenied"),
        ("kms", "list_keys", "ListKeys", "AccessDeniedException"),
    ],
)
def test_other_services_refuse_in_their_own_form(
    double: AwsDouble, service: str, operation: str, wish: str, code: str
) -> None:
    double.inject.refuse(wish, "AccessDeniedException")
    client = double.client(service, config=ONCE)
    with pytest.raises(ClientError) as refusal:
        getattr(client, operation)()
    assert refusal.value.response["Error"]["Code"] == code
    getattr(client, operation)()


def test_iam_foretells_what_would_be_denied(double: AwsDouble, emr: Any) -> None:
    double.inject.refuse("RunJobFlow", "AccessDeniedException", calls=None)
    double.inject.refuse("ListClusters", "ThrottlingException", calls=None)
    asked = ["elasticmapreduce:RunJobFlow", "elasticmapreduce:ListClusters", "s3:PutObject"]
    answer = double.client("iam").simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::123456789012:role/orchestrator", ActionNames=asked
    )
    told = {each["EvalActionName"]: each["EvalDecision"] for each in answer["EvaluationResults"]}
    assert told == dict(zip(asked, ["implicitDeny", "allowed", "allowed"], strict=True))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        emr.run_job_flow(**requests.cluster())


def test_a_lost_answer_makes_boto_create_a_second_cluster(double: AwsDouble, emr: Any) -> None:
    double.inject.lose_answer("RunJobFlow")
    with pytest.raises(ConnectionClosedError):
        emr.run_job_flow(**requests.cluster())
    assert len(double.alive()) == 1
    double.inject.lose_answer("RunJobFlow")
    assert double.client("emr").run_job_flow(**requests.cluster())["JobFlowId"] in {each.id for each in double.alive()}
    assert len(double.alive()) == 3
    assert [call.status for call in double.journal.of("RunJobFlow")] == [0, 0, 200]


def test_the_journal_has_what_was_sent_in_order(double: AwsDouble, emr: Any) -> None:
    double.client("s3").put_object(Bucket="code", Key="jobs/a b.py", Body=b"pass")
    request = requests.cluster(Tags=[{"Key": "env", "Value": "dev"}])
    cluster = emr.run_job_flow(**request)["JobFlowId"]
    double.client("sts").get_caller_identity()
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert double.journal.operations() == ["PutObject", "RunJobFlow", "GetCallerIdentity", "TerminateJobFlows"]
    assert double.journal.operations("elasticmapreduce") == ["RunJobFlow", "TerminateJobFlows"]
    assert double.journal.sent("RunJobFlow") == request
    assert double.journal.sent("PutObject") == {"Bucket": "code", "Key": "jobs/a b.py"}
    assert [call.operation for call in double.journal.billable()] == ["RunJobFlow"]
    assert {call.key for call in double.journal} == {"orchestrator"}
    with pytest.raises(LookupError, match="DescribeStep was called 0 times"):
        double.journal.sent("DescribeStep")


def test_the_bill_runs_from_the_first_instance_to_the_last(double: AwsDouble, emr: Any) -> None:
    wanted = fleets(fleet("MASTER"), fleet(TargetOnDemandCapacity=2), fleet("TASK", TargetSpotCapacity=3))
    cluster = emr.run_job_flow(**requests.cluster(**wanted))["JobFlowId"]
    assert double.billed() == {cluster: 60 * 7}  # a minute at least
    double.advance(90)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    double.advance(1_000)
    assert double.billed() == {cluster: pytest.approx(90 * 7)}


def ask(double: AwsDouble, name: str, wish: dict[str, Any] | None = None) -> Any:
    data = None if wish is None else json.dumps(wish).encode()
    with urllib.request.urlopen(f"{double.endpoint}/_double/{name}", data) as answer:
        return json.load(answer)


def test_another_process_does_all_of_it_over_http(double: AwsDouble, emr: Any) -> None:
    ask(double, "inject", {"refuse": "ListClusters", "code": "ThrottlingException"})
    ask(double, "inject", {"step": "train*", "fault": "HANG"})
    ask(double, "inject", {"cluster": "doomed", "fault": "BOOTSTRAP_FAILURE", "times": None})
    with pytest.raises(ClientError, match="Rate exceeded"):
        emr.list_clusters()
    cluster = emr.run_job_flow(**requests.cluster(Steps=[requests.step("train 1")]))["JobFlowId"]
    emr.run_job_flow(**requests.cluster(Name="doomed"))
    assert [(each["name"], each["state"]) for each in ask(double, "clusters")] == [
        ("night", "RUNNING"),
        ("doomed", "TERMINATED_WITH_ERRORS"),
    ]
    before = ask(double, "clock")["now"]
    ask(double, "clock", {"advance": 60})
    assert ask(double, "clock")["now"] == pytest.approx(before + 60)
    ask(double, "lose-instances", {"cluster": cluster})
    assert ask(double, "billing")[cluster] == pytest.approx(60)
    assert [call["operation"] for call in ask(double, "journal")] == ["ListClusters", "RunJobFlow", "RunJobFlow"]
    ask(double, "reset", {})
    assert ask(double, "clusters") == []


@pytest.mark.parametrize(
    ("name", "wish", "words"),
    [
        ("inject", {"step": "a", "fault": "FAILED", "often": 2}, "step does not take"),
        ("inject", {"nothing": 1}, "use refuse, lose_answer, step or cluster"),
        ("inject", {"refuse": "ListSteps", "code": "OddException"}, "say the message of OddException"),
        ("inject", {"step": "a", "fault": "EXPLODE"}, "EXPLODE"),
        ("inject", {"cluster": "a", "fault": "EXPLODE"}, "EXPLODE"),
        ("clock", {"advance": -1}, "only goes forward"),
        ("clock", {}, "advance"),
        ("lunch", {}, "there is no /_double/lunch"),
        ("lunch", None, "there is no /_double/lunch"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(
    double: AwsDouble, name: str, wish: dict[str, Any] | None, words: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        ask(double, name, wish)
    with refusal.value as answer:
        assert answer.code == 400
        assert words in json.load(answer)["error"]


def test_only_loopback_is_listened_on_and_a_prefix_is_a_must() -> None:
    with pytest.raises(ValueError, match="name a bucket"), aws_double(programs="/tmp"):
        pass
    with aws_double(programs="s3://code/") as double:
        assert double.endpoint.startswith("http://127.0.0.1:")


def test_it_runs_in_a_terminal_and_says_what_to_export() -> None:
    command = [sys.executable, "-m", "tests.fakes.aws", "--port", "0", "--bucket", "my-bucket", "--phase", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        exported = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in said[:-1])
        assert exported["AIRFLOW_CONN_AWS_DEFAULT"] == "aws://"
        assert "programs below s3://my-bucket/" in said[-1]
        session = boto3.Session(
            aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
            region_name=exported["AWS_REGION"],
        )
        emr = session.client("emr", endpoint_url=exported["AWS_ENDPOINT_URL"])
        cluster = emr.run_job_flow(**requests.cluster())["JobFlowId"]
        emr.terminate_job_flows(JobFlowIds=[cluster])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
