"""The environment as one object."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nightshift.errors import SettingsError
from nightshift.settings import Settings, project_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, seen from a folder deep inside."""
    (tmp_path / "dags" / "models").mkdir(parents=True)
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    return tmp_path


def test_defaults_lie_beside_dags(project: Path) -> None:
    assert Settings.from_environment({}) == Settings(
        home=project / ".nightshift",
        models=project / "dags" / "models",
        env="dev",
        storage=(project / ".nightshift" / "store").as_uri(),
        mlflow_uri=f"sqlite:///{project}/.nightshift/mlflow.db",
        python=sys.executable,
        threads=2,
    )


def test_outside_a_project_the_current_folder_is_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path
    assert Settings.from_environment({}).models == tmp_path / "dags" / "models"


@pytest.mark.usefixtures("project")
def test_every_variable_counts() -> None:
    settings = Settings.from_environment(
        {
            "NIGHTSHIFT_HOME": "/state",
            "NIGHTSHIFT_MODELS": "/specs",
            "NIGHTSHIFT_ENV": "prod",
            "NIGHTSHIFT_STORAGE": "s3://bucket/prefix",
            "NIGHTSHIFT_MLFLOW_URI": "https://mlflow.example.com",
            "NIGHTSHIFT_PYTHON": "/jobs/bin/python",
            "NIGHTSHIFT_THREADS": "16",
            "NIGHTSHIFT_COMPUTE": "standalone",
            "NIGHTSHIFT_SPARK_MASTER": "spark://one:7077,two:7077",
            "NIGHTSHIFT_SPARK_UI": "https://spark.example.com/",
            "NIGHTSHIFT_SPARK_EVENTS": "s3://events/logs",
            "NIGHTSHIFT_SPARK_CORES": "12",
        }
    )
    assert settings == Settings(
        home=Path("/state"),
        models=Path("/specs"),
        env="prod",
        storage="s3://bucket/prefix",
        mlflow_uri="https://mlflow.example.com",
        python="/jobs/bin/python",
        threads=16,
        compute="standalone",
        spark_master="spark://one:7077,two:7077",
        spark_ui="https://spark.example.com",
        spark_events="s3://events/logs",
        spark_cores=12,
    )


@pytest.mark.usefixtures("project")
def test_home_moves_what_lies_in_it() -> None:
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": "/state"})
    assert settings.storage == "file:///state/store"
    assert settings.mlflow_uri == "sqlite:////state/mlflow.db"


def test_models_elsewhere_move_home(project: Path) -> None:
    settings = Settings.from_environment({"NIGHTSHIFT_MODELS": "/bundle/dags/models"})
    assert settings.home == Path("/bundle/.nightshift")
    assert project not in settings.home.parents


def test_folders_may_be_relative_and_begin_with_a_tilde(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/vera")
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": "~/state", "NIGHTSHIFT_MODELS": "models"})
    assert settings.home == Path("/home/vera/state")
    assert settings.models == project / "notebooks" / "deep" / "models"


def test_an_empty_variable_is_no_variable(project: Path) -> None:
    names = (
        "HOME",
        "MODELS",
        "ENV",
        "STORAGE",
        "MLFLOW_URI",
        "PYTHON",
        "THREADS",
        "COMPUTE",
        "SPARK_MASTER",
        "SPARK_UI",
        "SPARK_EVENTS",
        "SPARK_CORES",
    )
    assert Settings.from_environment({f"NIGHTSHIFT_{name}": "" for name in names}) == Settings.from_environment({})


def test_the_process_environment_is_the_default(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_ENV", "stage")
    assert Settings.from_environment().env == "stage"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ENV", "Prod", "NIGHTSHIFT_ENV is 'Prod'"),
        ("ENV", "../prod", "NIGHTSHIFT_ENV is '../prod'"),
        ("ENV", "prod\n", "cannot be a prefix"),
        ("ENV", "p" * 33, "cannot be a prefix"),
        ("THREADS", "0", "NIGHTSHIFT_THREADS is '0'"),
        ("SPARK_CORES", "0", "NIGHTSHIFT_SPARK_CORES is '0'"),
        ("SPARK_CORES", "many", "use a whole number: the most cores of a job"),
        ("THREADS", "-1", "use a whole number, 1 or more"),
        ("THREADS", "two", "NIGHTSHIFT_THREADS is 'two'"),
        ("THREADS", "²", "NIGHTSHIFT_THREADS is '²'"),
        ("THREADS", "1.5", "NIGHTSHIFT_THREADS is '1.5'"),
        ("COMPUTE", "yarn", "use local (this machine), standalone (a Spark cluster) or emr (Amazon EMR)"),
        ("COMPUTE", "standalone", "NIGHTSHIFT_COMPUTE is standalone, but NIGHTSHIFT_SPARK_MASTER is not set"),
        ("COMPUTE", "standalone", "for example spark://spark-master:7077"),
        ("SPARK_MASTER", "local[2]", "not the address of a standalone Spark master"),
        ("SPARK_MASTER", "spark://master", "use spark://host:port"),
        ("SPARK_MASTER", "spark://me:geheim@master:7077", "NIGHTSHIFT_SPARK_MASTER has a password in it"),
        ("SPARK_MASTER", "spark://master:7077 --conf x=y", "not the address"),
        ("SPARK_UI", "localhost:8081", "NIGHTSHIFT_SPARK_UI is 'localhost:8081'"),
        ("SPARK_UI", "https://me:geheim@spark.example.com/", "NIGHTSHIFT_SPARK_UI has a password in it"),
        ("SPARK_EVENTS", "/spark-events", "which is not a URI of a folder"),
        ("SPARK_EVENTS", "s3://me:geheim@events/x", "NIGHTSHIFT_SPARK_EVENTS has a password in it"),
        ("STORAGE", "/data/store", "which is not a URI.\n  Hint: use s3://bucket/prefix, or file:///data/store"),
        ("STORAGE", "file://data/store", "NIGHTSHIFT_STORAGE is 'file://data/store'"),
        ("STORAGE", "bucket", "which is not a URI"),
        ("STORAGE", "s3://me:geheim@bucket/x", "NIGHTSHIFT_STORAGE has a password in it"),
        ("MLFLOW_URI", "https://me:geheim@mlflow.example.com/", "NIGHTSHIFT_MLFLOW_URI has a password in it"),
        ("MLFLOW_URI", "postgresql://me:geheim@db/mlflow", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_cannot_be_used_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({f"NIGHTSHIFT_{name}": value})
    assert said in str(raised.value)
    assert "geheim" not in str(raised.value)
