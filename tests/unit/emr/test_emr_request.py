"""What a cluster and a step are asked for, field by field; nothing is sent."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.fakes.published_night import demo_spec

from nightshift.emr_settings import EmrSettings, is_configured
from nightshift.errors import SettingsError
from nightshift.jobs import Job, PublishedPlan
from nightshift.plan import package_version
from nightshift.spec.compute import Emr, units_of
from nightshift.spec.spark_use import uses_spark
from nightshift.storage import Ref
from nightshift_airflow.compute.emr.identity import Identity, deadline_of, from_tag, is_ours
from nightshift_airflow.compute.emr.packages import Dependencies, python_of
from nightshift_airflow.compute.emr.request import cluster_request
from nightshift_airflow.compute.emr.steps import Code, result_uri, step_key, step_name, step_request

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ENVIRONMENT = {
    "NIGHTSHIFT_EMR_CODE": "s3://artifacts/nightshift/",
    "NIGHTSHIFT_EMR_LOG_URI": "s3://logs/emr/",
    "NIGHTSHIFT_EMR_SUBNETS": "subnet-0a1b2c3d, subnet-4e5f6071",
    "NIGHTSHIFT_EMR_SERVICE_ROLE": "nightshift-emr-service",
    "NIGHTSHIFT_EMR_INSTANCE_PROFILE": "arn:aws:iam::123456789012:instance-profile/nightshift/nodes",
    "NIGHTSHIFT_EMR_SECURITY_CONFIGURATION": "nightshift-prod",
    "NIGHTSHIFT_EMR_RUNTIME_ROLE": "arn:aws:iam::123456789012:role/nightshift-jobs",
    "NIGHTSHIFT_EMR_DEPENDENCIES": "nightshift-dependencies-0123456789abcdef-py3.11-x86_64.tar.gz",
    "NIGHTSHIFT_EMR_COST_CENTER": "cc-4711",
}
SETTINGS = EmrSettings.from_environment(ENVIRONMENT)
IDENTITY = Identity("prod", "flight_delays", "team@example.com", "flight_delays__retraining", "scheduled__2026-11-20")
PACKAGES = Dependencies(
    uri=f"{SETTINGS.code}/{SETTINGS.dependencies}",
    sha256="ab" * 32,
    lock="cd" * 32,
    python="3.11",
    platform="x86_64",
    bootstrap="bootstrap-0123456789abcdef.sh",
    packages={},
)
CODE = Code("s3://artifacts/nightshift/nightshift-1-py3.11.zip", "s3://artifacts/nightshift/job-2.py", "cd" * 32)
JOB = Job(
    "train",
    PublishedPlan("s3://store/prod/flight_delays/plan/2026-11-19/aa.json", "aa" * 32),
    {"preprocess": Ref("preprocess", "2026-11-19", 3, "digest")},
)


def request(needed: Dependencies | None = PACKAGES, identity: Identity = IDENTITY, **changes: Any) -> dict[str, Any]:
    return cluster_request(
        Emr.model_validate(changes),
        SETTINGS,
        identity,
        needed=needed,
        region="eu-central-1",
        storage="s3://store",
        now=NOW,
    )


def fleet(kind: str, **changes: Any) -> dict[str, Any]:
    [found] = [each for each in request(**changes)["Instances"]["InstanceFleets"] if each["InstanceFleetType"] == kind]
    return found


def exported(asked: dict[str, Any]) -> dict[str, str]:
    [environment] = [each for each in asked["Configurations"] if each["Classification"] == "spark-env"]
    return environment["Configurations"][0]["Properties"]


def validated(operation: str, asked: dict[str, Any]) -> str:
    """What AWS's own description of the service says against a request; nothing, if all is well."""
    service = ServiceModel(Loader().load_service_model("emr", "service-2"))
    shape = service.operation_model(operation).input_shape
    return ParamValidator().validate(asked, shape).generate_report()


# -- the cluster -----------------------------------------------------------------------------------------


