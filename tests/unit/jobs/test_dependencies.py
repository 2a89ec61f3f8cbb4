"""The dependency archive: what is in it, and that the same lock gives the same bytes. Built by the real uv."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from tests.fakes.small_lock import small_lock

from nightshift.errors import SettingsError
from nightshift.jobs.dependencies import build_dependencies
from nightshift.stamps import DEPENDENCIES_STAMP


def built(lock: Path, folder: Path, *, python: str = "3.11", platform: str = "x86_64") -> Path:
    return build_dependencies(lock, folder, python=python, platform=platform)


def test_it_is_the_same_bytes_wherever_and_whenever_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = small_lock(tmp_path, monkeypatch)
    first = built(lock, tmp_path / "a")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another cache"))
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "1")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    mask = os.umask(0o077)
    try:
        second = built(lock, tmp_path / "another" / "folder with spaces")
    finally:
        os.umask(mask)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert first.name == f"nightshift-dependencies-{digest[:16]}-py3.11-x86_64.tar.gz"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_it_holds_packages_and_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = small_lock(tmp_path, monkeypatch)
    with tarfile.open(built(lock, tmp_path / "out")) as archive:
        entries = archive.getmembers()
        texts = {entry.name: archive.extractfile(entry).read() for entry in entries}  # type: ignore[union-attr]
    assert sorted(texts) == list(texts)
    assert sorted(texts) == [
        "anywhere-1.0.dist-info/METADATA",
        "anywhere-1.0.dist-info/RECORD",
        "anywhere-1.0.dist-info/WHEEL",
        "anywhere-1.0.dist-info/entry_points.txt",
        "anywhere/__init__.py",
        "anywhere/é, data.txt",
        "compiled-1.0.dist-info/METADATA",
        "compiled-1.0.dist-info/RECORD",
        "compiled-1.0.dist-info/WHEEL",
        "compiled-1.0.dist-info/entry_points.txt",
        "compiled/__init__.py",
        "compiled/é, data.txt",
        DEPENDENCIES_STAMP,
    ]
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) for entry in entries} == {
        (315532800, 0, 0, "", 0o644)
    }
    assert not [name for name, text in texts.items() if str(tmp_path).encode() in text]
    record = texts["anywhere-1.0.dist-info/RECORD"].decode()
    assert '"anywhere/é, data.txt"' in record
    assert {line.split(",")[0] for line in record.splitlines() if not line.startswith('"')} == {
        name for name in texts if name.startswith("anywhere") and "," not in name
    }
    stamp = {"lock": hashlib.sha256(lock.read_bytes()).hexdigest(), "platform": "x86_64", "python": "3.11"}
    assert json.loads(texts[DEPENDENCIES_STAMP]) == stamp


def test_no_time_is_in_the_compressed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(small_lock(tmp_path, monkeypatch), tmp_path / "out").read_bytes()
    assert int.from_bytes(data[4:8], "little") == 315532800
    assert gzip.decompress(data)


@pytest.mark.parametrize(("python", "platform"), [("3.12", "x86_64"), ("3.11", "aarch64")])
def test_wheels_for_others_are_refused_before_anything_is_packed(
    python: str, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = small_lock(tmp_path, monkeypatch)
    with pytest.raises(SettingsError, match=f"cannot be installed for Python {python} on {platform}") as caught:
        built(lock, tmp_path / "out", python=python, platform=platform)
    assert "compiled" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_does_not_have_the_hash_of_the_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = small_lock(tmp_path, monkeypatch)
    other = tmp_path / "wheels" / "anywhere-1.0-py3-none-any.whl"
    other.write_bytes(other.read_bytes() + b"more")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(SettingsError, match=r"(?s)cannot be installed.*[Hh]ash"):
        built(lock, tmp_path / "out")


def test_a_missing_lock_and_a_missing_uv_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read.*No such file") as caught:
        built(tmp_path / "none.txt", tmp_path / "out")
    assert "--lock" in str(caught.value)
    lock = small_lock(tmp_path, monkeypatch)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(SettingsError, match="uv, which is not installed"):
        built(lock, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = small_lock(tmp_path, monkeypatch)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"cannot be written into .*file/out"):
        built(lock, tmp_path / "file" / "out")
