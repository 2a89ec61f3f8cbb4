"""The housekeeping DAG: what it is, and its operators on real stores."""

from __future__ import annotations

import importlib
import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from tests.fakes.blessed import promote
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.moto import moto
from tests.fakes.tiny_model import write_model

from nightshift.cli.retention import retention
from nightshift.errors import StorageError
from nightshift.ledger import Ledger
from nightshift.storage import Store

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

DEFAULTS = {"keep_days": 90, "keep_versions": 3, "garbage_hours": 24, "dry_run": False}
DAY = "2024-05-04"


@pytest.fixture
def dag(repository: DagBag) -> DAG:
    return repository.dags["nightshift__housekeeping"]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models that have a spec, on local disk."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("letters", "parcels"):
        (folder / f"{name}.yaml").write_text("half a spec is enough")
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(folder))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    return folder


def store_of(tmp_path: Path, model: str) -> Store:
    return Store.open((tmp_path / "home" / "store").as_uri(), env="dev", model=model)


def fill(store: Store, contents: int) -> None:
    for number in range(contents):
        attempt = store.attempt("data", DAY)
        attempt.put("content.txt", f"{number}".encode() * 1000)
        attempt.publish(stage_key=f"{number}", code="c")


def context(**params: Any) -> Any:
    return {"params": {**DEFAULTS, **params}, "ti": SimpleNamespace(task_id="housekeeping")}


# -- the DAG -------------------------------------------------------------------------------------------


