"""``nightshift package``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Call

from nightshift.jobs.archive import archive_bytes, archive_name, python_minor
from nightshift.plan import package_version


def test_it_writes_the_archive_and_says_where(call: Call, tmp_path: Path) -> None:
    called = call("package", "--out", str(tmp_path / "new folder"))
    assert called.code == 0
    assert archive_name() in called.out
    assert (tmp_path / "new folder" / archive_name()).read_bytes() == archive_bytes()


def test_json_is_for_programs(call: Call, tmp_path: Path) -> None:
    told = json.loads(call("package", "--out", str(tmp_path), "--json").out)
    assert told == {
        "path": str(tmp_path / archive_name()),
        "code_version": package_version(),
        "python": python_minor(),
    }


def test_a_folder_that_cannot_be_is_an_error_of_settings(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    called = call("package", "--out", str(tmp_path / "file"))
    assert called.code == 78
    assert "cannot be written" in called.err
