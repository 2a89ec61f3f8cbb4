"""Register against a real MLflow store: whole versions only, one per run key, whatever is killed when."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.trained_night import Night, gates, small_plan, small_spec, trained_night

from nightshift import deploy, evaluate, register
from nightshift.errors import InfraCheckFailed, ParityError, StorageError
from nightshift.ledger import Ledger
from nightshift.model.session import Scorer
from nightshift.register import parity_gate
from nightshift.registry.aliases import Aliases, Applied
from nightshift.registry.mlflow_registry import Registry, initialise, open_client, shortened, shown
from nightshift.stage import StageResult

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
)
NAME = "test-parcels"


@pytest.fixture
def uri(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import mlflow

    monkeypatch.chdir(tmp_path)
    yield mlflow_uri(tmp_path_factory, tmp_path)
    mlflow.set_tracking_uri(None)


def judged(root: Path, *, minimum: float = 0.7, **changes: Any) -> Night:
    plan = small_plan(root, spec=small_spec(gates=gates(minimum=minimum), **changes))
    return trained_night(root, plan=plan).run(evaluate)[0]


def registered(night: Night) -> tuple[Night, StageResult]:
    return night.run(register)


def versions(uri: str) -> list[Any]:
    return sorted(open_client(uri).search_model_versions(f"name = '{NAME}'"), key=lambda version: int(version.version))


def test_a_version_says_where_everything_came_from(tmp_path: Path, uri: str) -> None:
    night, result = registered(judged(tmp_path))
    assert (result.status, result.summary["model_name"], result.summary["model_version"]) == ("succeeded", NAME, 1)
    assert result.summary["parity_rows"] == 753
    assert result.summary["parity_max_diff"] < 1e-5

    client = open_client(uri)
    run = client.get_run(result.summary["mlflow_run_id"])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "parcels 2024-03-02")
    assert run.data.params["max_depth"] == "3"
    assert run.data.params["window.train"] == str(night.plan.windows.train)
    judged_metrics = night.io.given("evaluate").result["challenger"]
    assert run.data.metrics["roc_auc"] == pytest.approx(judged_metrics["roc_auc"])
    assert run.data.metrics["parity_rows"] == 753
    for stage in ("preprocess", "train", "evaluate"):
        manifest = night.io.given(stage)
        assert run.data.tags[f"nightshift.{stage}"] == str(manifest.ref)
        assert run.data.tags[f"nightshift.{stage}.stage_key"] == manifest.stage_key
    assert run.data.tags["nightshift.status"] == "accepted"
    assert run.data.tags["nightshift.plan_run_id"] == night.plan.run_id
    used = {(each.dataset.name, each.tags[0].value, each.dataset.digest) for each in run.inputs.dataset_inputs}
    outputs = night.io.given("preprocess").outputs
    assert used == {
        ("train", "training", outputs["train"].digest[:36]),
        ("holdout", "evaluation", outputs["holdout"].digest[:36]),
    }
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == {"evaluation.json", "model.json"}

    (version,) = versions(uri)
    assert version.tags["nightshift.model_digest"] == result.summary["model_digest"]
    registration = json.loads(night.store.read(night.io.given("register"), "registration.json"))
    assert version.tags["nightshift.run_key"] == registration["run_key"]
    assert registration["parity"]["probe"]["rows"] == 3


def test_a_search_is_nested_runs_and_a_retry_makes_no_more(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    search = {"trials": 4, "folds": 2, "params": {"max_depth": [1, 4]}}
    night = judged(tmp_path, training={"engine": "xgboost", "params": {"n_estimators": 8}, "search": search})

    ends = mlflow.MlflowClient.set_terminated
    calls = iter(range(10))

    def fails_the_second_time(*args: Any, **options: Any) -> None:
        if next(calls) == 1:
            raise StorageError("killed within the second trial")
        ends(*args, **options)

    with monkeypatch.context() as killed:
        killed.setattr(mlflow.MlflowClient, "set_terminated", fails_the_second_time)
        with pytest.raises(StorageError, match="killed"):
            registered(night)
    _, result = registered(night)

    client = open_client(uri)
    experiment = client.get_experiment_by_name(NAME)
    below = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{result.summary['mlflow_run_id']}'"
    )
    study = json.loads(night.store.read(night.io.given("train"), "search.json"))
    by_number = {int(run.data.tags["nightshift.trial"]): run for run in below}
    assert len(below) == 4
    assert sorted(by_number) == [1, 2, 3, 4]
    for one in study["trials"]:
        run = by_number[one["number"] + 1]
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: str(value) for name, value in one["params"].items()} | {"engine": "xgboost"}
        assert run.data.metrics["roc_auc"] == one["mean"]
        history = client.get_metric_history(run.info.run_id, "fold_roc_auc")
        assert [point.value for point in sorted(history, key=lambda point: point.step)] == one["values"]
    assert [n for n, run in by_number.items() if run.data.tags["nightshift.trial.best"] == "true"] == [
        study["best"] + 1
    ]
    params = client.get_run(result.summary["mlflow_run_id"]).data.params
    assert (params["search.trials"], params["search.metric"]) == ("4", "roc_auc")
    assert params["max_depth"] == str(study["trials"][study["best"]]["params"]["max_depth"])


def test_the_registered_bytes_are_the_judged_ones(tmp_path: Path, uri: str) -> None:
    import mlflow.artifacts

    _, result = registered(judged(tmp_path))
    path = mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", dst_path=str(tmp_path), tracking_uri=uri)
    data = (Path(path) / "model.onnx").read_bytes()
    assert hashlib.sha256(data).hexdigest() == result.summary["model_digest"]
    assert (tmp_path / "mlartifacts").is_dir()
    assert not (tmp_path / "mlruns").exists()


def test_mlflow_loads_and_scores_it(tmp_path: Path, uri: str) -> None:
    """What MLflow's own users do: load by alias, predict with a DataFrame."""
    import mlflow.pyfunc

    night, _ = registered(judged(tmp_path))
    Aliases(uri, NAME).apply({"champion": 1}, sequence=1)
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert [spec.name for spec in loaded.metadata.signature.inputs] == ["weight", "distance", "lane"]
    assert [spec.name for spec in loaded.metadata.signature.outputs] == ["probability", "label"]
    rows = pd.DataFrame({"weight": [1.5, np.nan], "distance": [0.0, 1.0], "lane": ["sea", ""]})
    ours = Scorer.load(night.store.read(night.io.given("train"), "graph.onnx")).score(rows)
    assert np.array_equal(loaded.predict(rows)["probability"], ours)
    example = loaded.input_example
    assert {name: np.asarray(values).shape for name, values in example.items()} == {
        "weight": (2, 1),
        "distance": (2, 1),
        "lane": (2, 1),
    }


