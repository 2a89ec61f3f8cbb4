"""The code archive: the same bytes for the same code, and code that works from inside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nightshift
from nightshift import stamps
from nightshift.errors import SettingsError
from nightshift.jobs import archive
from nightshift.plan import package_version

pytestmark = pytest.mark.thorough

PACKAGE = Path(nightshift.__file__).parent

INSIDE = """\
import json
import nightshift
from nightshift import stamps
from nightshift.jobs import archive, runner, submitted
from nightshift.plan import package_version
from nightshift.report.page import _css, _template
from nightshift.spec.schema import schema_text

assert archive.archive_bytes() == open(archive.__file__.partition(".zip")[0] + ".zip", "rb").read()
print(json.dumps([nightshift.__file__, package_version(), stamps.code_stamp(), _template().name, len(_css()), schema_text()]))
"""


def test_code_says_the_same_of_itself_inside_the_archive_as_on_disk(tmp_path: Path) -> None:
    from nightshift.report.page import _css
    from nightshift.spec.schema import schema_text

    path = archive.build(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", INSIDE], env={**os.environ, "PYTHONPATH": str(path)}, cwd=tmp_path,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    module, version, stamp, template, css, schema = json.loads(done.stdout)
    assert module == f"{path}/nightshift/__init__.py"
    assert version == package_version()
    assert stamp == {"code_version": package_version(), "python": stamps.python_minor()}
    assert (template, css, schema) == ("run.html", len(_css()), schema_text())


def test_the_archive_is_the_same_bytes_wherever_and_whenever_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another checkout, another clock, other permissions and another order of files on disk."""
    copy = tmp_path / "copy" / "nightshift"
    for source in sorted(PACKAGE.rglob("*.*"), reverse=True):
        if source.is_file() and source.suffix != ".pyc":
            target = copy / source.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o600)
            os.utime(target, (0, 0))
    program = (
        "import sys; from nightshift.jobs.archive import build; print(build(__import__('pathlib').Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], env={**os.environ, "PYTHONPATH": str(copy.parent)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    other, ours = Path(done.stdout.strip()), archive.build(tmp_path)
    assert other.name == ours.name == f"nightshift-{package_version()[:16]}-py{stamps.python_minor()}.zip"
    assert other.read_bytes() == ours.read_bytes()


def test_it_holds_code_and_templates_and_nothing_that_lies_around(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive.build(tmp_path)) as built:
        names = built.namelist()
        assert built.testzip() is None
        assert {entry.date_time for entry in built.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in built.infolist()} == {0o644}
    assert names == sorted(names)
    assert {name.split("/")[0] for name in names} == {"nightshift"}
    assert {"nightshift/report/templates/run.html", "nightshift/py.typed", "nightshift/stamp.json"} <= set(names)
    assert "nightshift/train/crossover.json" in names
    on_disk = {f"nightshift/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == on_disk
    assert not [name for name in names if "__pycache__" in name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be written"):
        archive.build(tmp_path / "file" / "folder")