def test_the_reaper_has_a_dag_of_its_own_which_does_not_wait_for_a_day(
    dags_folder: Path, read_dags: Callable[[Path], DagBag], monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = read_dags(dags_folder).dags["nightshift__reaper"]
    assert idle.timetable.can_be_scheduled is False, "an environment without EMR has nothing to reap"
    assert [task.task_id for task in idle.tasks] == ["reap_clusters"]
    assert idle.max_active_runs == 1
    housekeeping = importlib.import_module("nightshift_airflow.housekeeping")
    monkeypatch.setenv("NIGHTSHIFT_EMR_CODE", "s3://code/x")
    try:
        importlib.reload(housekeeping)
        reaper = read_dags(dags_folder).dags["nightshift__reaper"]
    finally:
        monkeypatch.undo()
        importlib.reload(housekeeping)
    assert reaper.timetable.expression == "*/30 * * * *"


def test_a_leak_is_told_to_the_webhook_of_its_model_and_to_no_other(
    dags_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift.settings import Settings
    from nightshift_airflow import notifiers

    for model in ("letters", "parcels"):
        spec = write_model(dags_folder.parent, model=model, days=0) / f"{model}.yaml"
        spec.write_text(f"{spec.read_text()}notify: {{connection: hook_of_{model}}}\n")
    heard: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(notifiers, "post", lambda connection, body: heard.append((connection, body)))
    settings = Settings.from_environment({"NIGHTSHIFT_MODELS": str(dags_folder / "models")})
    ti = SimpleNamespace(dag_id="nightshift__reaper", run_id="r1", task_id="reap_clusters")
    notifiers.notify_leak({"ti": ti}, "parcels", settings, "the cluster j-1 was ended")  # type: ignore[typeddict-item]
    [(connection, body)] = heard
    assert connection == "hook_of_parcels"
    assert body["event"] == "leak"
    assert body["text"] == "parcels: the cluster j-1 was ended"


def test_a_reaper_that_fails_tells_each_webhook_of_models_on_emr_once(
    repository: DagBag, dags_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift_airflow import notifiers

    about = {"letters": ("emr", "hook"), "parcels": ("emr", "hook"), "notes": ("emr", "other"), "here": ("local", "no")}
    for model, (target, connection) in about.items():
        spec = write_model(dags_folder.parent, model=model, days=0) / f"{model}.yaml"
        text = spec.read_text().replace(str(dags_folder.parent / "data"), "s3://data/x")
        spec.write_text(f"{text}compute: {{target: {target}}}\nnotify: {{connection: {connection}}}\n")
    heard: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(notifiers, "post", lambda connection, body: heard.append((connection, body)))
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(dags_folder / "models"))
    task = repository.dags["nightshift__reaper"].get_task("reap_clusters")
    ti = SimpleNamespace(dag_id="nightshift__reaper", run_id="r1", task_id="reap_clusters")
    told: Any = {
        "ti": ti,
        "exception": StorageError("the cluster j-1 could not be ended"),
        "dag_run": SimpleNamespace(),
    }
    for callback in task.on_failure_callback:
        callback(told)
    assert sorted(connection for connection, _ in heard) == ["hook", "other"]
    assert all(body["event"] == "reaper" for _, body in heard)
    assert all("the cluster j-1 could not be ended" in body["text"] for _, body in heard)


def test_every_day_at_a_quiet_hour(dag: DAG) -> None:
    assert dag.timetable.expression == "30 5 * * *"
    assert str(dag.timetable.timezone) == "UTC"
    assert (dag.max_active_runs, dag.catchup, dag.end_date) == (1, False, None)
    assert dag.tags == {"housekeeping", "nightshift"}
    assert dag.doc_md
    assert {task.task_id for task in dag.tasks} == {"apply_retention", "reconcile_roles", "remove_s3_leftovers"}
    for task in dag.tasks:
        assert task.retries == 2
        assert task.execution_timeout == timedelta(hours=2)
        assert task.pool == "default_pool", "it starts no job"
        assert not task.upstream_task_ids, "a failure of one is seen, and stops no other"


def test_it_keeps_what_the_command_line_keeps(dag: DAG) -> None:
    assert {name: dag.params[name] for name in DEFAULTS} == DEFAULTS
    of_the_command = {option.name: option.default for option in retention.params}
    assert all(of_the_command[name] == value for name, value in DEFAULTS.items() if name != "dry_run")


# -- retention -----------------------------------------------------------------------------------------


def test_old_versions_of_every_model_go(
    dag: DAG, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for model in ("letters", "parcels"):
        fill(store_of(tmp_path, model), 4)
    operator = dag.get_task("apply_retention")
    with caplog.at_level(logging.INFO):
        tried = operator.execute(context(garbage_hours=0, dry_run=True))
        assert store_of(tmp_path, "letters").versions("data", DAY) == [1, 2, 3, 4]
        done = operator.execute(context(garbage_hours=0))
    assert (
        tried == done == {model: {"versions": 1, "retired": [], "freed_bytes": 0} for model in ("letters", "parcels")}
    )
    assert store_of(tmp_path, "letters").versions("data", DAY) == [2, 3, 4]
    assert "parcels: would delete 1 versions" in caplog.text
    assert "parcels: deleted 1 versions" in caplog.text
    again = operator.execute(context(garbage_hours=0))
    assert again["letters"] == {"versions": 0, "retired": [], "freed_bytes": 1000}, (
        "their files go when no reader can hold them"
    )


def test_a_damaged_model_keeps_no_other_from_it(dag: DAG, models: Path, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    for model in ("letters", "parcels"):
        fill(store_of(tmp_path, model), 4)
    store_of(tmp_path, "letters").objects.write(f"data/{DAY}/v000002.json", b"{")
    with pytest.raises(AirflowFailException, match=r"letters: .*v000002\.json"):
        dag.get_task("apply_retention").execute(context(garbage_hours=0))
    assert store_of(tmp_path, "parcels").versions("data", DAY) == [2, 3, 4]


# -- aliases -------------------------------------------------------------------------------------------


def test_models_without_a_ledger_need_no_mlflow(dag: DAG, models: Path, tmp_path: Path) -> None:
    assert dag.get_task("reconcile_roles").execute(context()) == {}
    assert not (tmp_path / "home" / "mlflow.db").exists()


def test_aliases_are_brought_to_what_the_ledger_says(
    dag: DAG,
    models: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    import mlflow

    from nightshift.registry.aliases import Aliases
    from nightshift.registry.mlflow_registry import open_client

    uri = mlflow_uri(tmp_path_factory, tmp_path)
    request.addfinalizer(lambda: mlflow.set_tracking_uri(None))
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", uri)
    client = open_client(uri)
    client.create_registered_model("dev-letters")
    client.create_model_version("dev-letters", source="s3://models/1", await_creation_for=0)
    promote(Ledger(store_of(tmp_path, "letters")), 1)
    operator = dag.get_task("reconcile_roles")
    assert operator.execute(context(dry_run=True)) == {}
    assert operator.execute(context()) == {"letters": {"champion": None}}
    assert dict(Aliases(uri, "dev-letters").read().aliases) == {"champion": 1}
    client.set_registered_model_alias("dev-letters", "previous", "1")
    with caplog.at_level(logging.INFO):
        assert operator.execute(context()) == {"letters": {"previous": 1}}
    assert "letters: the alias previous was v1 and is nothing (it had been moved by hand)" in caplog.text


def test_mlflow_being_away_is_tried_again_and_a_damaged_ledger_is_not(
    dag: DAG, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    letters, parcels = (store_of(tmp_path, model) for model in ("letters", "parcels"))
    letters.objects.write("ledger/000000001.json", b"{")
    operator = dag.get_task("reconcile_roles")
    with pytest.raises(AirflowFailException, match=r"letters: .*000000001\.json"):
        operator.execute(context())
    promote(Ledger(parcels), 1)
    with pytest.raises(StorageError, match="parcels: MLflow at http"):
        operator.execute(context())


# -- leftovers on S3 -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Moto's S3, and a client of it."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
    with moto() as server, pytest.MonkeyPatch.context() as environ:
        for name in names:
            environ.setenv(name, "us-east-1")
        environ.setenv("AWS_ALLOW_HTTP", "true")
        environ.setenv("AWS_ENDPOINT_URL", server.endpoint)
        client = boto3.client("s3")
        yield client
        client.close()


@pytest.fixture
def bucket(s3: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with leftovers in our part, beside it, and in none."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", f"s3://{name}/a%20b/")
    for key in ("a b/dev/parcels/data/x y#.bin", "a b/prod/x.bin", "other/x.bin"):
        upload = s3.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
        s3.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 700)
        s3.put_object(Bucket=name, Key=f"{key.rpartition('/')[0]}/train/")
    s3.put_object(Bucket=name, Key="a b/dev/parcels/data/empty")
    return name


def uploads(s3: Any, bucket: str) -> list[str]:
    return [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def keys(s3: Any, bucket: str) -> list[str]:
    return [stored["Key"] for stored in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_old_leftovers_of_our_part_go(dag: DAG, s3: Any, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    operator = dag.get_task("remove_s3_leftovers")
    everything = {"uploads": 1, "upload_bytes": 700, "markers": 1}
    with caplog.at_level(logging.INFO):
        # Moto says that every upload began in 2010; markers are of today.
        assert operator.execute(context(dry_run=True)) == {**everything, "markers": 0}
        assert operator.execute(context(garbage_hours=-1, dry_run=True)) == everything
        assert len(uploads(s3, bucket)) == 3
        assert operator.execute(context(garbage_hours=-1)) == everything
    assert uploads(s3, bucket) == ["a b/prod/x.bin", "other/x.bin"]
    assert keys(s3, bucket) == ["a b/dev/parcels/data/empty", "a b/prod/train/", "other/train/"]
    assert "would remove 1 uploads (700 bytes) and 1 folder markers" in caplog.text
    assert operator.execute(context(garbage_hours=-1)) == {"uploads": 0, "upload_bytes": 0, "markers": 0}


def test_a_store_that_refuses_says_what_is_needed(dag: DAG, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", "s3://no-such-bucket-at-all/x")
    with pytest.raises(StorageError, match="no-such-bucket-at-all") as caught:
        dag.get_task("remove_s3_leftovers").execute(context())
    assert "s3:ListBucketMultipartUploads" in (caught.value.hint or "")


def test_local_disk_has_no_such_leftovers(dag: DAG, models: Path) -> None:
    found = dag.get_task("remove_s3_leftovers").execute(context())
    assert found == {"uploads": 0, "upload_bytes": 0, "markers": 0}
