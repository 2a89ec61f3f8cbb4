"""Spark's settings: the same wherever results depend on them, no secret in what is written down, bounds on waiting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.published_night import demo_spec

from nightshift.errors import SettingsError
from nightshift.jobs import spark_submit
from nightshift.jobs.placement import application_in, goes_to_cluster
from nightshift.plan import STAGES
from nightshift.settings import Settings
from nightshift.spark import s3a
from nightshift.spark.cluster import wait_seconds
from nightshift.spark.configuration import QUICK_COMPILER, configuration, on_cluster, on_emr, submitted

SETTINGS = Settings.from_environment(
    {"NIGHTSHIFT_SPARK_MASTER": "spark://master:7077", "NIGHTSHIFT_SPARK_UI": "http://127.0.0.1:8081/"}
)
# What may differ between one machine and a cluster without a result being another.
PLACE = (
    "spark.authenticate", "spark.default.parallelism", "spark.driver.", "spark.dynamicAllocation.", "spark.eventLog.",
    "spark.executor.", "spark.master", "spark.network.", "spark.cores.max", "spark.pyspark.driver.",
    "spark.scheduler.barrier.", "spark.ui.",
)  # fmt: skip
SECRETS = {
    "_SPARK_AUTH_SECRET": "secret-of-spark",
    "AWS_ACCESS_KEY_ID": "key-id",
    "AWS_SECRET_ACCESS_KEY": "secret-of-s3",
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def cluster_settings(storage: str, settings: Settings = SETTINGS) -> dict[str, str]:
    scratch = Path("/scratch")
    chosen = on_cluster("app", threads=3, scratch=scratch, rows=10, storage=storage, settings=settings)
    return {**submitted(scratch, host="10.0.0.7", bind="10.0.0.7"), **chosen}


@pytest.mark.parametrize("storage", ["file:///store", "s3://bucket/store"])
def test_what_results_depend_on_is_the_same_on_one_machine_and_on_a_cluster(storage: str) -> None:
    local = configuration("app", threads=3, scratch=Path("/scratch"), rows=10, storage=storage)
    cluster = cluster_settings(storage)
    differing = {name for name in {*local, *cluster} if local.get(name) != cluster.get(name)}
    assert {name for name in differing if not name.startswith(PLACE)} == set()
    # Spark's own default on local[3].
    assert cluster["spark.default.parallelism"] == "3"


def test_on_emr_results_depend_on_the_same_and_the_rest_is_left_to_emr(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"threads": 3, "scratch": Path("/scratch"), "rows": 10, "storage": "s3://bucket/store"}
    local = configuration("app", **wanted)  # type: ignore[arg-type]
    emr = on_emr("app", **wanted, settings=SETTINGS)  # type: ignore[arg-type]
    differing = {name for name in {*local, *emr} if local.get(name) != emr.get(name)}
    store = ("spark.hadoop.fs.s3", "spark.sql.sources.commitProtocolClass", "spark.sql.parquet.output.committer.class")
    assert {name for name in differing if not name.startswith((*PLACE, *store))} == set()
    assert not [name for name in emr if name.startswith((*store, "spark.executor.", "spark.dynamicAllocation."))]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5005")
    elsewhere = on_emr("app", **wanted, settings=SETTINGS)  # type: ignore[arg-type]
    assert elsewhere["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:5005", "a store that EMR does not know"


def test_secrets_are_in_nothing_that_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    events = replace(SETTINGS, spark_events="s3://events/logs")
    chosen = cluster_settings("s3://bucket/store", events)
    # The one that Spark takes from nowhere else is set in memory, under a name that Spark never shows.
    assert chosen.pop("spark.authenticate.secret") == SECRETS["_SPARK_AUTH_SECRET"]
    written = submitted(Path("/scratch"), host="10.0.0.7", bind="10.0.0.7")
    assert written["spark.authenticate"] == "true"
    for secret in SECRETS.values():
        assert secret not in str(chosen)
        assert secret not in str(written)
    for name in s3a.COPIED_KEYS:
        assert chosen[f"spark.hadoop.{name}"] == "", "Spark would copy the key from the environment"


def test_an_object_store_is_found_by_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cluster_settings("s3://bucket/store")
    assert "spark.hadoop.fs.s3a.endpoint" not in plain
    assert plain["spark.hadoop.fs.s3a.aws.credentials.provider"].count(",") == 1

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    chosen = cluster_settings("s3://bucket/store")
    assert chosen["spark.hadoop.fs.s3a.endpoint"] == "http://minio:9000"
    assert chosen["spark.hadoop.fs.s3a.path.style.access"] == "true"
    assert chosen["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "false"
    assert chosen["spark.hadoop.fs.s3a.endpoint.region"] == "us-east-1"
    assert chosen["spark.hadoop.fs.s3a.aws.credentials.provider"] == s3a.PROVIDER
    assert chosen["spark.hadoop.fs.s3a.committer.name"] == "magic"

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    chosen = cluster_settings("s3://bucket/store")
    assert chosen["spark.hadoop.fs.s3a.endpoint"] == "https://s3.example.com"
    assert chosen["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "true"
    assert chosen["spark.hadoop.fs.s3a.endpoint.region"] == "eu-central-1"


def test_tables_on_disk_need_no_library_of_s3_even_where_events_go_there() -> None:
    assert not any("s3a" in name for name in cluster_settings("file:///store"))
    chosen = cluster_settings("file:///store", replace(SETTINGS, spark_events="s3://events/logs"))
    assert chosen["spark.eventLog.dir"] == "s3a://events/logs"
    assert "spark.sql.sources.commitProtocolClass" not in chosen


def test_pages_are_linked_through_the_masters_where_people_look_at_them_there() -> None:
    chosen = cluster_settings("file:///store")
    assert (chosen["spark.ui.reverseProxy"], chosen["spark.ui.reverseProxyUrl"]) == ("true", "http://127.0.0.1:8081")
    assert chosen["spark.ui.killEnabled"] == "false"
    assert "spark.ui.reverseProxy" not in cluster_settings("file:///store", replace(SETTINGS, spark_ui=None))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIGHTSHIFT_SPARK_EXECUTOR_MEMORY", "lots"),
        ("NIGHTSHIFT_SPARK_MEMORY", "1.5g"),
        ("NIGHTSHIFT_SPARK_WAIT", "for ever"),
    ],
)
def test_amounts_that_are_none_are_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        (cluster_settings("file:///store"), wait_seconds())


def test_memory_cores_and_patience_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_settings("file:///store")["spark.executor.memory"] == "1g"
    assert "spark.cores.max" not in cluster_settings("file:///store")
    assert wait_seconds() == 180
    for name, value in (("EXECUTOR_MEMORY", "768m"), ("MEMORY", "1g"), ("WAIT", "20")):
        monkeypatch.setenv(f"NIGHTSHIFT_SPARK_{name}", value)
    chosen = cluster_settings("file:///store", replace(SETTINGS, spark_cores=4))
    assert (chosen["spark.executor.memory"], chosen["spark.cores.max"]) == ("768m", "4")
    assert chosen["spark.driver.memory"] == "1g"
    assert wait_seconds() == 20


def test_a_long_job_gets_the_full_compiler_on_executors() -> None:
    few = on_cluster("a", threads=1, scratch=Path("/s"), rows=1, storage="file:///s", settings=SETTINGS)
    many = on_cluster("a", threads=1, scratch=Path("/s"), rows=10**6, storage="file:///s", settings=SETTINGS)
    assert QUICK_COMPILER in few["spark.executor.extraJavaOptions"]
    assert QUICK_COMPILER not in many["spark.executor.extraJavaOptions"]


# -- what is submitted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "target", "workers", "compute", "goes"),
    [
        ("preprocess", None, 1, "local", False),
        ("preprocess", None, 1, "standalone", True),
        ("preprocess", "standalone", 1, "local", True),
        ("preprocess", "local", 1, "standalone", False),
        ("train", "standalone", 1, "local", False),
        ("train", "standalone", 2, "local", True),
        ("train", "standalone", "auto", "local", True),
        ("train", "local", 2, "standalone", False),
        ("validate", "standalone", 2, "standalone", False),
        ("deploy", "standalone", 2, "standalone", False),
    ],
)
def test_stages_with_work_for_spark_go_to_the_cluster(
    stage: str, target: str | None, workers: int | str, compute: str, goes: bool
) -> None:
    spec = demo_spec(compute={"target": target}, training={"engine": "xgboost", "workers": workers})
    assert goes_to_cluster(stage, spec, replace(SETTINGS, compute=compute)) == goes  # type: ignore[arg-type]


def test_spark_ml_always_trains_on_the_cluster() -> None:
    spec = demo_spec(
        compute={"target": "standalone"}, training={"engine": "spark_ml", "params": {"algorithm": "random_forest"}}
    )
    assert [stage for stage in STAGES if goes_to_cluster(stage, spec, SETTINGS)] == ["preprocess", "train"]


def test_a_spec_that_wants_a_cluster_needs_to_know_where_it_is() -> None:
    spec = demo_spec(compute={"target": "standalone"})
    with pytest.raises(SettingsError, match="NIGHTSHIFT_SPARK_MASTER is not set") as caught:
        goes_to_cluster("preprocess", spec, Settings.from_environment({}))
    assert "compute.target is standalone" in str(caught.value)
    assert "spark://spark-master:7077" in str(caught.value)


def test_the_application_is_recognised_in_the_line_that_tells_it() -> None:
    line = (
        "13:09:28 INFO preprocess: Spark application app-20261120130920-0000 on spark://h:7077, Spark 4.1.4, in 9.6 s"
    )
    assert application_in(line) == "app-20261120130920-0000"
    assert application_in(f"java says: {line}") is None
    assert application_in("13:09:28 INFO preprocess: 74 days, 66022 rows") is None


def test_properties_survive_blanks_backslashes_and_other_alphabets() -> None:
    text = spark_submit._properties_text({"b": '"-Dx=/a folder"', "a": "c:\\ß🌙"})
    assert text == 'a=c:\\\\\\u00df\\ud83c\\udf19\nb="-Dx=/a folder"\n'
