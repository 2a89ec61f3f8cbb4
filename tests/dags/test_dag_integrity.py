"""What every DAG must be, whatever its spec."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nightshift.settings import Settings
from nightshift.spec.loader import load_specs
from nightshift.spec.models import ModelSpec

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

ROOT = Path(__file__).parent.parent.parent
HEAVY = ["pandas", "pyspark", "mlflow", "great_expectations", "torch", "xgboost", "boto3", "botocore", "numpy"]
HEAVY += ["sklearn", "onnx", "onnxruntime", "pyarrow", "obstore"]


def specs() -> list[ModelSpec]:
    return list(load_specs(ROOT / "dags" / "models").specs)


@pytest.fixture(params=specs(), ids=lambda spec: spec.model)
def model(request: pytest.FixtureRequest, repository: DagBag) -> tuple[ModelSpec, DAG]:
    return request.param, repository.dags[f"{request.param.model}__retraining"]


def test_every_file_is_imported(repository: DagBag) -> None:
    assert repository.import_errors == {}
    assert {f"{spec.model}__retraining" for spec in specs()} <= set(repository.dags)


def test_people_find_their_model(model: tuple[ModelSpec, DAG]) -> None:
    spec, dag = model
    assert dag.tags == {spec.model, *spec.tags, "nightshift"}
    assert {task.owner for task in dag.tasks} == {spec.owner}
    assert dag.doc_md is not None
    for fact in (
        spec.description.strip(),
        spec.owner,
        spec.schedule or "by hand",
        spec.label.column,
        f"{spec.gates.bound:g}",
    ):
        assert fact in dag.doc_md
    assert dag.description is None or "\n" not in dag.description


def test_nights_follow_each_other(model: tuple[ModelSpec, DAG]) -> None:
    spec, dag = model
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.end_date is None
    assert dag.start_date is not None
    assert dag.start_date < datetime.fromisoformat("2013-01-01T00:00Z")
    assert dag.timetable.expression == spec.schedule
    assert str(dag.timetable.timezone) == "UTC"
    assert dag.timetable.interval == timedelta(days=1)


def test_only_trouble_of_machines_is_tried_again_and_nothing_runs_for_ever(model: tuple[ModelSpec, DAG]) -> None:
    spec, dag = model
    for task in dag.tasks:
        assert task.retries == spec.retries
        assert task.retry_exponential_backoff == 2
        assert task.retry_delay == timedelta(seconds=30)
        assert task.execution_timeout is not None
        assert task.pool == "nightshift_local"
        assert task.on_failure_callback
        assert task.trigger_rule == "all_success"


def test_the_form_asks_for_a_night_and_needs_none(model: tuple[ModelSpec, DAG]) -> None:
    from airflow.sdk.definitions.param import ParamsDict
    from airflow.sdk.exceptions import ParamValidationError

    _, dag = model
    night = dag.params.get_param("night")
    assert isinstance(dag.params, ParamsDict)
    assert night.resolve() is None
    assert night.resolve("2013-07-15") == "2013-07-15"
    with pytest.raises(ParamValidationError):
        night.resolve("yesterday")
    with pytest.raises(ParamValidationError):
        night.resolve(15)


def test_the_champion_is_an_asset(model: tuple[ModelSpec, DAG]) -> None:
    spec, dag = model
    outlets = {task.task_id: [asset.uri for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"deploy": [f"x-nightshift://{spec.model}/champion"]}


def test_dags_are_serialised_without_the_spec(model: tuple[ModelSpec, DAG]) -> None:
    """The scheduler gets the shape; SQL and parameters stay in the spec and the plan."""
    from airflow.serialization.serialized_objects import DagSerialization

    _, dag = model
    text = json.dumps(DagSerialization.to_dict(dag))
    assert "SELECT" not in text
    assert "learning_rate" not in text
    assert len(text) < 20_000, "a serialised DAG is read by the scheduler all the time"


def test_parsing_imports_no_heavy_library() -> None:
    code = f"""
import sys
sys.path[:0] = [{str(ROOT / "dags")!r}]
import airflow.sdk, airflow.plugins_manager
before = set(sys.modules)
import retraining, promotion, housekeeping, spec_errors, nightshift_plugin
print(*sorted(name for name in {HEAVY!r} if name in sys.modules and name not in before))
print(*sorted(name for name in ("fastapi", "sqlalchemy", "airflow.models") if name in sys.modules and name not in before))
"""
    paths = os.pathsep.join((str(ROOT / "plugins"), str(ROOT / "include")))
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    found = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-2:] == ["", ""]


def test_parsing_is_quick(read_dags: Callable[[Path], DagBag], record_property: Callable[[str, object], None]) -> None:
    stats = {Path(stat.file).name: stat.duration.total_seconds() for stat in read_dags(ROOT / "dags").dagbag_stats}
    record_property("parse_seconds", stats)
    print("seconds to parse:", *(f"{name} {seconds:.3f}" for name, seconds in stats.items()))
    assert max(stats.values()) < 1.0


def test_dag_files_speak_of_models_not_of_airflow() -> None:
    text = (ROOT / "dags" / "retraining.py").read_text()
    assert len(text.splitlines()) <= 40
    assert not re.search(r"task_id|Operator\(|XCom|>>", text)


def test_pool_of_the_settings_is_the_pool_of_the_tasks(model: tuple[ModelSpec, DAG]) -> None:
    from nightshift_airflow.compute import POOL

    _, dag = model
    assert {task.pool for task in dag.tasks} == {POOL}
    assert Settings.from_environment().models == ROOT / "dags" / "models"
