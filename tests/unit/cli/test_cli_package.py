"""``nightshift package``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.fakes.small_lock import small_lock
from tests.unit.cli.conftest import Call

from nightshift.jobs.archive import archive_bytes, archive_name
from nightshift.plan import package_version
from nightshift.stamps import python_minor


def test_it_writes_the_code_archive_and_says_where(call: Call, tmp_path: Path) -> None:
    called = call("package", "--code-only", "--out", str(tmp_path / "new folder"))
    assert called.code == 0
    assert archive_name() in called.out
    assert (tmp_path / "new folder" / archive_name()).read_bytes() == archive_bytes()
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == [archive_name()]


def test_json_is_for_programs(call: Call, tmp_path: Path) -> None:
    told = json.loads(call("package", "--code-only", "--out", str(tmp_path), "--json").out)
    digest = hashlib.sha256(archive_bytes()).hexdigest()
    assert told == {
        "code_version": package_version(),
        "python": python_minor(),
        "code": {"path": str(tmp_path / archive_name()), "sha256": digest, "size": len(archive_bytes())},
    }


def test_a_release_is_built_and_uploaded_once(
    call: Call, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is the one beside ``dags/``; the second time everything is there."""
    small_lock(site, monkeypatch)
    prefix = (tmp_path / "bucket").as_uri()
    words = ("package", "--out", str(tmp_path / "out"), "--to", prefix)
    told = json.loads(call(*words, "--json").out)
    assert {"code", "entry", "dependencies", "bootstrap", "description"} <= set(told)
    assert (told["python"], told["platform"], len(told["new"])) == ("3.11", "x86_64", 5)
    described = json.loads(Path(told["description"]["path"]).read_text())
    assert (described["packages"], described["platform"]) == ({"anywhere": "1.0", "compiled": "1.0"}, "x86_64")
    assert sorted(path.name for path in (tmp_path / "bucket").iterdir()) == sorted(told["new"])
    called = call(*words)
    assert (called.code, called.out.count(", was there)")) == (0, 5)
    assert "For Python 3.11 on x86_64" in called.out
    assert f"NIGHTSHIFT_EMR_CODE={prefix}" in called.out
    assert f"NIGHTSHIFT_EMR_DEPENDENCIES={Path(told['dependencies']['path']).name}" in called.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--python", "3.9"], "--python is '3.9'"),
        (["--python", "3.11", "--code-only", "--to", "s3://b/p"], "exclude each other"),
        (["--python", "3.11"], "requirements-job.txt cannot be read"),
        (["--python", "3.11", "--lock", "nowhere.txt"], "nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_built_is_an_error_of_settings(words: list[str], said: str, call: Call, tmp_path: Path) -> None:
    called = call("package", "--out", str(tmp_path / "out"), *words)
    assert called.code == 78
    assert said in called.err


def test_a_folder_that_cannot_be_is_an_error_of_settings(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    called = call("package", "--code-only", "--out", str(tmp_path / "file"))
    assert called.code == 78
    assert "cannot be written" in called.err
