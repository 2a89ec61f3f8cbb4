"""The double's EMR through plain boto3: states, reasons, policies. No program is run here."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.aws import AwsDouble, Clock, Timing, aws_double, requests
from tests.fakes.aws.cluster import ENDED, STEP_ENDED

PHASES = Timing(starting=100, bootstrapping=50, terminating=30)


@pytest.fixture(scope="module")
def started() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/jobs/", clock=Clock(frozen=True), timing=PHASES) as double:
        s3 = double.client("s3")
        s3.create_bucket(Bucket="code")
        s3.create_bucket(Bucket="logs")
        yield double


@pytest.fixture
def double(started: AwsDouble) -> AwsDouble:
    started.reset()
    return started


@pytest.fixture
def emr(double: AwsDouble) -> Any:
    return double.client("emr")


def status(emr: Any, cluster: str) -> dict[str, Any]:
    return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]


def step_state(emr: Any, cluster: str, step: str) -> str:
    return emr.describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"]


def up(double: AwsDouble, **changes: Any) -> str:
    """A cluster that has started."""
    cluster = double.client("emr").run_job_flow(**requests.cluster(**changes))["JobFlowId"]
    double.advance(PHASES.starting + PHASES.bootstrapping)
    return cluster


def add(emr: Any, cluster: str, *steps: dict[str, Any]) -> list[str]:
    return emr.add_job_flow_steps(JobFlowId=cluster, Steps=list(steps))["StepIds"]


def test_a_cluster_goes_through_the_states_of_emr(double: AwsDouble, emr: Any) -> None:
    double.inject.step("work", "HANG")
    cluster = emr.run_job_flow(**requests.cluster(Steps=[requests.step("work")]))["JobFlowId"]
    step = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    seen = [(status(emr, cluster)["State"], step_state(emr, cluster, step))]
    for seconds in (99, 1, 50):
        double.advance(seconds)
        seen.append((status(emr, cluster)["State"], step_state(emr, cluster, step)))
    assert seen == [
        ("STARTING", "PENDING"),
        ("STARTING", "PENDING"),
        ("BOOTSTRAPPING", "PENDING"),
        ("RUNNING", "RUNNING"),
    ]
    emr.cancel_steps(ClusterId=cluster, StepIds=[step])
    assert (status(emr, cluster)["State"], step_state(emr, cluster, step)) == ("WAITING", "CANCELLED")
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert status(emr, cluster)["State"] == "TERMINATING"
    double.advance(30)
    last = status(emr, cluster)
    assert (last["State"], last["StateChangeReason"]["Code"]) == ("TERMINATED", "USER_REQUEST")
    timeline = last["Timeline"]
    assert (timeline["ReadyDateTime"] - timeline["CreationDateTime"]).total_seconds() == pytest.approx(150)
    assert (timeline["EndDateTime"] - timeline["ReadyDateTime"]).total_seconds() == pytest.approx(30)


def test_the_idle_timeout_ends_a_cluster_at_its_moment_and_not_when_somebody_looks(double: AwsDouble, emr: Any) -> None:
    cluster = up(double, AutoTerminationPolicy={"IdleTimeout": 600})
    double.advance(599)
    assert status(emr, cluster)["State"] == "WAITING"
    double.advance(100_000)
    last = status(emr, cluster)
    assert last["State"] == "TERMINATED"
    alive = (last["Timeline"]["EndDateTime"] - last["Timeline"]["ReadyDateTime"]).total_seconds()
    assert alive == pytest.approx(600 + PHASES.terminating)
    assert double.billed()[cluster] == pytest.approx(50 + 600 + 30)


def test_a_cluster_is_not_idle_while_a_step_runs(double: AwsDouble, emr: Any) -> None:
    double.inject.step("long", "HANG")
    cluster = up(double, AutoTerminationPolicy={"IdleTimeout": 60}, Steps=[requests.step("long")])
    double.advance(10_000)
    assert status(emr, cluster)["State"] == "RUNNING"
    emr.cancel_steps(ClusterId=cluster, StepIds=[emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]])
    double.advance(59)
    assert status(emr, cluster)["State"] == "WAITING"
    double.advance(1)
    assert status(emr, cluster)["State"] == "TERMINATING"


def test_a_policy_that_is_put_later_counts_from_when_the_cluster_fell_idle(double: AwsDouble, emr: Any) -> None:
    instances = requests.cluster()["Instances"]
    request = requests.cluster(Instances=instances)
    del request["AutoTerminationPolicy"]
    cluster = emr.run_job_flow(**request)["JobFlowId"]
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=cluster)
    double.advance(1_000)
    emr.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 900})
    assert emr.get_auto_termination_policy(ClusterId=cluster)["AutoTerminationPolicy"] == {"IdleTimeout": 900}
    emr.remove_auto_termination_policy(ClusterId=cluster)
    double.advance(1_000)
    assert status(emr, cluster)["State"] == "WAITING"


def test_a_cluster_that_is_not_kept_ends_after_its_last_step(double: AwsDouble, emr: Any) -> None:
    double.inject.step("*", "COMPLETED", times=2)
    instances = {**requests.cluster()["Instances"], "KeepJobFlowAliveWhenNoSteps": False}
    cluster = up(double, Instances=instances, Steps=[requests.step("one"), requests.step("two")])
    double.join()
    double.settle()
    double.join()
    double.advance(30)
    last = status(emr, cluster)
    assert (last["State"], last["StateChangeReason"]["Code"]) == ("TERMINATED", "ALL_STEPS_COMPLETED")
    assert [step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster)["Steps"]] == ["COMPLETED"] * 2


@pytest.mark.parametrize(
    ("on_failure", "expected", "others"),
    [
        ("CONTINUE", "WAITING", ["COMPLETED", "FAILED"]),
        ("CANCEL_AND_WAIT", "WAITING", ["CANCELLED", "FAILED"]),
        ("TERMINATE_CLUSTER", "TERMINATED_WITH_ERRORS", ["CANCELLED", "FAILED"]),
        ("TERMINATE_JOB_FLOW", "TERMINATED_WITH_ERRORS", ["CANCELLED", "FAILED"]),
    ],
)
def test_what_a_failed_step_does_to_its_cluster(
    double: AwsDouble, emr: Any, on_failure: str, expected: str, others: list[str]
) -> None:
    double.inject.step("bad", "FAILED", message="ValueError: no such column")
    double.inject.step("next", "COMPLETED")
    cluster = up(double, Steps=[requests.step("bad", on_failure=on_failure), requests.step("next")])
    double.join()
    double.advance(30)
    last = status(emr, cluster)
    steps = emr.list_steps(ClusterId=cluster)["Steps"]
    assert (last["State"], [step["Status"]["State"] for step in steps]) == (expected, others)
    if expected != "WAITING":
        assert last["StateChangeReason"] == {"Code": "STEP_FAILURE", "Message": "Shut down as step failed"}
    details = steps[1]["Status"]["FailureDetails"]
    assert details["Message"] == "ValueError: no such column"
    bucket, _, key = details["LogFile"].removeprefix("s3://").partition("/")
    log = double.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert gzip.decompress(log) == b"ValueError: no such column\nCommand exiting with ret '1'\n"


def test_termination_protection_keeps_a_cluster_from_whoever_wants_it_gone(double: AwsDouble, emr: Any) -> None:
    double.inject.step("bad", "FAILED")
    instances = {**requests.cluster()["Instances"], "TerminationProtected": True}
    cluster = up(
        double,
        Instances=instances,
        AutoTerminationPolicy={"IdleTimeout": 60},
        Steps=[requests.step("bad", on_failure="TERMINATE_CLUSTER")],
    )
    double.join()
    with pytest.raises(ClientError, match="they are termination protected"):
        emr.terminate_job_flows(JobFlowIds=[cluster])
    double.advance(10_000)
    assert status(emr, cluster)["State"] == "WAITING"
    emr.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
    double.advance(30)
    assert status(emr, cluster)["State"] == "TERMINATED"


def test_a_running_step_of_a_cluster_that_is_shut_down_is_interrupted(double: AwsDouble, emr: Any) -> None:
    double.inject.step("long", "HANG")
    cluster = up(double, Steps=[requests.step("long"), requests.step("next")])
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert [step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster)["Steps"]] == [
        "CANCELLED",
        "INTERRUPTED",
    ]
    with pytest.raises(ClientError, match="shutting down, terminated, or finished may not be modified"):
        add(emr, cluster, requests.step("late"))


def test_the_spot_market_takes_a_cluster_in_the_middle_of_a_step(double: AwsDouble, emr: Any) -> None:
    double.inject.step("train", "SPOT_LOSS")
    cluster = up(double, Steps=[requests.step("train"), requests.step("evaluate")])
    double.advance(30)
    last = status(emr, cluster)
    assert (last["State"], last["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", "INSTANCE_FAILURE")
    assert [step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster)["Steps"]] == [
        "CANCELLED",
        "INTERRUPTED",
    ]


@pytest.mark.parametrize(
    ("fault", "code", "billed"),
    [("BOOTSTRAP_FAILURE", "BOOTSTRAP_FAILURE", True), ("NO_CAPACITY", "INSTANCE_FLEET_TIMEOUT", False)],
)
def test_a_cluster_that_never_comes_up(double: AwsDouble, emr: Any, fault: Any, code: str, billed: bool) -> None:
    double.inject.cluster("night", fault)
    cluster = up(double, Steps=[requests.step("work")])
    double.advance(30)
    last = status(emr, cluster)
    assert (last["State"], last["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", code)
    assert last["ErrorDetails"][0]["ErrorCode"] == code
    assert emr.list_steps(ClusterId=cluster)["Steps"][0]["Status"]["State"] == "CANCELLED"
    assert (double.billed()[cluster] > 0) is billed


def test_steps_run_one_after_the_other_or_as_many_at_once_as_the_cluster_allows(double: AwsDouble, emr: Any) -> None:
    double.inject.step("*", "HANG", times=None)
    cluster = up(double, Steps=[requests.step(name) for name in "abc"])
    assert [step["Name"] for step in emr.list_steps(ClusterId=cluster, StepStates=["RUNNING"])["Steps"]] == ["a"]
    emr.modify_cluster(ClusterId=cluster, StepConcurrencyLevel=2)
    assert [step["Name"] for step in emr.list_steps(ClusterId=cluster, StepStates=["RUNNING"])["Steps"]] == ["b", "a"]


def test_steps_are_cancelled_once(double: AwsDouble, emr: Any) -> None:
    double.inject.step("*", "HANG", times=None)
    cluster = up(double)
    (step,) = add(emr, cluster, requests.step("a"))
    first = emr.cancel_steps(ClusterId=cluster, StepIds=[step])["CancelStepsInfoList"]
    again = emr.cancel_steps(ClusterId=cluster, StepIds=[step, "s-NONE"])["CancelStepsInfoList"]
    assert [each["Status"] for each in [*first, *again]] == ["SUBMITTED", "FAILED", "FAILED"]


def test_clusters_are_found_by_state_and_time_on_as_many_pages_as_it_takes(double: AwsDouble, emr: Any) -> None:
    clusters = []
    for _ in range(53):
        clusters.append(emr.run_job_flow(**requests.cluster())["JobFlowId"])
        double.clock.advance(1)
    emr.terminate_job_flows(JobFlowIds=clusters[:2])
    pages = list(emr.get_paginator("list_clusters").paginate(ClusterStates=["STARTING"]))
    assert [len(page["Clusters"]) for page in pages] == [50, 1]
    assert [each["Id"] for page in pages for each in page["Clusters"]] == clusters[:1:-1]
    created = emr.describe_cluster(ClusterId=clusters[50])["Cluster"]["Status"]["Timeline"]["CreationDateTime"]
    newer = emr.list_clusters(CreatedAfter=created)["Clusters"]
    assert [each["Id"] for each in newer] == [clusters[52], clusters[51]]
    assert "Tags" not in newer[0]


def test_tags_policies_and_fleets_are_shown_as_they_are(double: AwsDouble, emr: Any) -> None:
    core = {
        "InstanceFleetType": "CORE",
        "TargetOnDemandCapacity": 1,
        "TargetSpotCapacity": 2,
        "InstanceTypeConfigs": [{"InstanceType": f"m{n}g.xlarge", "WeightedCapacity": 1} for n in range(5)],
        "LaunchSpecifications": {
            "SpotSpecification": {
                "TimeoutDurationMinutes": 10,
                "TimeoutAction": "SWITCH_TO_ON_DEMAND",
                "AllocationStrategy": "price-capacity-optimized",
            }
        },
    }
    instances = requests.cluster()["Instances"]
    instances = {**instances, "InstanceFleets": [*instances["InstanceFleets"], core]}
    scaling = {
        "ComputeLimits": {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 4}
    }
    cluster = up(double, Instances=instances, Tags=[{"Key": "model", "Value": "flights"}], ManagedScalingPolicy=scaling)
    emr.add_tags(ResourceId=cluster, Tags=[{"Key": "run", "Value": "1"}])
    emr.remove_tags(ResourceId=cluster, TagKeys=["model"])
    assert emr.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"] == [{"Key": "run", "Value": "1"}]
    fleets = {each["InstanceFleetType"]: each for each in emr.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]}
    assert (fleets["CORE"]["ProvisionedOnDemandCapacity"], fleets["CORE"]["ProvisionedSpotCapacity"]) == (1, 2)
    assert fleets["CORE"]["LaunchSpecifications"] == core["LaunchSpecifications"]
    markets = [each["Market"] for each in emr.list_instances(ClusterId=cluster)["Instances"]]
    assert sorted(markets) == ["ON_DEMAND", "ON_DEMAND", "SPOT", "SPOT"]
    assert emr.get_managed_scaling_policy(ClusterId=cluster)["ManagedScalingPolicy"] == scaling
    emr.remove_managed_scaling_policy(ClusterId=cluster)
    assert "ManagedScalingPolicy" not in emr.get_managed_scaling_policy(ClusterId=cluster)
    assert double.journal.sent("RunJobFlow")["Instances"] == instances


def test_a_runtime_role_needs_a_security_configuration_that_allows_it(double: AwsDouble, emr: Any) -> None:
    role = "arn:aws:iam::123456789012:role/nightshift-job"
    cluster = up(double)
    with pytest.raises(ClientError, match="Runtime roles are not enabled"):
        emr.add_job_flow_steps(JobFlowId=cluster, Steps=[requests.step("a")], ExecutionRoleArn=role)
    allowed = '{"AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": true}}}'
    emr.create_security_configuration(Name="roles", SecurityConfiguration=allowed)
    double.inject.step("a", "HANG")
    cluster = up(double, SecurityConfiguration="roles")
    (step,) = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[requests.step("a")], ExecutionRoleArn=role)["StepIds"]
    assert emr.describe_step(ClusterId=cluster, StepId=step)["Step"]["ExecutionRoleArn"] == role


def test_late_logs_come_five_minutes_after_the_end(double: AwsDouble, emr: Any) -> None:
    double.inject.step("a", "LATE_LOGS")
    cluster = up(double, LogUri="s3://logs/late/", Steps=[requests.step("a")])
    double.join()
    s3 = double.client("s3")
    assert step_state(emr, cluster, emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]) == "FAILED"
    assert "Contents" not in s3.list_objects_v2(Bucket="logs", Prefix=f"late/{cluster}")
    double.advance(300)
    assert len(s3.list_objects_v2(Bucket="logs", Prefix=f"late/{cluster}")["Contents"]) == 3


ACTS = st.sampled_from(["step", "failing step", "cancel", "terminate", "spot loss", "wait", "protect", "release"])


@settings(max_examples=40, deadline=None)
@given(acts=st.lists(st.tuples(ACTS, st.integers(0, 5_000)), max_size=12))
def test_whatever_happens_nothing_that_has_ended_changes_and_nothing_outlives_its_idle_timeout(
    started: AwsDouble, acts: list[tuple[str, int]]
) -> None:
    double, emr = started, started.emr
    double.reset()
    double.inject.step("*", "HANG", times=None)
    cluster_id = emr.call("RunJobFlow", requests.cluster(AutoTerminationPolicy={"IdleTimeout": 600}))["JobFlowId"]
    (cluster,) = emr.clusters()
    finals: dict[str, str] = {}
    for act, seconds in acts:
        double.advance(seconds)
        if cluster.alive() and cluster.state != "TERMINATING":
            act_on(double, cluster_id, act)
        for step in cluster.steps:
            assert finals.setdefault(step.id, step.state) == step.state or finals[step.id] not in STEP_ENDED
            finals[step.id] = step.state
    if cluster.alive() and cluster.state != "TERMINATING":
        running = [step.id for step in cluster.steps if step.state not in STEP_ENDED]
        emr.call("CancelSteps", {"ClusterId": cluster_id, "StepIds": running})
        emr.call("SetTerminationProtection", {"JobFlowIds": [cluster_id], "TerminationProtected": False})
    double.advance(PHASES.starting + PHASES.bootstrapping + 600 + PHASES.terminating)
    assert cluster.state in ENDED
    assert double.alive() == []
    billed = double.billed()
    double.advance(100_000)
    assert double.billed() == billed


def act_on(double: AwsDouble, cluster: str, act: str) -> None:
    emr = double.emr
    match act:
        case "step" | "failing step":
            failing = "TERMINATE_CLUSTER" if act == "failing step" else "CONTINUE"
            emr.call("AddJobFlowSteps", {"JobFlowId": cluster, "Steps": [requests.step("a", on_failure=failing)]})
        case "cancel":
            steps = [step["Id"] for step in emr.call("ListSteps", {"ClusterId": cluster})["Steps"]]
            emr.call("CancelSteps", {"ClusterId": cluster, "StepIds": steps})
        case "terminate" if not emr.call("DescribeCluster", {"ClusterId": cluster})["Cluster"]["TerminationProtected"]:
            emr.call("TerminateJobFlows", {"JobFlowIds": [cluster]})
        case "spot loss":
            emr.lose_instances(cluster)
        case "protect" | "release":
            emr.call("SetTerminationProtection", {"JobFlowIds": [cluster], "TerminationProtected": act == "protect"})
