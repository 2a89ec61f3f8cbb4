"""A night on EMR as a DAG: what is added around the stages, and that parsing it stays cheap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fakes.tiny_model import write_model

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

ROOT = Path(__file__).parent.parent.parent
TO_EVALUATE = """\
preflight >> cluster, release
cluster >> ingest, release
ingest >> release, validate
validate >> preprocess, release
preprocess >> release, train
train >> evaluate, release
evaluate >> register, release
release
register >> deploy
deploy
"""
ALL = TO_EVALUATE.replace(
    "release\nregister >> deploy\ndeploy\n", "register >> deploy, release\ndeploy >> release\nrelease\n"
)

Read = Callable[..., "DAG"]


@pytest.fixture
def read(dags_folder: Path, read_dags: Callable[[Path], DagBag], monkeypatch: pytest.MonkeyPatch) -> Read:
    """Parse the tiny model, with a section ``compute``, in an environment."""

    def parse(compute: str = "", **environment: str) -> DAG:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        models = write_model(dags_folder.parent, days=0)
        spec = models / "parcels.yaml"
        text = spec.read_text().replace(str(dags_folder.parent / "data"), "s3://data/parcels")
        spec.write_text(f"{text}{compute}\n")
        bag = read_dags(dags_folder)
        assert bag.import_errors == {}
        return bag.dags["parcels__retraining"]

    return parse


def shape(dag: DAG) -> str:
    tasks = dag.topological_sort()
    lines = {task.task_id: ", ".join(sorted(task.downstream_task_ids)) for task in tasks}
    return "".join(f"{name} >> {after}\n" if after else f"{name}\n" for name, after in lines.items())


def edges(text: str) -> set[str]:
    """The order of lines is Airflow's business."""
    return set(text.splitlines())


@pytest.mark.parametrize(
    ("compute", "environment"),
    [("compute: {target: emr}", {}), ("", {"NIGHTSHIFT_COMPUTE": "emr"})],
    ids=["spec", "environment"],
)
def test_the_cluster_is_around_ingest_to_evaluate(read: Read, compute: str, environment: dict[str, str]) -> None:
    assert edges(shape(read(compute, **environment))) == edges(TO_EVALUATE)


@pytest.mark.parametrize(
    ("compute", "environment"),
    [
        ("compute: {target: emr, emr: {stages: all}}", {}),
        ("compute: {target: emr}", {"NIGHTSHIFT_EMR_STAGES": "all"}),
    ],
    ids=["spec", "environment"],
)
def test_or_around_all_stages(read: Read, compute: str, environment: dict[str, str]) -> None:
    assert edges(shape(read(compute, **environment))) == edges(ALL)


def test_a_local_spec_gets_no_task_whatever_the_environment_says(read: Read) -> None:
    dag = read("compute: {target: local}", NIGHTSHIFT_COMPUTE="emr")
    assert not {"preflight", "cluster", "release"} & set(dag.task_dict)


def test_a_failure_of_the_release_fails_the_run_and_it_follows_either_setup(read: Read) -> None:
    dag = read("compute: {target: emr}")
    release = dag.task_dict["release"]
    assert release.is_teardown
    assert release.on_failure_fail_dagrun
    assert release.retries >= 3
    # Airflow runs a teardown if at least one of its setups succeeded: preflight has, before anything is created.
    assert {task.task_id for task in dag.tasks if task.is_setup} == {"preflight", "cluster"}
    assert {"preflight", "cluster"} <= release.upstream_task_ids


def test_whoever_clears_a_stage_clears_what_creates_and_ends_its_cluster(read: Read) -> None:
    cleared = read("compute: {target: emr}").partial_subset(["train"], include_downstream=False, include_upstream=False)
    assert set(cleared.task_dict) == {"preflight", "cluster", "train", "release"}


def test_no_task_waits_for_ever_and_none_takes_a_slot_of_this_machine(read: Read) -> None:
    dag = read("compute: {target: emr}")
    for task in dag.tasks:
        local = task.task_id in ("register", "deploy")
        assert task.execution_timeout is not None
        assert task.pool == ("nightshift_local" if local else "default_pool")
        assert task.on_failure_callback


def test_tasks_on_the_cluster_link_to_it(read: Read) -> None:
    dag = read("compute: {target: emr}")
    for name in ("cluster", "ingest", "train"):
        assert [link.name for link in dag.task_dict[name].operator_extra_links] == ["EMR cluster"]


def test_it_is_serialised_without_the_spec(read: Read) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    text = json.dumps(DagSerialization.to_dict(read("compute: {target: emr}")))
    assert "SELECT" not in text
    assert "m5.xlarge" not in text
    assert len(text) < 30_000


def test_parsing_it_imports_neither_boto_nor_the_provider(dags_folder: Path, read: Read) -> None:
    read("compute: {target: emr}")
    code = f"""
import sys
sys.path[:0] = [{str(dags_folder)!r}]
import airflow.sdk, airflow.plugins_manager
before = set(sys.modules)
import retraining, housekeeping
heavy = ("boto3", "botocore", "aiobotocore", "airflow.providers.amazon", "obstore", "pyspark", "airflow.triggers.base")
print(*sorted(name for name in heavy if name in sys.modules and name not in before))
"""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")]),
        "PYTHONWARNINGS": "ignore",
        "NIGHTSHIFT_MODELS": str(dags_folder / "models"),
    }
    found = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == ""
