"""Retention: what goes, what stays and why, and what is said about it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nightshift.errors import IntegrityError
from nightshift.plan import Interval
from nightshift.storage import Manifest, Ref, RetentionReport, Store, apply_retention
from nightshift.storage.objects import Objects

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return Store(Objects(tmp_path.as_uri()))


def write(
    store: Store, dataset: str, interval: str, content: str = "x", *, inputs: Iterable[Manifest] = ()
) -> Manifest:
    attempt = store.attempt(dataset, interval)
    attempt.put("content.txt", content.encode())
    refs = {f"{found.dataset}/{found.interval}": found.ref for found in inputs}
    return attempt.publish(stage_key=content, code="c", inputs=refs)


def retain(store: Store, *, days: float = 0, protected: Iterable[Ref] = (), **options: Any) -> RetentionReport:
    choices: dict[str, Any] = {"keep_versions": 2, "keep_days": 90, "garbage_hours": 24, "dry_run": False}
    return apply_retention(store, now=NOW + timedelta(days=days), protected=protected, **(choices | options))


def there(store: Store) -> set[str]:
    return {
        f"{dataset}/{interval}@{version}"
        for dataset in store.objects.names("")[0]
        for interval in store.intervals(dataset)
        for version in store.versions(dataset, interval)
    }


def test_only_the_newest_versions_of_an_interval_stay(store: Store) -> None:
    for content in "abcd":
        write(store, "raw", "2013-07-14", content)
    write(store, "table.planes", "all", "p")
    report = retain(store, days=2)
    assert [str(ref) for ref in report.versions] == ["raw/2013-07-14@1", "raw/2013-07-14@2"]
    assert there(store) == {"raw/2013-07-14@3", "raw/2013-07-14@4", "table.planes/all@1"}
    assert (report.pending_bytes, report.kept_versions) == (2, 3)


def test_a_version_that_was_replaced_lately_stays(store: Store) -> None:
    """Runs that began before it was replaced may still read it."""
    for content in "abc":
        write(store, "raw", "2013-07-14", content)
    assert retain(store, days=0.5).versions == ()
    assert len(retain(store, days=2).versions) == 1


def test_old_intervals_go_and_the_newest_of_each_dataset_stays(store: Store) -> None:
    for interval in ("2013-07-12", "2013-07-13", "20130712T000000Z--20130714T000000Z", "all"):
        write(store, "raw", interval)
    write(store, "train", "2013-01-01")
    assert retain(store, days=89).versions == (), "published less than keep_days ago"
    retain(store, days=91)
    assert there(store) == {
        "raw/2013-07-13@1",
        "raw/20130712T000000Z--20130714T000000Z@1",
        "raw/all@1",
        "train/2013-01-01@1",
    }


def test_an_interval_within_the_horizon_stays_however_long_ago_it_was_published(store: Store) -> None:
    day = (NOW + timedelta(days=20)).date()
    for offset in (0, 1):
        write(store, "raw", Interval.of_day(day + timedelta(days=offset)).key)
    assert retain(store, days=100).versions == ()
    assert len(retain(store, days=112).versions) == 1


def test_what_a_kept_version_was_made_from_stays_all_the_way(store: Store) -> None:
    raw = [write(store, "raw", f"2013-01-0{day}") for day in range(1, 6)]
    valid = write(store, "valid", "2013-01-02", inputs=[raw[1]])
    write(store, "valid", "2013-01-05", inputs=[raw[3]])
    champion = write(store, "train", "2013-01-03", inputs=[valid])
    write(store, "train", "2013-01-04", inputs=[raw[0]])
    write(store, "train", "2013-01-05")
    retain(store, days=200, protected=[champion.ref])
    assert there(store) == {
        "train/2013-01-03@1",  # protected
        "valid/2013-01-02@1",  # made from
        "raw/2013-01-02@1",  # made from that
        "train/2013-01-05@1",  # newest of its dataset
        "valid/2013-01-05@1",
        "raw/2013-01-04@1",
        "raw/2013-01-05@1",
    }
    retain(store, days=200)
    assert "train/2013-01-03@1" not in there(store), "no longer protected"


def test_an_old_version_that_something_was_made_from_stays(store: Store) -> None:
    old = write(store, "raw", "2013-07-14", "a")
    write(store, "train", "2013-07-14", inputs=[old])
    for content in "bcd":
        write(store, "raw", "2013-07-14", content)
    retain(store, days=2)
    assert there(store) == {"raw/2013-07-14@1", "raw/2013-07-14@3", "raw/2013-07-14@4", "train/2013-07-14@1"}


def test_files_of_removed_versions_stay_for_readers_that_hold_their_manifest(store: Store) -> None:
    held = write(store, "raw", "2013-07-14", "a")
    for content in "bc":
        write(store, "raw", "2013-07-14", content)
    long_ago = (NOW - timedelta(days=30)).timestamp()
    os.utime(store.objects.local_path(f"{held.folder}/content.txt"), (long_ago, long_ago))
    assert len(retain(store, days=2).versions) == 1
    assert retain(store, days=0.9).attempts == ()
    assert store.read(held, "content.txt") == b"a"
    report = retain(store, days=2)
    assert report.attempts == (held.folder,)
    assert report.freed_bytes == 1
    with pytest.raises(IntegrityError, match="is gone"):
        store.read(held, "content.txt")


def test_only_old_attempts_that_nobody_published_are_garbage(store: Store) -> None:
    write(store, "raw", "2013-07-14", "published")
    crashed = store.attempt("raw", "2013-07-14")
    crashed.put("content.txt", b"crashed")
    assert retain(store, days=0.9).attempts == ()
    crashed.publish(stage_key="late, but nobody was faster", code="c")
    overtaken = store.attempt("raw", "2013-07-15")
    overtaken.put("content.txt", b"overtaken")
    write(store, "raw", "2013-07-15", "faster")
    report = retain(store, days=2)
    assert report.attempts == (overtaken.folder,)
    assert report.freed_bytes == len(b"overtaken")
    assert there(store) == {"raw/2013-07-14@1", "raw/2013-07-14@2", "raw/2013-07-15@1"}
    assert store.taken("raw", "2013-07-15") == [1], "its number was taken already: no void is needed"


def test_plans_staging_leftovers_and_what_spark_left_go_and_the_ledger_stays(store: Store, tmp_path: Path) -> None:
    store.objects.write("plan/2013-07-14/abc.json", b"{}")
    store.objects.write("ledger/000000001.json", b"{}")
    (tmp_path / "ledger" / "000000002.json#1").write_bytes(b"half")
    attempt = store.attempt("raw", "2013-07-14")
    attempt.put("rows/_temporary/0/part.parquet", b"x")
    (tmp_path / attempt.folder / "rows" / "_temporary" / "0" / "empty").mkdir()
    assert retain(store, days=0.5) == RetentionReport(dry_run=False)
    report = retain(store, days=100)
    assert report.plans == ("plan/2013-07-14/abc.json",)
    assert report.leftovers == ("ledger/000000002.json#1",)
    assert report.attempts == (attempt.folder,)
    assert not (tmp_path / attempt.folder).exists()
    assert [found.name for found in store.objects.walk()] == ["ledger/000000001.json", "raw/2013-07-14/v000001.json"]


def test_records_of_a_search_go_together_once_nobody_adds_to_them(store: Store, tmp_path: Path) -> None:
    for name in ("given-up/a-00", "given-up/b-00", "at-work/a-00", "at-work/b-00"):
        store.objects.write(f"search/2013-07-14/{name}.json", b"{}")
    old = (NOW - timedelta(days=2)).timestamp()
    for name in ("given-up/a-00", "given-up/b-00", "at-work/a-00"):
        os.utime(tmp_path / "search" / "2013-07-14" / f"{name}.json", (old, old))
    report = retain(store)
    assert report.leftovers == ("search/2013-07-14/given-up/a-00.json", "search/2013-07-14/given-up/b-00.json")
    assert report.freed_bytes == 4
    assert [found.name for found in store.objects.walk()] == [
        "search/2013-07-14/at-work/a-00.json", "search/2013-07-14/at-work/b-00.json"
    ]  # fmt: skip


def test_checkpoints_of_training_that_nobody_finished_go(store: Store) -> None:
    write(store, "train", "2013-07-14")
    folder = "train/2013-07-14/checkpoint=abc"
    store.objects.write(f"{folder}/one.pt", b"12")
    store.objects.write(f"{folder}/two.pt", b"345")
    assert retain(store, days=0.9) == RetentionReport(dry_run=False, kept_versions=1), "somebody may be at it"
    assert retain(store, days=1.1, dry_run=True).checkpoints == (folder,)
    report = retain(store, days=1.1)
    assert (report.checkpoints, report.freed_bytes) == ((folder,), 5)
    assert "0 plans, 1 checkpoints and 0 leftovers: 5 bytes now" in str(report)
    assert not [found.name for found in store.objects.walk("train") if "checkpoint" in found.name]
    assert there(store) == {"train/2013-07-14@1"}


def test_a_dry_run_says_the_same_and_does_nothing(store: Store) -> None:
    for content in "abcd":
        write(store, "raw", "2013-07-14", content)
    store.attempt("raw", "2013-07-14").put("content.txt", b"crashed")
    store.objects.write("plan/2013-07-14/abc.json", b"{}")
    before = list(store.objects.walk())
    planned = retain(store, days=100, dry_run=True)
    assert list(store.objects.walk()) == before
    done = retain(store, days=100)
    assert planned.to_dict() | {"dry_run": False} == done.to_dict()
    assert str(planned).startswith("would delete 2 versions, 1 attempts, 1 plans")
    assert len(done.versions) == 2
    again = retain(store, days=100)
    assert again.versions == (), "what is gone stays gone"


def test_folders_with_unknown_names_are_left_alone(store: Store) -> None:
    names = ["README.txt", "raw/2013-07-14/notes.txt", "raw/2013-07-14/attempt=mine/x", "other/x"]
    for name in names:
        store.objects.write(name, b"x")
    retain(store, days=1000)
    assert [found.name for found in store.objects.walk()] == sorted(names)


def test_a_damaged_manifest_stops_everything(store: Store) -> None:
    for content in "abcd":
        write(store, "raw", "2013-07-14", content)
    store.objects.write("raw/2013-07-14/v000004.json", b"")
    before = list(store.objects.walk())
    with pytest.raises(IntegrityError, match="v000004"):
        retain(store, days=100)
    assert list(store.objects.walk()) == before


def test_a_protected_version_that_is_gone_is_warned_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    retain(store, protected=[Ref("train", "2013-07-14", 7, "0" * 64)])
    assert "train/2013-07-14@7 is still referred to, but not there" in caplog.text


@pytest.mark.parametrize("wrong", [{"keep_versions": 0}, {"keep_days": -1}, {"garbage_hours": -1}])
def test_numbers_out_of_range_are_refused(store: Store, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="keep_versions"):
        retain(store, **wrong)


def test_a_present_without_zone_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="zone"):
        apply_retention(
            store,
            keep_versions=1,
            keep_days=1,
            garbage_hours=1,
            protected=(),
            now=NOW.replace(tzinfo=None),
            dry_run=True,
        )
