"""What every store must do. A new store joins by a name and a root in ``conftest.py``."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from nightshift.errors import IntegrityError, Overtaken, StorageError
from nightshift.storage import Ref, Store, apply_retention

DAY = "2013-07-14"
TABLE = pa.table({"key": [1, 2, 3], "value": ["a", None, "ü"]})


def publish(store: Store, content: str, *, key: str | None = None, day: str = DAY, **inputs: Ref) -> Ref:
    attempt = store.attempt("data", day)
    attempt.put("content.txt", content.encode())
    return attempt.publish(stage_key=key or content, code="code", inputs=inputs).ref


# -- objects -------------------------------------------------------------------------------------------


def test_of_two_creators_the_first_wins(store: Store) -> None:
    assert store.objects.create("a/b.json", b"first")
    assert not store.objects.create("a/b.json", b"second")
    assert store.objects.create("a/b.json", b"first"), "the same bytes count as one's own"
    assert store.objects.read("a/b.json") == b"first"


def test_a_name_is_free_again_after_it_was_deleted(store: Store) -> None:
    """Also where the bucket is versioned, and remembers it."""
    assert store.objects.create("a", b"first")
    store.objects.delete(["a"])
    assert store.objects.read_or_none("a") is None
    assert store.objects.create("a", b"second")
    assert not store.objects.create("a", b"third")
    assert store.objects.read("a") == b"second"


def test_what_is_not_there(store: Store) -> None:
    assert store.objects.read_or_none("no/such") is None
    with pytest.raises(StorageError, match="no object"):
        store.objects.read("no/such")
    assert list(store.objects.walk("no/such")) == []
    assert store.objects.names("no/such") == ([], [])
    store.objects.delete(["no/such"])
    store.objects.delete_folder("no/such")


def test_a_version_whose_manifest_is_gone_is_damage_that_no_other_try_mends(store: Store) -> None:
    attempt = store.attempt("data", "2013-07-14")
    attempt.put("a", b"1")
    ref = attempt.publish(stage_key="k", code="c").ref
    store.objects.delete(["data/2013-07-14/v000001.json"])
    with pytest.raises(IntegrityError, match=r"data/2013-07-14/v000001\.json is gone") as caught:
        store.resolve(ref)
    assert not caught.value.retryable
    assert caught.value.hint == "restore it from a backup, or from an older object version"


def test_write_replaces_and_delete_deletes(store: Store) -> None:
    store.objects.write("a/one", b"1")
    store.objects.write("a/one", b"one")
    store.objects.write("a/two", b"2")
    store.objects.write("a/b/three", b"3")
    store.objects.write("ab/four", b"4")
    assert [(found.name, found.size) for found in store.objects.walk("a")] == [
        ("a/b/three", 1),
        ("a/one", 3),
        ("a/two", 1),
    ]
    assert store.objects.names("a") == (["b"], ["one", "two"])
    store.objects.delete(["a/gone", "a/one", "a/gone too", "a/two"])
    assert store.objects.names("a") == (["b"], [])
    store.objects.delete_folder("a")
    assert [found.name for found in store.objects.walk()] == ["ab/four"]


@pytest.mark.parametrize(
    "name", ["a b", "100%", "a%20b", "é日本", "carrier=AA", "a#b", "what?", "a+b&c", "[x]{y}*", ".x", "a:b"]
)
def test_odd_names_survive(store: Store, name: str) -> None:
    attempt = store.attempt("data", DAY)
    attempt.put(f"{name}/{name}.bin", name.encode())
    manifest = attempt.publish(stage_key="k", code="c")
    assert store.read(manifest, f"{name}/{name}.bin") == name.encode()
    assert f"{manifest.folder}/{name}/{name}.bin" in [found.name for found in store.objects.walk("data")]


def test_times_of_writing_are_the_present(store: Store) -> None:
    store.objects.write("x", b"1")
    (found,) = store.objects.walk()
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=10)


def test_more_objects_than_a_page_holds(store: Store) -> None:
    names = [f"many/{number:03d}" for number in range(45)]
    for name in names:
        store.objects.write(name, b"x")
    assert [found.name for found in store.objects.walk("many")] == names
    assert len(store.objects.names("many")[1]) == 45


# -- versions ------------------------------------------------------------------------------------------


def test_nothing_is_visible_before_it_is_published(store: Store) -> None:
    attempt = store.attempt("data", DAY)
    attempt.put("content.txt", b"x")
    attempt.put_table("rows", TABLE)
    assert store.versions("data", DAY) == []
    assert store.latest("data", DAY) is None
    assert store.find("data", DAY, "k") is None
    assert store.latest_of("data", [DAY]) == {}
    published = attempt.publish(stage_key="k", code="c", result={"rows": 3})
    assert store.versions("data", DAY) == [1]
    assert store.latest("data", DAY) == published == store.find("data", DAY, "k")
    assert store.latest_of("data", [DAY, "2013-07-15"]) == {DAY: published}
    assert store.resolve(published.ref) == published


def test_tables_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    attempt = store.attempt("data", DAY)
    output = attempt.put_table("rows", TABLE)
    attempt.put_table("none", TABLE.slice(0, 0))
    manifest = attempt.publish(stage_key="k", code="c")
    assert store.read_table(manifest, "rows").equals(TABLE)
    assert store.read_table(manifest, "rows", columns=["value"]).column_names == ["value"]
    assert store.read_table(manifest, "none").num_rows == 0
    assert (output.rows, output.schema) == (3, {"key": "int64", "value": "string"})
    copy = store.download(manifest, "rows/part-00000.parquet", tmp_path / "new" / "copy.parquet")
    assert copy.read_bytes() == store.read(manifest, "rows/part-00000.parquet")
    with pytest.raises(KeyError, match="no table"):
        store.read_table(manifest, "row")
    with pytest.raises(KeyError, match="no file"):
        store.read(manifest, "missing")


def test_versions_count_up_and_the_newest_is_latest(store: Store) -> None:
    assert [publish(store, content).version for content in ("a", "b", "c")] == [1, 2, 3]
    found = store.latest("data", DAY)
    assert found is not None
    assert store.read(found, "content.txt") == b"c"
    old = store.find("data", DAY, "a")
    assert old is not None
    assert store.read(old, "content.txt") == b"a"


def test_an_older_interval_that_finishes_later_moves_nothing_back(store: Store) -> None:
    late = store.attempt("data", "2013-07-01")
    late.put("content.txt", b"old")
    newer = publish(store, "new", day="2013-07-02")
    late.publish(stage_key="old", code="c")
    found = store.latest("data", "2013-07-02")
    assert found is not None
    assert found.ref == newer
    assert store.intervals("data") == ["2013-07-01", "2013-07-02"]


def test_an_overtaken_attempt_is_never_visible(store: Store) -> None:
    slow = store.attempt("data", DAY)
    slow.put("content.txt", b"slow")
    winner = publish(store, "fast")
    with pytest.raises(Overtaken, match="data/2013-07-14@1"):
        slow.publish(stage_key="slow", code="c")
    for again in ("newer", "newest"):
        publish(store, again)
        with pytest.raises(Overtaken):
            slow.publish(stage_key="slow", code="c")
    assert store.find("data", DAY, "slow") is None
    assert store.manifest("data", DAY, 1).ref == winner


def test_an_attempt_with_the_same_key_takes_the_winner(store: Store) -> None:
    slow = store.attempt("data", DAY)
    slow.put("content.txt", b"slow")
    winner = publish(store, "fast", key="same")
    assert slow.publish(stage_key="same", code="c").ref == winner
    assert store.versions("data", DAY) == [1]


def test_incidental_files_and_the_layout_of_tables_are_no_content(store: Store) -> None:
    def digest(page: bytes, *, name: str = "rows") -> str:
        attempt = store.attempt("data", uuid.uuid4().hex)
        attempt.put("page.html", page, incidental=True)
        attempt.put_table(name, TABLE)
        attempt.put("verdict.json", b"{}")
        return attempt.publish(stage_key="k", code="c").digest

    assert digest(b"monday") == digest(b"tuesday")
    assert digest(b"monday") != digest(b"monday", name="other")


def test_content_can_be_published_again_with_other_statistics(store: Store) -> None:
    attempt = store.attempt("data", DAY)
    attempt.put_table("rows", TABLE)
    attempt.put("page.html", b"now", incidental=True)
    first = attempt.publish(stage_key="a", code="c")
    attempt = store.attempt("data", DAY)
    attempt.adopt_files(first)
    second = attempt.publish(stage_key="b", code="c", result={"seen": 2})
    assert second.digest == first.digest
    assert second.files == first.files
    assert store.read_table(second, "rows").equals(TABLE)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/../b", "./a", "a\nb", "a#1", "a#1/b"])
def test_names_that_mean_something_else_are_refused(store: Store, name: str) -> None:
    attempt = store.attempt("data", DAY)
    with pytest.raises(ValueError, match="cannot be stored"):
        attempt.put(name, b"x")
    with pytest.raises(ValueError, match=r"cannot be stored|slash"):
        store.attempt(name, DAY)


def test_a_file_is_put_once_and_a_result_is_json(store: Store) -> None:
    attempt = store.attempt("data", DAY)
    attempt.put("a", b"1")
    with pytest.raises(ValueError, match="already"):
        attempt.put("a", b"2")
    with pytest.raises(ValueError, match="JSON"):
        attempt.publish(stage_key="k", code="c", result={"auc": float("nan")})
    assert store.latest("data", DAY) is None


# -- damage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"contenX", b"cont", b"", None], ids=["changed", "truncated", "emptied", "deleted"])
def test_damaged_files_are_named(store: Store, damage: bytes | None, tmp_path: Path) -> None:
    publish(store, "content")
    manifest = store.latest("data", DAY)
    assert manifest is not None
    name = f"{manifest.folder}/content.txt"
    store.objects.delete([name]) if damage is None else store.objects.write(name, damage)
    for read in (
        lambda: store.read(manifest, "content.txt"),
        lambda: store.download(manifest, "content.txt", tmp_path / "x"),
    ):
        with pytest.raises(IntegrityError, match=r"content\.txt.*data/2013-07-14@1") as caught:
            read()
        assert "v000001.json" in str(caught.value), "it says what to delete to make it again"
        assert not caught.value.retryable


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 2}'])
def test_damaged_manifests_are_named_and_no_older_version_stands_in(store: Store, damage: bytes) -> None:
    publish(store, "one")
    publish(store, "two")
    store.objects.write(f"data/{DAY}/v000002.json", damage)
    with pytest.raises(IntegrityError, match=r"v000002\.json"):
        store.latest("data", DAY)


def test_a_manifest_that_was_edited_or_moved_is_refused(store: Store) -> None:
    ref = publish(store, "one")
    name = f"data/{DAY}/v000001.json"
    good = store.objects.read(name)
    store.objects.write("data/2013-07-15/v000001.json", good)
    with pytest.raises(IntegrityError, match="is the manifest of data/2013-07-14@1"):
        store.latest("data", "2013-07-15")
    sha256 = store.resolve(ref).file("content.txt").sha256
    store.objects.write(name, good.replace(sha256.encode(), b"0" * 64))
    with pytest.raises(IntegrityError, match="changed after it was published"):
        store.resolve(ref)


def test_a_reference_names_content_and_not_only_a_number(store: Store) -> None:
    ref = publish(store, "one")
    with pytest.raises(IntegrityError, match="was expected"):
        store.resolve(Ref(ref.dataset, ref.interval, ref.version, "0" * 64))


# -- retention -----------------------------------------------------------------------------------------


def retain(store: Store, *, hours: float = 48, versions: int = 1) -> None:
    now = datetime.now(UTC) + timedelta(hours=hours)
    apply_retention(store, keep_versions=versions, keep_days=90, garbage_hours=24, protected=(), now=now, dry_run=False)


def test_a_removed_version_gives_its_number_to_nobody(store: Store) -> None:
    zombie = store.attempt("data", DAY)
    zombie.put("content.txt", b"zombie")
    publish(store, "one")
    two = publish(store, "two")
    retain(store)
    assert store.versions("data", DAY) == [2]
    with pytest.raises(Overtaken, match="retention removed data/2013-07-14@1"):
        zombie.publish(stage_key="zombie", code="c")
    with pytest.raises(IntegrityError, match="removed by retention"):
        store.manifest("data", DAY, 1)
    assert publish(store, "three").version == 3
    assert store.manifest("data", DAY, 2).ref == two


def test_an_attempt_whose_files_were_collected_cannot_publish(store: Store) -> None:
    zombie = store.attempt("data", DAY)
    zombie.put("content.txt", b"zombie")
    retain(store)
    with pytest.raises(Overtaken, match="retention fenced"):
        zombie.publish(stage_key="zombie", code="c")
    assert store.latest("data", DAY) is None
    assert publish(store, "fresh").version == 2
