"""Finding files: in packages without importing them, and by patterns with globs and codes of the day."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from nightshift.errors import SourceError, StorageError
from nightshift.ingest.sources import open_source
from nightshift.ingest.sources.files import Files
from nightshift.spec.models import FilesSource, PackageTable

DAY = date(2024, 3, 4)


def files(uri: str) -> Files:
    return Files.of(FilesSource(kind="files", uri=uri, time="at", format="csv"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "data/2024-03-04/a.csv",
        "data/2024-03-04/b.csv",
        "data/2024-03-04/_SUCCESS",
        "data/2024-03-04/.hidden.csv",
        "data/2024-03-05/a.csv",
        "data/04.csv",
        "data/x y%.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id,at\n1,2024-03-04\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("data/%Y-%m-%d/*", ["data/2024-03-04/a.csv", "data/2024-03-04/b.csv"]),
        ("data/%F/?.csv", ["data/2024-03-04/a.csv", "data/2024-03-04/b.csv"]),
        ("data/*-03-%d/a.csv", ["data/2024-03-04/a.csv"]),
        ("data/*/a.csv", ["data/2024-03-04/a.csv", "data/2024-03-05/a.csv"]),
        ("data/%d.csv", ["data/04.csv"]),
        ("data/x y%%.csv", ["data/x y%.csv"]),
        ("data/%y/*.csv", []),
        ("nowhere/*.csv", []),
    ],
)
def test_patterns_find_the_files_of_a_day(project: Path, uri: str, names: list[str]):
    assert [file.name for file in files(uri).files(DAY)] == names


def test_absolute_paths_and_file_uris_find_the_same(project: Path):
    by_path, by_uri = (files(f"{prefix}{project}/data/%F/a.csv").files(DAY)[0] for prefix in ("", "file://"))
    assert by_path.location == by_uri.location
    assert (by_path.name, by_uri.name) == (f"{project}/data/2024-03-04/a.csv", f"file:///{by_path.location}")


def test_a_file_holds_only_the_days_of_its_pattern(project: Path):
    monthly = files("data/%Y-%m*/a.csv")
    file = monthly.files(DAY)[0]
    assert monthly.holds(file, date(2024, 3, 31))
    assert not monthly.holds(file, date(2024, 4, 1))
    undated = files("data/04.csv")
    assert undated.holds(undated.files(DAY)[0], date(1999, 1, 1))


def test_a_fingerprint_follows_the_content(project: Path):
    path = project / "data/04.csv"
    before = files("data/04.csv").files(DAY)[0]
    assert files("data/04.csv").files(DAY)[0] == before
    path.write_text("id,at\n1,2024-03-04\n2,2024-03-04\n")
    source = files("data/04.csv")
    assert source.files(DAY)[0].fingerprint != before.fingerprint
    with pytest.raises(StorageError, match=r"data/04\.csv was changed while it was read"):
        source.read(before)
    path.unlink()
    with pytest.raises(StorageError, match="is gone"):
        source.read(before)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that cannot be imported, with a sub-package and data."""
    folder = tmp_path / "tidemarks" / "north" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "tidemarks" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "tides.csv").write_text("x\n1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "tidemarks"


def test_a_package_is_found_without_being_imported(package: str):
    source = open_source(PackageTable(kind="package", package="tidemarks.north", file="data/tides.csv"))
    (file,) = source.files(None)
    assert file.name == "tidemarks.north/data/tides.csv"
    assert file.fingerprint.startswith("sha256:")
    assert source.read(file).table.to_pylist() == [{"x": "1"}]
    assert not [name for name in sys.modules if name.startswith("tidemarks")]


def test_a_missing_package_or_file_is_named(package: str):
    with pytest.raises(SourceError, match=f"package tidemarkz is not installed in {sys.executable}"):
        open_source(PackageTable(kind="package", package="tidemarkz", file="data/tides.csv")).files(None)
    with pytest.raises(SourceError) as caught:
        open_source(PackageTable(kind="package", package=package, file="north/data/tide.csv")).files(None)
    assert "has no file north/data/tide.csv; data files there: north/data/tides.csv" in caught.value.message
    assert caught.value.hint == "did you mean north/data/tides.csv?"


def test_an_object_store_is_looked_into_level_by_level():
    bucket = MemoryStore()
    for name in (
        "rides/2024-03-04/a.csv",
        "rides/2024-03-04/_temporary/b.csv",
        "rides/2024-03-05/a.csv",
        "other/x.csv",
    ):
        obstore.put(bucket, name, b"id,at\n1,2024-03-04\n")
    source = files("s3://bucket/rides/%F/*.csv")
    source.__dict__["_store"] = bucket
    (file,) = source.files(DAY)
    assert file.name == "s3://bucket/rides/2024-03-04/a.csv"
    assert source.read(file).table.num_rows == 1
    assert source.looked_for(DAY) == "s3://bucket/rides/2024-03-04/*.csv"
