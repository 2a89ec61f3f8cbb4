"""A release: files that belong together, uploaded once, the description last."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.fakes.small_lock import small_lock

from nightshift.errors import IntegrityError, SettingsError
from nightshift.jobs import release as module
from nightshift.jobs.archive import archive_name
from nightshift.jobs.release import Release, build_release, upload_release
from nightshift.storage.objects import Objects


class Site:
    """Files in a folder, and a store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.lock = small_lock(folder, monkeypatch)
        self.store = folder / "a store"
        self.build()

    def build(self) -> Release:
        self.release = build_release(self.lock, self.folder / "dist", python="3.11", platform="x86_64")
        return self.release

    def upload(self) -> list[str]:
        return upload_release(self.release, self.store.as_uri())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_names_say_what_is_in_the_files(site: Site) -> None:
    release = site.release
    assert release.code.name == archive_name("3.11")
    for path, form in (
        (release.entry, "job-{}.py"),
        (release.dependencies, "nightshift-dependencies-{}-py3.11-x86_64.tar.gz"),
        (release.bootstrap, "bootstrap-{}.sh"),
    ):
        assert path.name == form.format(hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    assert release.description.name == f"{release.dependencies.name}.json"
    assert json.loads(release.description.read_text()) == {
        "bootstrap": release.bootstrap.name,
        "lock": hashlib.sha256(site.lock.read_bytes()).hexdigest(),
        "packages": {"anywhere": "1.0", "compiled": "1.0"},
        "platform": "x86_64",
        "python": "3.11",
        "sha256": hashlib.sha256(release.dependencies.read_bytes()).hexdigest(),
        "size": release.dependencies.stat().st_size,
    }


def test_building_again_gives_the_same_files(site: Site) -> None:
    before = {path.name: path.read_bytes() for path in site.release.in_order()}
    assert {path.name: path.read_bytes() for path in site.build().in_order()} == before


def test_everything_is_uploaded_once_and_the_description_last(site: Site) -> None:
    assert site.upload() == [path.name for path in site.release.in_order()]
    assert site.release.in_order()[-1] == site.release.description
    for path in site.release.in_order():
        assert (site.store / path.name).read_bytes() == path.read_bytes()
    assert site.upload() == []


def test_an_upload_that_broke_off_goes_on_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Objects.create

    def broken(self: Objects, name: str, data: bytes) -> bool:
        if name == site.release.bootstrap.name:
            raise OSError("the line is dead")
        return create(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "create", broken)
        with pytest.raises(OSError, match="the line is dead"):
            site.upload()
    assert not (site.store / site.release.description.name).exists()
    assert site.upload() == [site.release.bootstrap.name, site.release.description.name]


def test_something_else_under_a_name_is_not_taken_for_ours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes it after we have looked."""
    names = Objects.names

    def late(self: Objects, prefix: str) -> tuple[list[str], list[str]]:
        found = names(self, prefix)
        self.write(site.release.bootstrap.name, b"something else")
        return found

    monkeypatch.setattr(Objects, "names", late)
    with pytest.raises(IntegrityError, match="appeared meanwhile, with other bytes"):
        site.upload()
    assert not (site.store / site.release.description.name).exists()


def test_another_bootstrap_script_for_the_same_packages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.upload()
    described = json.loads(site.release.description.read_text())
    site.release.description.write_text(json.dumps({**described, "bootstrap": "bootstrap-other.sh"}))
    assert site.upload() == [site.release.description.name]


def test_a_slow_line_may_take_an_hour_for_one_request(site: Site) -> None:
    from nightshift.storage.patience import CLIENT, PATIENCE, client_settings

    usual = client_settings("s3", PATIENCE)["client_options"]
    assert {name: usual[name] for name in CLIENT} == dict(CLIENT)
    patient = client_settings("s3", module.UPLOAD_SECONDS)["client_options"]
    assert (patient["read_timeout"], patient["timeout"], patient["connect_timeout"]) == ("3600s", "3600s", "5s")


def test_a_folder_that_cannot_be_written_is_named(site: Site) -> None:
    (site.folder / "dist" / site.release.bootstrap.name).unlink()
    (site.folder / "dist" / site.release.bootstrap.name).mkdir()
    with pytest.raises(SettingsError, match=r"the release cannot be written into .*dist"):
        site.build()