def test_a_refused_version_is_registered_and_tagged(tmp_path: Path, uri: str) -> None:
    _, result = registered(judged(tmp_path, minimum=0.999))
    assert (result.status, result.summary["standing"]) == ("succeeded", "refused")
    (version,) = versions(uri)
    assert version.tags["nightshift.status"] == "refused"
    assert "below the floor" in version.tags["nightshift.sentence"]
    assert Aliases(uri, NAME).read().aliases == {}


def test_where_the_night_ends_with_register_that_writes_the_refusal_once(tmp_path: Path, uri: str) -> None:
    night, result = registered(judged(tmp_path, minimum=0.999, approval="manual"))
    (entry,) = Ledger(night.store).entries()
    assert (entry.kind, entry.about.model_version, entry.by) == ("refusal", 1, night.plan.run_id)
    assert entry.reason == night.io.given("evaluate").result["reason"]
    assert result.summary["approval"] == "manual"
    registered(night)
    night.run(deploy)
    assert Ledger(night.store).entries() == [entry], "deploy, if somebody starts it, would have made the same"


def test_a_version_that_waits_for_a_person_leaves_the_ledger_alone(tmp_path: Path, uri: str) -> None:
    night, result = registered(judged(tmp_path, approval="manual"))
    assert (result.summary["standing"], result.summary["approval"]) == ("accepted", "manual")
    assert Ledger(night.store).entries() == []


