"""Steps of the double's EMR that really run: their environment, their files, their logs, their end."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.aws import AwsDouble, aws_double, requests, spark_submit
from tests.fakes.s3a_jars import s3a_jars

from nightshift.jobs.archive import archive_bytes, archive_name

pytestmark = pytest.mark.jvm
SECONDS = 240

TELL = """\
import importlib.util
import json
import os
import sys

found = importlib.util.find_spec("nightshift")
print(json.dumps({
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "folder": sorted(os.listdir()),
    "nightshift": found and found.origin,
    "packages": [name for name in ("pandas", "pyspark", "moto") if importlib.util.find_spec(name)],
}))
"""
COUNT = """\
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
source, target = sys.argv[1:]
rows = spark.read.option("header", True).csv(source)
rows.groupBy("carrier").count().write.parquet(target)
print("master", spark.sparkContext.master, "conf", spark.conf.get("spark.sql.session.timeZone"))
"""
FAIL = """\
print("so far so good", flush=True)
raise ValueError("no such column: dep_delay")
"""
SLEEP = """\
import os
import threading
import urllib.request

place = os.environ["AWS_ENDPOINT_URL"] + "/data/asleep"
urllib.request.urlopen(urllib.request.Request(place, b"", method="PUT")).close()
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def double() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/jobs/") as started:
        s3 = started.client("s3")
        for bucket in ("code", "logs", "data"):
            s3.create_bucket(Bucket=bucket)
        yield started


@pytest.fixture(autouse=True)
def as_new(double: AwsDouble) -> None:
    double.reset()


