"""Engines in DAG files: a user's class is not imported, and what is wrong touches only its own model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fakes.tiny_model import write_model

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

XGBOOST = "{engine: xgboost, params: {n_estimators: 20, max_depth: 3}}"


def with_training(dags_folder: Path, model: str, section: str) -> None:
    path = write_model(dags_folder.parent, model=model, days=0) / f"{model}.yaml"
    assert XGBOOST in path.read_text()
    path.write_text(path.read_text().replace(XGBOOST, section))


def test_a_class_of_ones_own_has_a_dag_and_is_not_imported(
    dags_folder: Path, read_dags: Callable[[Path], DagBag], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "importable" / "never_imported"
    home.mkdir(parents=True)
    for name in ("__init__.py", "engines.py"):
        (home / name).write_text("raise AssertionError('imported while DAGs are parsed')\n")
    monkeypatch.syspath_prepend(home.parent)
    with_training(dags_folder, "here", "{engine: never_imported.engines:Forest, params: {depth: 3}}")
    with_training(dags_folder, "elsewhere", "{engine: only_where_jobs_run.engines:Forest}")

    bag = read_dags(dags_folder)

    assert bag.import_errors == {}
    assert {"here__retraining", "elsewhere__retraining"} <= set(bag.dags)
    assert "never_imported.engines:Forest" in str(bag.dags["here__retraining"].doc_md)
    assert not [name for name in sys.modules if name.startswith("never_imported")]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{engine: xgbost}", "training.engine: 'xgbost' is not allowed"),
        ("{engine: shop.engines.Forest}", "did you mean shop.engines:Forest?"),
        ("{engine: xgboost, params: {max_depth: 99}}", "training.params.max_depth: 99 is not a whole number from 0 to 30"),
        ("{engine: xgboost, params: {max_dept: 3}}", "did you mean max_depth?"),
        ("{engine: shop:Forest, workers: 2}", "training.workers: shop:Forest learns in one process"),
    ],
)  # fmt: skip
def test_a_wrong_engine_is_an_import_error_of_its_model_only(
    dags_folder: Path, read_dags: Callable[[Path], DagBag], section: str, words: str
) -> None:
    with_training(dags_folder, "wrong", section)
    with_training(dags_folder, "right", XGBOOST)
    bag = read_dags(dags_folder)
    assert "right__retraining" in bag.dags
    assert "wrong__retraining" not in bag.dags
    assert [Path(file).name for file in bag.import_errors] == ["spec_errors.py"]
    (message,) = bag.import_errors.values()
    assert "1 model spec cannot be used; the other models are not affected." in message
    assert words in message


def test_a_model_whose_engine_is_not_installed_has_its_dag_which_says_so(
    dags_folder: Path, read_dags: Callable[[Path], DagBag], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that Airflow runs in has the packages of jobs here; only torch is taken away from it."""
    from nightshift.spec import engine_packages

    found = engine_packages.find_spec
    monkeypatch.setattr(engine_packages, "find_spec", lambda name: None if name == "torch" else found(name))
    with_training(dags_folder, "network", "{engine: torch, params: {epochs: 3}}")
    with_training(dags_folder, "trees", XGBOOST)

    bag = read_dags(dags_folder)

    assert bag.import_errors == {}
    said = "network cannot be trained here: training.engine: the engine torch needs the package torch, which "
    assert str(bag.dags["network__retraining"].description).startswith(said)
    assert str(bag.dags["network__retraining"].doc_md).startswith(f"> **{said}")
    assert "make torch installs it" in str(bag.dags["network__retraining"].doc_md)
    assert "cannot be trained" not in str(bag.dags["trees__retraining"].doc_md)
