"""Archive, DAG code, packages and Python must belong together: each mismatch says both sides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.toy_night import SPEC

import nightshift
from nightshift import stamps
from nightshift.errors import SettingsError
from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.jobs.archive import build
from nightshift.jobs.planning import PublishedPlan
from nightshift.jobs.submitted import entry
from nightshift.plan import Interval, package_version
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec

pytestmark = pytest.mark.thorough

PACKAGE = Path(nightshift.__file__).parent
HERE = {"python": stamps.python_minor(), "platform": stamps.platform_name()}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on ``sys.path``, here and in processes that are started."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(PACKAGE.parent)]))
    return folder


def stamp(folder: Path, **said: str) -> None:
    (folder / stamps.DEPENDENCIES_STAMP).write_text(json.dumps({**HERE, "lock": "a" * 64, **said}))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, None),
        ({"python": "3.9"}, rf"dependency archive is for Python 3\.9, and this is Python {stamps.python_minor()} "),
        ({"platform": "riscv64"}, rf"for riscv64 processors, and this machine has {stamps.platform_name()}"),
    ],
)
def test_packages_for_another_python_or_processor(said: dict[str, str], told: str | None, packages: Path) -> None:
    stamp(packages, **said)
    if told is None:
        stamps.require_interpreter()
        return
    with pytest.raises(SettingsError, match=told) as caught:
        stamps.require_interpreter()
    assert "nightshift package" in str(caught.value)


@pytest.mark.parametrize("code", [None, {"python": stamps.python_minor()}, {"python": "3.9"}])
def test_code_for_another_python(code: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "code_stamp", lambda: code)
    if code is None or code["python"] == stamps.python_minor():
        stamps.require_interpreter()
        return
    with pytest.raises(SettingsError, match=r"code archive is for Python 3\.9, and this is Python 3\.") as caught:
        stamps.require_interpreter()
    assert "NIGHTSHIFT_PYTHON" in str(caught.value)


def test_other_packages_than_the_plans_and_none_at_all(packages: Path) -> None:
    with pytest.raises(SettingsError, match="with the lock bbbbbbbbbbbbbbbb, and runs from none"):
        stamps.require_versions(running="x", code="x", dependencies="b" * 64)
    stamp(packages)
    with pytest.raises(SettingsError, match=r"of the lock b{16}, and .* from the lock a{16}\.\n"):
        stamps.require_versions(running="x", code="x", dependencies="b" * 64)
    stamps.require_versions(running="x", code="x", dependencies="a" * 64)
    stamps.require_versions(running="x", code=None, dependencies=None)


# -- in a job's process ----------------------------------------------------------------------------------


def published(tmp_path: Path) -> PublishedPlan:
    settings = Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path)})
    spec = ModelSpec.model_validate(SPEC)
    plan = make_plan(spec, Interval.of_day(date(2024, 3, 9)), settings, run_id="test", trigger="test")
    return publish(plan)


def test_code_that_changed_between_dag_and_job_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is another checkout's; the task's own code is this one."""
    copy = tmp_path / "copy" / "nightshift"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "later.py").write_text('"""A module more."""\n')
    program = "import sys; from pathlib import Path; from nightshift.jobs.archive import build; print(build(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(copy.parent)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    archive = Path(done.stdout.strip())
    monkeypatch.setenv("PYTHONPATH", str(archive))
    lines: list[str] = []
    with pytest.raises(SettingsError) as caught:
        run_job(Job("ingest", published(tmp_path)), on_line=lines.append)
    ours, theirs = package_version()[:16], archive.name.split("-")[1]
    assert f"the DAG's code is {ours}, and the code archive that the job runs from is {theirs}." in str(caught.value)
    assert any("ERROR ingest: the DAG's code is" in line for line in lines)


def run_module(argv: list[str], result: Path) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nightshift.jobs", *argv, "--result", str(result)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, json.loads(result.read_text())["error"]


def test_packages_that_changed_between_dag_and_job_end_the_job(tmp_path: Path, packages: Path) -> None:
    stamp(packages)
    argv = [*Job("ingest", published(tmp_path)).arguments(), "--dependencies", "b" * 64]
    status, error = run_module(argv, tmp_path / "result.json")
    assert (status, error["type"], error["retryable"]) == (78, "SettingsError", False)
    assert "bbbbbbbbbbbbbbbb" in error["message"]
    assert "aaaaaaaaaaaaaaaa" in error["message"]


def test_the_right_packages_let_the_job_begin(tmp_path: Path, packages: Path) -> None:
    stamp(packages)
    argv = [*Job("ingest", published(tmp_path)).arguments(), "--dependencies", "a" * 64]
    status, error = run_module(argv, tmp_path / "result.json")
    assert (status, error["type"]) == (65, "SourceError")


@pytest.mark.parametrize("of", ["code archive", "dependency archive"])
def test_under_another_python_it_is_said_before_anything_is_imported(of: str, tmp_path: Path) -> None:
    """Packages for another Python cannot be imported: pydantic's own error would be all there is."""
    archive = build(tmp_path, "3.13" if of == "code archive" else None)
    broken = tmp_path / "packages" / "pydantic"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("no module named pydantic_core._pydantic_core")')
    if of == "dependency archive":
        stamp(broken.parent, python="3.13")
    (tmp_path / "job.py").write_text(entry("standalone"))
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, str(tmp_path / "job.py"), "train", "--plan", "x", "--result", str(result)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(broken.parent), str(archive)])},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 78
    assert f"ERROR train: the {of} is for Python 3.13, and this is Python {stamps.python_minor()}" in done.stdout
    assert json.loads(result.read_text())["error"]["type"] == "SettingsError"
    assert done.stderr == ""


def test_what_must_run_under_any_python_uses_no_new_words() -> None:
    """Python 3.9 is the oldest that a machine of EMR has."""
    import ast

    for name in ("stamps.py", "errors.py", "__init__.py"):
        tree = ast.parse((PACKAGE / name).read_text(), feature_version=(3, 9))
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert {module.split(".")[0] for module in imported} <= {*sys.stdlib_module_names, "nightshift", "__future__"}
        assert {module for module in imported if module.startswith("nightshift")} <= {"nightshift.errors"}


def test_an_archive_is_for_the_python_that_it_is_built_for(tmp_path: Path) -> None:
    archive = build(tmp_path, "3.13")
    assert archive.name.endswith("-py3.13.zip")
    with zipfile.ZipFile(archive) as opened:
        assert json.loads(opened.read("nightshift/stamp.json"))["python"] == "3.13"
