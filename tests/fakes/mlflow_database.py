"""An MLflow store in SQLite for each test: migrated once, which takes seconds, then copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nightshift.registry.mlflow_registry import initialise


def mlflow_uri(factory: pytest.TempPathFactory, folder: Path) -> str:
    """URI of a fresh store in a folder; the name is the one that ``small_plan`` gives to its own."""
    original = factory.getbasetemp() / "mlflow-original.db"
    if not original.exists():
        initialise(f"sqlite:///{original}")
    copy = folder / "mlflow.db"
    shutil.copyfile(original, copy)
    return f"sqlite:///{copy}"
