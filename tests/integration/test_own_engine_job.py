"""A class of one's own in a job's process: where it may be, and what is said where it is not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.own_engines import FOREST, docs_code, write_package
from tests.fakes.trained_night import publish_preprocess, small_plan, small_spec

from nightshift.errors import SpecError
from nightshift.jobs import Job, publish, run_job
from nightshift.ledger import Ledger
from nightshift.plan import Plan
from nightshift.storage import Store


def add_to_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What a user's ``export PYTHONPATH=folder`` does for jobs."""
    paths = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def own_plan(root: Path, **changes: Any) -> Plan:
    return replace(
        small_plan(root, spec=small_spec(training={"engine": FOREST, "params": {"n_estimators": 25}})), **changes
    )


def test_a_job_finds_it_on_pythonpath_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the folder that the job is started in, nor where Airflow alone looks."""
    code = tmp_path / "code"
    write_package(code, docs_code())
    plan = own_plan(tmp_path)
    upstream = {"preprocess": publish_preprocess(plan)}
    published = publish(plan)
    monkeypatch.chdir(code)
    monkeypatch.syspath_prepend(code)
    lines: list[str] = []

    for job in (Job("ingest", published), Job("train", published, upstream)):
        with pytest.raises(SpecError, match=r"there is no module my_package for jobs on this machine") as caught:
            run_job(job, on_line=lines.append)
        assert "docs/engines.md" in str(caught.value)

    add_to_path(monkeypatch, code)
    result = run_job(Job("train", published, upstream), on_line=lines.append)
    assert (result.status, result.summary["engine"], result.summary["size"]) == ("succeeded", FOREST, "25 trees")
    assert any("train: random forest on " in line for line in lines)


@pytest.mark.long
@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
)
def test_its_model_becomes_champion_like_any_other(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "code", docs_code())
    add_to_path(monkeypatch, tmp_path / "code")
    plan = own_plan(tmp_path, mlflow_uri=mlflow_uri(tmp_path_factory, tmp_path), trigger="cli")
    upstream = {"preprocess": publish_preprocess(plan)}
    for stage in ("train", "evaluate", "register", "deploy"):
        result = run_job(Job(stage, publish(plan), upstream), on_line=print)
        assert (result.stage, result.status) == (stage, "succeeded"), result.reason
        assert result.ref is not None
        upstream[stage] = result.ref

    store = Store.of(plan)
    champion = Ledger(store).champion()
    assert champion is not None
    assert champion.model_version == 1
    registered = store.resolve(upstream["register"]).result
    assert registered["parity_max_diff"] <= 1e-5