def test_both_requests_are_what_aws_describes() -> None:
    assert validated("RunJobFlow", request()) == ""
    assert validated("RunJobFlow", request(needed=None, spot_units=0)) == ""
    step = step_request(JOB, demo_spec(), CODE, name="train k try 1", result="s3://x/y")
    assert validated("AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]}) == ""


def test_primary_and_core_are_on_demand() -> None:
    primary, core = fleet("MASTER"), fleet("CORE", core_units=3, max_units=8)
    assert (primary["TargetOnDemandCapacity"], primary["TargetSpotCapacity"]) == (1, 0)
    assert (core["TargetOnDemandCapacity"], core["TargetSpotCapacity"]) == (3, 0)
    for each in (primary, core):
        assert each["LaunchSpecifications"] == {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}


def test_task_nodes_are_on_spot_of_many_types_and_fall_back_to_on_demand() -> None:
    task = fleet("TASK")
    assert (task["TargetOnDemandCapacity"], task["TargetSpotCapacity"]) == (0, 1)
    assert len(task["InstanceTypeConfigs"]) >= 5
    spot = task["LaunchSpecifications"]["SpotSpecification"]
    assert spot["AllocationStrategy"] == "price-capacity-optimized"
    assert (spot["TimeoutAction"], spot["TimeoutDurationMinutes"]) == ("SWITCH_TO_ON_DEMAND", 10)


def test_without_spot_every_node_stays_and_the_core_grows() -> None:
    """The only way to keep executors from spot nodes: YARN puts them anywhere."""
    asked = request(spot_units=0, core_units=2, max_units=4)
    assert [each["InstanceFleetType"] for each in asked["Instances"]["InstanceFleets"]] == ["MASTER", "CORE"]
    assert {each["TargetSpotCapacity"] for each in asked["Instances"]["InstanceFleets"]} == {0}
    limits = asked["ManagedScalingPolicy"]["ComputeLimits"]
    assert {limits[f"Maximum{kind}CapacityUnits"] for kind in ("", "Core", "OnDemand")} == {4}


def test_a_larger_instance_counts_for_more_but_for_the_primary_node() -> None:
    types = ["m5.xlarge", "m5.2xlarge", "m6i.4xlarge"]
    weights = {
        each["InstanceType"]: each["WeightedCapacity"] for each in fleet("CORE", core=types)["InstanceTypeConfigs"]
    }
    assert weights == {"m5.xlarge": 1, "m5.2xlarge": 2, "m6i.4xlarge": 4}
    assert {each["WeightedCapacity"] for each in fleet("MASTER", primary=types)["InstanceTypeConfigs"]} == {1}


def test_scaling_has_caps_and_leaves_room_on_demand_for_task_nodes_that_spot_has_not() -> None:
    asked = request(core_units=2, spot_units=3, max_units=20)
    limits = asked["ManagedScalingPolicy"]["ComputeLimits"]
    assert limits == {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 2,
        "MaximumCapacityUnits": 20,
        "MaximumCoreCapacityUnits": 2,
        "MaximumOnDemandCapacityUnits": 5,
    }
    began = sum(each["TargetSpotCapacity"] for each in asked["Instances"]["InstanceFleets"])
    spot = fleet("TASK", core_units=2, spot_units=3, max_units=20)["LaunchSpecifications"]["SpotSpecification"]
    assert (spot["TimeoutAction"], began) == ("SWITCH_TO_ON_DEMAND", 5 - 2)


def test_it_ends_by_itself_and_nothing_protects_it() -> None:
    asked = request(idle_minutes=7)
    assert asked["AutoTerminationPolicy"] == {"IdleTimeout": 420}
    assert asked["Instances"]["TerminationProtected"] is False


def test_tags_say_whose_it_is_and_when_it_must_be_gone() -> None:
    tags = {tag["Key"]: tag["Value"] for tag in request(deadline="5h")["Tags"]}
    assert tags == {
        "project": "nightshift",
        "env": "prod",
        "model": "flight_delays",
        "run_key": IDENTITY.run_key,
        "owner": "team@example.com",
        "cost_center": "cc-4711",
        "deadline": "2026-11-20T07:00:00Z",
        "dag_id": "flight_delays__retraining",
        "run_id": "scheduled__2026-11-20",
        "for-use-with-amazon-emr-managed-policies": "true",
    }
    assert deadline_of(tags) == NOW + timedelta(hours=5)


def test_roles_encryption_logs_release_and_network_are_the_accounts() -> None:
    asked = request()
    assert asked["ServiceRole"] == "nightshift-emr-service"
    assert asked["JobFlowRole"] == "arn:aws:iam::123456789012:instance-profile/nightshift/nodes"
    assert asked["SecurityConfiguration"] == "nightshift-prod"
    assert asked["LogUri"] == "s3://logs/emr/"
    assert asked["ReleaseLabel"] == "emr-spark-8.1.0"
    assert request(release_label="emr-spark-8.0.0")["ReleaseLabel"] == "emr-spark-8.0.0"
    assert asked["Instances"]["Ec2SubnetIds"] == ["subnet-0a1b2c3d", "subnet-4e5f6071"]


def test_nodes_get_the_packages_that_were_built_for_them() -> None:
    asked = request()
    [action] = asked["BootstrapActions"]
    folder = "/mnt/nightshift/abababababababab"
    assert action["ScriptBootstrapAction"] == {
        "Path": "s3://artifacts/nightshift/bootstrap-0123456789abcdef.sh",
        "Args": [PACKAGES.uri, "ab" * 32, folder, "/mnt/tmp"],
    }
    assert exported(asked)["PYTHONPATH"] == folder
    assert exported(asked)["PYSPARK_PYTHON"] == "/usr/bin/python3.11"
    assert exported(asked)["AWS_REGION"] == "eu-central-1"
    bare = request(needed=None)
    assert bare["BootstrapActions"] == []
    assert "PYTHONPATH" not in exported(bare)


@pytest.mark.parametrize("needed", [PACKAGES, None])
def test_what_jobs_write_is_on_the_volume_that_the_spec_sizes(needed: Dependencies | None) -> None:
    """EMR mounts the volumes of ``EbsConfiguration`` below /mnt; nothing of a night is on the root volume."""
    asked = request(needed=needed, disk_gib=200)
    for each in asked["Instances"]["InstanceFleets"]:
        for one in each["InstanceTypeConfigs"]:
            [device] = one["EbsConfiguration"]["EbsBlockDeviceConfigs"]
            assert device["VolumeSpecification"]["SizeInGB"] == 200
    variables = exported(asked)
    assert variables["TMPDIR"] == "/mnt/tmp"
    [defaults] = [each["Properties"] for each in asked["Configurations"] if each["Classification"] == "spark-defaults"]
    assert defaults["spark.executorEnv.TMPDIR"] == "/mnt/tmp"
    paths = [variables["NIGHTSHIFT_HOME"], *(variables.get("PYTHONPATH"), defaults.get("spark.executorEnv.PYTHONPATH"))]
    assert {path.split("/")[1] for path in paths if path} == {"mnt"}


def test_no_secret_is_in_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-4711")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-4711")
    assert "canary-4711" not in json.dumps(request())