def run(double: AwsDouble, program: str, *arguments: str, **wishes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a program as the one step of a cluster; gives the step, and the texts of its logs by name."""
    submitted = submit(double, program, *arguments, **wishes)
    double.join()
    return step_of(double, submitted), logs(double, submitted)


def submit(double: AwsDouble, program: str, *arguments: str, options: tuple[str, ...] = (), **changes: Any) -> str:
    double.client("s3").put_object(Bucket="code", Key="jobs/program.py", Body=program.encode())
    step = requests.step("a", *arguments, options=options)
    return double.client("emr").run_job_flow(**requests.cluster(Steps=[step], **changes))["JobFlowId"]


def step_of(double: AwsDouble, cluster: str) -> dict[str, Any]:
    return double.client("emr").list_steps(ClusterId=cluster)["Steps"][0]


def logs(double: AwsDouble, cluster: str) -> dict[str, str]:
    s3, found = double.client("s3"), {}
    for each in s3.list_objects_v2(Bucket="logs", Prefix=f"emr/{cluster}/").get("Contents", []):
        kind, *_, name = each["Key"].split("/")[2:]
        text = gzip.decompress(s3.get_object(Bucket="logs", Key=each["Key"])["Body"].read()).decode()
        found[f"{kind}/{name}"] = text
    return found


def said(text: str) -> dict[str, Any]:
    return json.loads(text.strip().splitlines()[-1])


def test_a_step_has_the_environment_of_a_node_and_nothing_of_whoever_runs_this(
    double: AwsDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW_HOME", "NIGHTSHIFT_STORAGE", "MLFLOW_TRACKING_URI", "MY_SECRET"):
        monkeypatch.setenv(name, "leaked")
    exports = {"Classification": "export", "Properties": {"NIGHTSHIFT_ENV": "dev"}}
    step, texts = run(
        double,
        TELL,
        "s3://data/in",
        "x y",
        options=("--deploy-mode", "client", "--conf", "spark.yarn.appMasterEnv.NOT_HERE=1", "--executor-memory", "99g"),
        Configurations=[{"Classification": "spark-env", "Configurations": [exports]}],
    )
    assert step["Status"]["State"] == "COMPLETED"
    told = said(texts["steps/stdout.gz"])
    assert told["arguments"] == ["s3://data/in", "x y"]
    assert told["nightshift"] is None
    assert told["environment"]["NIGHTSHIFT_ENV"] == "dev"
    assert told["environment"]["AWS_ENDPOINT_URL"] == double.endpoint
    assert told["environment"]["AWS_ACCESS_KEY_ID"] == "instance-role"
    assert "leaked" not in told["environment"].values()
    assert not {"AIRFLOW_HOME", "NOT_HERE", "VIRTUAL_ENV"} & set(told["environment"])


def test_a_driver_on_the_cluster_has_the_steps_variables_files_and_archives(double: AwsDouble) -> None:
    s3 = double.client("s3")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        module = b"ANSWER = 42\n"
        entry = tarfile.TarInfo("lib/thing.py")
        entry.size = len(module)
        archive.addfile(entry, io.BytesIO(module))
    s3.put_object(Bucket="code", Key="environment.tar.gz", Body=packed.getvalue())
    s3.put_object(Bucket="code", Key=archive_name(), Body=archive_bytes())
    s3.put_object(Bucket="code", Key="settings.json", Body=b"{}")
    step, texts = run(
        double,
        TELL + "import thing\nassert thing.ANSWER == 42\n",
        options=(
            *("--deploy-mode", "cluster", "--py-files", f"s3://code/{archive_name()}"),
            *("--archives", "s3://code/environment.tar.gz#environment", "--files", "s3://code/settings.json#s.json"),
            *("--conf", "spark.yarn.appMasterEnv.PYTHONPATH=./environment/lib"),
            *("--conf", "spark.yarn.appMasterEnv.NIGHTSHIFT_ENV=prod"),
        ),
    )
    assert step["Status"]["State"] == "COMPLETED", texts
    told = said(texts["containers/stdout.gz"])
    assert {"environment", "s.json"} <= set(told["folder"])
    assert told["environment"]["NIGHTSHIFT_ENV"] == "prod"
    assert told["nightshift"].endswith(f"{archive_name()}/nightshift/__init__.py")
    assert texts["steps/stdout.gz"] == ""


def test_a_program_that_raises_fails_its_step_and_says_why_in_its_output(double: AwsDouble) -> None:
    step, texts = run(double, FAIL)
    assert step["Status"]["State"] == "FAILED"
    details = step["Status"]["FailureDetails"]
    assert texts["steps/stdout.gz"].startswith("so far so good\nTraceback")
    assert "ValueError: no such column: dep_delay" in texts["steps/stdout.gz"]
    assert texts["steps/stderr.gz"].endswith("Command exiting with ret '1'\n")
    assert details["Reason"] == "Unknown Error."
    assert details["LogFile"].endswith(f"/steps/{step['Id']}/stderr.gz")
    assert double.client("emr").list_clusters(ClusterStates=["WAITING"])["Clusters"]


def test_of_a_driver_on_the_cluster_the_step_itself_says_only_that_it_failed(double: AwsDouble) -> None:
    step, texts = run(double, FAIL, options=("--deploy-mode", "cluster"))
    assert "finished with failed status" in step["Status"]["FailureDetails"]["Message"]
    assert "ValueError" not in texts["steps/stderr.gz"] + texts["steps/stdout.gz"]
    assert "ValueError: no such column: dep_delay" in texts["containers/stdout.gz"]


@pytest.mark.parametrize("end", ["cancel", "terminate", "lose"])
def test_the_program_ends_with_its_step(double: AwsDouble, end: str) -> None:
    others = set(psutil.Process().children(recursive=True))  # a session that tests share, for one
    cluster = submit(double, SLEEP)
    emr, step = double.client("emr"), step_of(double, cluster)["Id"]
    double.journal.wait_for(lambda call: call.parameters.get("Key") == "asleep", seconds=SECONDS)
    processes = [one for one in psutil.Process().children(recursive=True) if one not in others]
    assert len(processes) >= 3, "a guard, Java, Python"
    match end:
        case "cancel":
            emr.cancel_steps(ClusterId=cluster, StepIds=[step], StepCancellationOption="TERMINATE_PROCESS")
        case "terminate":
            emr.terminate_job_flows(JobFlowIds=[cluster])
        case "lose":
            double.emr.lose_instances(cluster)
    double.join()
    _, left = psutil.wait_procs(processes, timeout=10)
    assert left == []
    expected = "CANCELLED" if end == "cancel" else "INTERRUPTED"
    assert step_of(double, cluster)["Status"]["State"] == expected


def test_a_program_that_is_not_there_fails_its_step(double: AwsDouble) -> None:
    step = requests.step("a")
    step["HadoopJarStep"]["Args"][-1] = "s3://code/jobs/missing.py"
    cluster = double.client("emr").run_job_flow(**requests.cluster(Steps=[step]))["JobFlowId"]
    double.join()
    assert "s3://code/jobs/missing.py does not exist" in step_of(double, cluster)["Status"]["FailureDetails"]["Message"]


def test_a_runtime_role_is_what_the_program_asks_s3_with(double: AwsDouble) -> None:
    emr = double.client("emr")
    allowed = '{"AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": true}}}'
    emr.create_security_configuration(Name="roles", SecurityConfiguration=allowed)
    program = "import boto3\nboto3.client('s3').put_object(Bucket='data', Key='by-role', Body=b'')\n"
    double.client("s3").put_object(Bucket="code", Key="jobs/program.py", Body=program.encode())
    cluster = emr.run_job_flow(**requests.cluster(SecurityConfiguration="roles"))["JobFlowId"]
    role = "arn:aws:iam::123456789012:role/team/nightshift-job"
    emr.add_job_flow_steps(JobFlowId=cluster, Steps=[requests.step("a")], ExecutionRoleArn=role)
    double.join()
    assert step_of(double, cluster)["Status"]["State"] == "COMPLETED"
    asked = [call.key for call in double.journal.of("PutObject") if call.parameters["Key"] == "by-role"]
    assert asked == ["runtime-nightshift-job"]


def test_a_program_that_knows_files_only_gets_copies_and_what_it_writes_goes_back() -> None:
    with aws_double(programs="s3://code/jobs/", local_arguments=True) as double:
        s3 = double.client("s3")
        for bucket in ("code", "logs", "data"):
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket="data", Key="in/a.csv", Body=b"carrier,delay\nAA,1\nBB,2\n")
        s3.put_object(Bucket="data", Key="in/b.csv", Body=b"carrier,delay\nAA,3\n")
        step, texts = run(
            double,
            COUNT,
            "s3://data/in",
            "s3://data/out/counts",
            options=(
                *("--master", "yarn", "--conf", "spark.sql.session.timeZone=UTC"),
                *("--conf", "spark.sql.shuffle.partitions=2"),
            ),
        )
        assert step["Status"]["State"] == "COMPLETED", texts
        assert "master local[2] conf UTC" in texts["steps/stdout.gz"]
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket="data")["Contents"]]
        assert {"in/a.csv", "in/b.csv", "out/counts/_SUCCESS"} <= set(keys)
        assert any(key.endswith(".parquet") for key in keys)
        assert not [call for call in double.journal.of("PutObject") if call.parameters["Key"].startswith("in/")][2:]


def test_a_bare_node_has_python_and_pyspark_only() -> None:
    with aws_double(programs="s3://code/jobs/", bare_nodes=True) as double:
        for bucket in ("code", "logs"):
            double.client("s3").create_bucket(Bucket=bucket)
        _, texts = run(double, TELL)
        assert said(texts["steps/stdout.gz"])["packages"] == ["pyspark"]


@pytest.mark.long
def test_spark_reads_and_writes_s3_by_itself(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spark_submit.JARS, s3a_jars())
    program = (
        "import sys\nfrom nightshift.spark import s3a\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.config(map=s3a.settings()).getOrCreate()\n"
        "s3a.require_jars(spark.sparkContext._jvm)\n"
        "spark.range(1000).repartition(3).write.parquet(s3a.path(sys.argv[1]))\n"
        "print(spark.read.parquet(s3a.path(sys.argv[1])).count())\n"
    )
    s3 = double.client("s3")
    s3.put_object(Bucket="code", Key=archive_name(), Body=archive_bytes())
    step, texts = run(double, program, "s3://data/tables/t", options=("--py-files", f"s3://code/{archive_name()}"))
    assert step["Status"]["State"] == "COMPLETED", texts["steps/stderr.gz"][-3000:]
    assert texts["steps/stdout.gz"] == "1000\n"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="data", Prefix="tables/t/")["Contents"]]
    assert sum(key.endswith(".parquet") for key in keys) == 3
    assert not [key for key in keys if "__magic" in key]
    assert "CompleteMultipartUpload" in double.journal.operations("s3")


def test_jars_that_are_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spark_submit.JARS, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there are no jars"):
        spark_submit.spark_jars()


BOOTSTRAP = """\
set -eu
[ "$(id -un)" != nobody ] || exit 9
aws s3 cp --only-show-errors "$1" "$TMPDIR/packages.tar.gz" || exit 7
mkdir -p "$2"
tar -xzf "$TMPDIR/packages.tar.gz" -C "$2"
"""


def bootstrapped(uri: str) -> dict[str, Any]:
    """A bootstrap action that puts packages into a folder of the node, and who uses them."""
    folder = "/opt/nightshift-packages/0123"
    action = {"Path": "s3://code/jobs/bootstrap.sh", "Args": [uri, folder]}
    exports = {"Classification": "export", "Properties": {"PYTHONPATH": folder}}
    defaults = {"spark.executorEnv.PYTHONPATH": folder, "spark.sql.session.timeZone": "UTC"}
    return {
        "BootstrapActions": [{"Name": "packages", "ScriptBootstrapAction": action}],
        "Configurations": [
            {"Classification": "spark-env", "Configurations": [exports]},
            {"Classification": "spark-defaults", "Properties": defaults},
        ],
    }


def test_a_bootstrap_action_really_runs_and_steps_find_what_it_left(double: AwsDouble) -> None:
    s3 = double.client("s3")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("thing.py")
        entry.size = len(module := b"ANSWER = 42\n")
        archive.addfile(entry, io.BytesIO(module))
    s3.put_object(Bucket="code", Key="packages.tar.gz", Body=packed.getvalue())
    s3.put_object(Bucket="code", Key="jobs/bootstrap.sh", Body=BOOTSTRAP.encode())
    program = (
        "import thing\nfrom pyspark import SparkConf, SparkContext\n"
        "SparkContext._ensure_initialized()\nconf = SparkConf()\n"
        "folder, zone = conf.get('spark.executorEnv.PYTHONPATH'), conf.get('spark.sql.session.timeZone')\n"
        "print(thing.ANSWER, zone, thing.__file__.startswith(folder))\n"
    )
    step, texts = run(double, program, **bootstrapped("s3://code/packages.tar.gz"))
    assert step["Status"]["State"] == "COMPLETED", texts
    assert texts["steps/stdout.gz"] == "42 UTC True\n"
    assert not Path("/opt/nightshift-packages").exists()


def test_a_bootstrap_action_that_fails_ends_the_cluster_and_its_words_are_in_the_nodes_log(double: AwsDouble) -> None:
    double.client("s3").put_object(Bucket="code", Key="jobs/bootstrap.sh", Body=BOOTSTRAP.encode())
    cluster = submit(double, TELL, **bootstrapped("s3://code/missing.tar.gz"))
    double.join()
    status = double.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
    assert (status["State"], status["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE")
    assert "bootstrap action 1 returned a non-zero return code" in status["StateChangeReason"]["Message"]
    assert step_of(double, cluster)["Status"]["State"] == "CANCELLED"
    assert "fatal error" in logs(double, cluster)["node/stderr.gz"]


def test_a_job_run_of_emr_serverless_really_runs(double: AwsDouble) -> None:
    s3, serverless = double.client("s3"), double.client("emr-serverless")
    s3.put_object(Bucket="code", Key="jobs/program.py", Body=TELL.encode())
    s3.put_object(Bucket="code", Key=archive_name(), Body=archive_bytes())
    application = serverless.create_application(name="nights", releaseLabel="emr-spark-8.1.0", type="SPARK")
    options = f"--py-files s3://code/{archive_name()} --conf spark.emr-serverless.driverEnv.NIGHTSHIFT_ENV='a b'"
    driver = {"entryPoint": requests.PROGRAM, "entryPointArguments": ["x"], "sparkSubmitParameters": options}
    logs = {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://logs/serverless"}}}
    job = serverless.start_job_run(
        applicationId=application["applicationId"],
        executionRoleArn="arn:aws:iam::123456789012:role/nightshift-job",
        jobDriver={"sparkSubmit": driver},
        configurationOverrides=logs,
    )
    double.join()
    found = serverless.get_job_run(applicationId=job["applicationId"], jobRunId=job["jobRunId"])["jobRun"]
    key = f"serverless/applications/{job['applicationId']}/jobs/{job['jobRunId']}/SPARK_DRIVER/stdout.gz"
    told = said(gzip.decompress(s3.get_object(Bucket="logs", Key=key)["Body"].read()).decode())
    assert found["state"] == "SUCCESS"
    assert told["arguments"] == ["x"]
    assert told["environment"]["NIGHTSHIFT_ENV"] == "a b"
    assert told["environment"]["AWS_ACCESS_KEY_ID"] == "runtime-nightshift-job"
    assert told["nightshift"] is not None
    assert found["billedResourceUtilization"]["vCPUHour"] > 0