def test_the_same_night_again_is_reused(tmp_path: Path, uri: str) -> None:
    night, first = registered(judged(tmp_path))
    _, again = registered(night)
    assert (again.reused, again.ref) == (True, first.ref)


def test_a_night_whose_registration_was_lost_finds_its_version(tmp_path: Path, uri: str) -> None:
    """The process died after MLflow had everything and before the stage published."""
    night, first = registered(judged(tmp_path))
    manifest = night.io.given("register")
    night.store.objects.delete([f"register/{manifest.interval}/v{manifest.version:06d}.json"])
    _, again = registered(night)
    assert not again.reused
    assert again.summary == first.summary
    assert len(versions(uri)) == 1


class Killed(BaseException):
    """No code may catch it: what SIGKILL looks like from inside."""


WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_inputs",
    "log_text",
    "create_logged_model",
    "log_outputs",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_registered_model",
    "create_model_version",
    "set_terminated",
)


@pytest.mark.parametrize("write", WRITES)
def test_killed_after_any_write_a_retry_leaves_one_whole_version(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    from mlflow import MlflowClient

    night = judged(tmp_path)
    original = getattr(MlflowClient, write)

    def killing(self: MlflowClient, *given: Any, **options: Any) -> None:
        original(self, *given, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, write, killing)
        with pytest.raises(Killed):
            registered(night)
    assert night.store.latest("register", night.plan.interval.key) is None

    _, result = registered(night)
    (version,) = versions(uri)
    assert int(version.version) == result.summary["model_version"]
    assert version.tags["nightshift.run_key"]
    client = open_client(uri)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert [(run.info.run_id, run.info.status) for run in runs] == [(result.summary["mlflow_run_id"], "FINISHED")]
    assert version.run_id == result.summary["mlflow_run_id"]


def test_a_truncated_upload_makes_no_version_and_a_retry_does(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    night = judged(tmp_path)
    upload = MlflowClient.log_model_artifacts

    def truncating(self: MlflowClient, model_id: str, local_dir: str, *rest: Any) -> None:
        path = Path(local_dir) / "model.onnx"
        path.write_bytes(path.read_bytes()[:-10])
        upload(self, model_id, local_dir, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", truncating)
        with pytest.raises(StorageError, match="MLflow stored other bytes than it was given") as caught:
            registered(night)
    assert caught.value.retryable
    assert versions(uri) == []
    registered(night)
    assert len(versions(uri)) == 1


def test_a_graph_that_disagrees_with_what_was_trained_is_not_registered(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = judged(tmp_path)
    as_published = parity_gate.from_column

    def other(column: Any) -> Any:
        scores = as_published(column).copy()
        scores[2] += 1e-4
        return scores

    monkeypatch.setattr(parity_gate, "from_column", other)
    with pytest.raises(ParityError, match=r"on the probe rows of preprocess/2024-03-01@1, disagree: 1 of 3 rows"):
        registered(night)
    assert night.store.latest("register", night.plan.interval.key) is None
    assert open_client(uri).get_experiment_by_name(NAME) is None


def test_a_graph_that_may_not_be_loaded_is_not_registered(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = judged(tmp_path)

    def refuse(*given: Any, **options: Any) -> None:
        raise InfraCheckFailed("the model uses operators of evil")

    monkeypatch.setattr(Scorer, "load", refuse)
    with pytest.raises(InfraCheckFailed):
        registered(night)


def test_roles_are_aliases_that_can_be_set_again(tmp_path: Path, uri: str, caplog: pytest.LogCaptureFixture) -> None:
    registered(judged(tmp_path))
    registry = Aliases(uri, NAME)
    assert registry.read() == Applied({}, None)
    for _ in range(2):
        registry.apply({"champion": 1, "challenger": 1}, sequence=3)
        assert registry.read() == Applied({"champion": 1, "challenger": 1}, 3)
    registry.apply({"champion": 1, "challenger": None}, sequence=4)
    assert registry.read() == Applied({"champion": 1}, 4)

    assert registry.apply({"champion": 1, "previous": 7}, sequence=5) == ("previous",)
    assert registry.read() == Applied({"champion": 1}, 4)
    assert "test-parcels has no v7" in caplog.text


def test_roles_of_a_model_that_is_not_registered_are_left_out(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = Aliases(uri, "test-nothing")
    registry.apply({"champion": 1, "previous": None}, sequence=1)
    assert registry.read() == Applied({}, None)
    assert "test-nothing has no v1" in caplog.text


def test_a_file_can_be_added_to_a_run(tmp_path: Path, uri: str) -> None:
    _, result = registered(judged(tmp_path))
    page = tmp_path / "report.html"
    page.write_text("<p>")
    registry = Registry(uri, NAME)
    registry.log_artifact(result.summary["mlflow_run_id"], page)
    found = open_client(uri).list_artifacts(result.summary["mlflow_run_id"])
    assert "report.html" in {artifact.path for artifact in found}
    with pytest.raises(StorageError, match=r"could not store missing\.html"):
        registry.log_artifact(result.summary["mlflow_run_id"], tmp_path / "missing.html")


def test_initialise_makes_tables_and_the_folder_of_artifacts(uri: str, tmp_path: Path) -> None:
    initialise(uri)
    assert (tmp_path / "mlartifacts").is_dir()
    initialise(uri, (tmp_path / "elsewhere").as_uri())
    assert (tmp_path / "elsewhere").is_dir()


def test_tables_of_another_version_say_how_to_migrate(uri: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    (tmp_path / "mlflow.db").rename(tmp_path / "old.db")
    with pytest.raises(StorageError, match="out-of-date database schema") as caught:
        initialise(f"sqlite:///{tmp_path}/old.db")
    assert "mlflow db upgrade sqlite:///" in (caught.value.hint or "")


def test_a_server_that_is_down_is_a_retryable_error_without_its_password(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StorageError, match=r"MLflow at http://127\.0\.0\.1:9 could not search parcels") as caught:
        Registry("http://user:hunter2@127.0.0.1:9", "parcels").find("key")
    assert caught.value.retryable
    assert "hunter2" not in str(caught.value)
    assert caught.value.message.endswith(
        "could not search parcels: Failed to establish a new connection: [Errno 111] Connection refused"
    )
    assert "NIGHTSHIFT_MLFLOW_URI" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("said", "short"),
    [
        (
            "API request to http://x:1/get failed with exception HTTPConnectionPool(host='x', port=1): Max retries exceeded "
            "with url: /get (Caused by NameResolutionError(\"HTTPConnection(host='x', port=1): Failed to resolve 'x' "
            '([Errno -2] Name or service not known)"))',
            "Failed to resolve 'x' ([Errno -2] Name or service not known)",
        ),
        (
            "HTTPConnectionPool(host='x', port=1): Max retries exceeded with url: /get (Caused by "
            "ReadTimeoutError(\"HTTPConnectionPool(host='x', port=1): Read timed out. (read timeout=3)\"))",
            "Read timed out. (read timeout=3)",
        ),
        ("RESOURCE_DOES_NOT_EXIST: no such run", "RESOURCE_DOES_NOT_EXIST: no such run"),
        ("word " * 100, "word " * 59 + "…"),
    ],
)
def test_what_mlflow_says_is_told_by_its_cause_and_in_whole_words(said: str, short: str) -> None:
    assert shortened(said) == short


@pytest.mark.parametrize(
    ("uri", "safe"),
    [
        ("https://user:secret@mlflow.example.com/path", "https://mlflow.example.com/path"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ],
)
def test_a_shown_uri_has_no_credentials(uri: str, safe: str) -> None:
    assert shown(uri) == safe