words = st.text(st.characters(codec="utf-8"), max_size=300)


@given(owner=words, run_id=words)
def test_tags_are_what_aws_takes_whatever_a_run_is_called(owner: str, run_id: str) -> None:
    identity = Identity("prod", "m", owner, "m__retraining", run_id)
    tags = identity.tags(deadline=NOW, cost_center=None)
    for value in tags.values():
        assert re.fullmatch(r"[\w +=.:/@-]{0,256}", value, re.ASCII)
    assert identity.owns(tags)
    assert is_ours(tags, "prod")
    assert not is_ours(tags, "stage")
    assert not Identity("prod", "m", owner, "m__retraining", run_id + "x").owns(tags)


@given(run_id=st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_runs_own_id_can_be_had_back_from_its_tag(run_id: str) -> None:
    tags = Identity("prod", "m", "x", "m__retraining", run_id).tags(deadline=NOW, cost_center=None)
    assert (from_tag(tags["dag_id"]), from_tag(tags["run_id"])) == ("m__retraining", run_id)


def test_a_usual_id_stands_in_its_tag_as_it_is() -> None:
    usual = "scheduled__2026-11-20T02:00:00+00:00"
    assert Identity("prod", "m", "x", "m__retraining", usual).tags(deadline=NOW, cost_center=None)["run_id"] == usual


@pytest.mark.parametrize("lacking", ["project", "env", "run_key"])
def test_a_cluster_without_one_of_our_tags_is_nobodys(lacking: str) -> None:
    tags = IDENTITY.tags(deadline=NOW, cost_center=None)
    del tags[lacking]
    assert not IDENTITY.owns(tags)


# -- steps -------------------------------------------------------------------------------------------------


def test_a_step_is_the_jobs_own_argv_behind_spark_submit() -> None:
    result = result_uri(JOB, "key", 2)
    step = step_request(JOB, demo_spec(), CODE, name=step_name("train", "key", 2), result=result)
    arguments = step["HadoopJarStep"]["Args"]
    assert step["Name"] == "train key try 2"
    assert step["ActionOnFailure"] == "CONTINUE"
    assert arguments[:3] == ["spark-submit", "--deploy-mode", "client"]
    program = arguments.index(CODE.entry)
    assert arguments[program - 2 : program] == ["--py-files", CODE.archive]
    assert arguments[program + 1 :] == [*JOB.arguments(), "--dependencies", "cd" * 32, "--result", result]
    assert package_version() in arguments
    assert result == "s3://store/prod/flight_delays/plan/2026-11-19/aa/train-key-2/result.json"


def test_training_on_several_workers_keeps_its_executors() -> None:
    spec = demo_spec(training={"engine": "xgboost", "workers": 3})
    several = step_request(JOB, spec, CODE, name="n", result="r")["HadoopJarStep"]["Args"]
    assert "spark.dynamicAllocation.enabled=false" in several
    assert "spark.executor.instances=3" in several
    other = step_request(Job("preprocess", JOB.plan), spec, CODE, name="n", result="r")["HadoopJarStep"]["Args"]
    assert "spark.executor.instances=3" not in other


def test_training_that_may_need_spark_keeps_as_many_executors_as_auto_would_take() -> None:
    def asked(core_units: int) -> list[str]:
        compute = {"target": "emr", "emr": {"core_units": core_units, "max_units": 8}}
        spec = demo_spec(training={"engine": "xgboost", "workers": "auto"}, compute=compute)
        arguments: list[str] = step_request(JOB, spec, CODE, name="n", result="r")["HadoopJarStep"]["Args"]
        return [each for each in arguments if each.startswith("spark.executor.instances")]

    assert asked(5) == ["spark.executor.instances=5"]
    assert asked(1) == [], "one core node is no more than this process"


def test_training_with_spark_ml_takes_the_executors_that_emr_gives() -> None:
    spec = demo_spec(training={"engine": "spark_ml", "params": {"algorithm": "gbt"}})
    arguments = step_request(JOB, spec, CODE, name="n", result="r")["HadoopJarStep"]["Args"]
    assert uses_spark("train", spec)
    assert [word for word in arguments if word.startswith("spark.")] == ["spark.driver.memory=4g"]


def test_the_key_of_a_step_is_of_its_work() -> None:
    key = step_key(JOB, CODE)
    assert key == step_key(Job(JOB.stage, JOB.plan, dict(JOB.upstream)), CODE)
    others = [
        Job("evaluate", JOB.plan, JOB.upstream),
        Job("train", PublishedPlan(JOB.plan.uri, "bb" * 32), JOB.upstream),
        Job("train", JOB.plan, {"preprocess": Ref("preprocess", "2026-11-19", 4, "digest")}),
    ]
    assert len({key, *(step_key(other, CODE) for other in others)}) == 4
    assert step_key(JOB, Code("s3://artifacts/other.zip", CODE.entry)) != key


# -- what a spec and an environment may say ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"release_label": "emr-7.14.0"}, "release_label"),
        ({"release_label": "latest"}, "release_label"),
        ({"spot": ["m5.xlarge", "m5a.xlarge"]}, "2 instance types are too few for spot"),
        ({"core": ["m6g.xlarge"]}, "m6g.xlarge is aarch64, and m5.xlarge is x86_64"),
        ({"core": ["m5.xlarge", "m5.xlarge"]}, "m5.xlarge is listed twice"),
        ({"core": ["m5.large"]}, "core"),
        ({"core": []}, "core"),
        ({"core_units": 4, "spot_units": 1, "max_units": 4}, "max_units 4 is less than"),
        ({"idle_minutes": 0}, "idle_minutes"),
        ({"deadline": "30d"}, "cannot be kept"),
        ({"spot_wait_minutes": 4}, "spot_wait_minutes"),
        ({"bid": 1}, "bid"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_when_the_spec_is_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Emr.model_validate(changes)
    assert said in str(caught.value)


def test_arm_types_make_an_arm_cluster() -> None:
    arm = ["m6g.xlarge", "m7g.xlarge", "c6g.xlarge", "c7g.xlarge", "r6g.xlarge"]
    emr = Emr.model_validate({"primary": arm, "core": arm, "spot": arm})
    assert emr.architecture == "aarch64"
    assert Emr().architecture == "x86_64"
    assert units_of("r7gd.16xlarge") == 16


def test_a_spec_for_emr_reads_nothing_from_a_disk() -> None:
    with pytest.raises(ValidationError, match="a disk that an EMR cluster cannot read"):
        demo_spec(compute={"target": "emr"}, source={"kind": "files", "uri": "/data/%Y-%m-%d.csv", "time": "time_hour"})


def test_emr_beside_another_target_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would look at this"):
        demo_spec(compute={"target": "local", "emr": {"max_units": 9}})


def test_every_variable_that_is_missing_or_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        EmrSettings.from_environment({"NIGHTSHIFT_EMR_CODE": "/disk", "NIGHTSHIFT_EMR_RUNTIME_ROLE": "jobs"})
    said = str(caught.value)
    for name in ENVIRONMENT.keys() - {"NIGHTSHIFT_EMR_DEPENDENCIES", "NIGHTSHIFT_EMR_COST_CENTER"}:
        assert name in said
    assert "docs/emr.md" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODE", "s3://b"),
        ("LOG_URI", "https://bucket/x"),
        ("SUBNETS", "subnet-1,vpc-2"),
        ("SERVICE_ROLE", "arn:aws:iam::1:role/x"),
        ("RUNTIME_ROLE", "arn:aws:iam::123456789012:user/x"),
        ("RELEASE_LABEL", "emr-7.14.0"),
        ("DEPENDENCIES", "../../etc/x.tar.gz"),
        ("PYTHON", "python3"),
        ("STAGES", "some"),
        ("POLL", "0"),
        ("POLL", "301"),
        ("COST_CENTER", "a<b"),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"NIGHTSHIFT_EMR_{name}"):
        EmrSettings.from_environment({**ENVIRONMENT, f"NIGHTSHIFT_EMR_{name}": value})


def test_whoever_says_nothing_of_emr_has_none() -> None:
    assert not is_configured({"NIGHTSHIFT_HOME": "/x"})
    assert is_configured(ENVIRONMENT)


@pytest.mark.parametrize(
    ("path", "python"),
    [("/usr/bin/python3.11", "3.11"), ("/opt/env/bin/python", None), ("/usr/bin/python3.13", "3.13")],
)
def test_the_code_is_packed_for_the_python_of_the_nodes(path: str, python: str | None) -> None:
    assert python_of(path) == python
