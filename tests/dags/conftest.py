"""DAG folders read the way Airflow's dag-processor reads them, without a database."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def airflows_own_warnings() -> Iterator[None]:
    """Airflow warns about itself when it is used as its documentation says; that is not ours to fail on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def read_dags() -> Callable[[Path], DagBag]:
    def read(folder: Path) -> DagBag:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from airflow.dag_processing.dagbag import DagBag

            return DagBag(dag_folder=folder, collect_dags=True)

    return read


@pytest.fixture(scope="session")
def repository(read_dags: Callable[[Path], DagBag]) -> DagBag:
    """The DAGs of this repository."""
    return read_dags(ROOT / "dags")


@pytest.fixture
def dags_folder(tmp_path: Path) -> Path:
    """A copy of ``dags/`` without any model."""
    folder = tmp_path / "dags"
    shutil.copytree(ROOT / "dags", folder, ignore=shutil.ignore_patterns("models", "__pycache__"))
    (folder / "models").mkdir()
    return folder
