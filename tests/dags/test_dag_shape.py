"""The lifecycle as one golden picture, and spec errors beside healthy models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.tiny_model import write_model

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

RETRAINING = """\
ingest >> validate
validate >> preprocess
preprocess >> train
train >> evaluate
evaluate >> register
register >> deploy
deploy
"""

HOUSEKEEPING = {"nightshift__housekeeping", "nightshift__reaper"}


def shape(dag: DAG) -> str:
    lines = []
    for task in dag.topological_sort():
        after = ", ".join(sorted(task.downstream_task_ids))
        lines.append(f"{task.task_id} >> {after}" if after else task.task_id)
    return "\n".join(lines) + "\n"


def test_retraining_reads_like_the_lifecycle(repository: DagBag) -> None:
    assert shape(repository.dags["flight_delays__retraining"]) == RETRAINING


def test_a_model_is_one_file(dags_folder: Path, read_dags: Callable[[Path], DagBag]) -> None:
    write_model(dags_folder.parent, model="parcels", days=0)
    write_model(dags_folder.parent, model="letters", days=0)
    bag = read_dags(dags_folder)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"letters__retraining", "parcels__retraining", *HOUSEKEEPING}


def test_a_model_without_a_schedule_runs_by_hand(dags_folder: Path, read_dags: Callable[[Path], DagBag]) -> None:
    models = write_model(dags_folder.parent, days=0)
    spec = models / "parcels.yaml"
    spec.write_text(spec.read_text().replace('schedule: "0 2 * * *"\n', ""))
    dag = read_dags(dags_folder).dags["parcels__retraining"]
    assert dag.timetable.can_be_scheduled is False
    assert dag.doc_md is not None
    assert "by hand" in dag.doc_md


def test_no_model_at_all_is_no_error(dags_folder: Path, read_dags: Callable[[Path], DagBag]) -> None:
    bag = read_dags(dags_folder)
    assert bag.import_errors == {}
    assert set(bag.dags) == HOUSEKEEPING


def test_broken_specs_are_one_import_error_and_touch_nobody_else(
    dags_folder: Path, read_dags: Callable[[Path], DagBag]
) -> None:
    models = write_model(dags_folder.parent, model="parcels", days=0)
    for name in ("letters", "crates"):
        write_model(dags_folder.parent, model=name, days=0)
    letters = models / "letters.yaml"
    letters.write_text(letters.read_text().replace("gates:", "gate:"))
    crates = models / "crates.yaml"
    crates.write_text(crates.read_text().replace("n_estimators: 20", "n_estimators: [20"))
    bag = read_dags(dags_folder)
    assert set(bag.dags) == {"parcels__retraining", *HOUSEKEEPING}
    assert [Path(file).name for file in bag.import_errors] == ["spec_errors.py"]
    (message,) = bag.import_errors.values()
    assert "2 model specs cannot be used; the other models are not affected." in message
    assert "letters.yaml" in message
    assert "gate" in message
    assert "crates.yaml" in message


def test_spec_errors_survives_airflows_quick_look() -> None:
    """Airflow skips files that do not contain both words before it imports anything."""
    text = (Path(__file__).parent.parent.parent / "dags" / "spec_errors.py").read_text().lower()
    assert "dag" in text
    assert "airflow" in text
