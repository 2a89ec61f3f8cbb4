"""Real processes, killed, frozen and racing on local disk. Oracle: readers see the old or the new version, whole;
a rerun converges to what an undisturbed run says; nothing is published twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.integration.storage_child import DAY, said_by, write

from nightshift.errors import IntegrityError, Overtaken
from nightshift.storage import Store
from nightshift.storage.crash_points import POINTS, VARIABLE
from nightshift.storage.objects import Objects

CHILD = Path(__file__).with_name("storage_child.py")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Objects((tmp_path / "store").as_uri()))


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def start(
    children: list[subprocess.Popen[str]], command: str, store: Store, *words: str, **environ: str
) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), command, store.objects.root, *words],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children.append(child)
    return child


def wait_until_frozen(child: subprocess.Popen[str]) -> None:
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended instead: {status}"


def watch(store: Store, child: subprocess.Popen[str]) -> list[int]:
    """What a reader sees, again and again, while a child lives, and once after."""
    seen = []
    alive = True
    while alive:
        alive = child.poll() is None
        latest = store.latest("data", DAY)
        assert latest is not None
        seen.append(said_by(store, latest))
    return seen


@pytest.mark.parametrize("point", [*POINTS, "data:before_publish"])
def test_killed_at_every_point(point: str, store: Store, tmp_path: Path, children: list[subprocess.Popen[str]]) -> None:
    write(store, 1, key="one")
    child = start(children, "write", store, "2", "two", **{VARIABLE: point})
    seen = watch(store, child)
    assert child.returncode == -signal.SIGKILL
    assert seen == sorted(seen)
    assert set(seen) <= {1, 2}
    assert seen[-1] == (2 if point == "after_publish" else 1)

    again = write(store, 2, key="two")
    assert again.version == 2
    assert said_by(store, again) == 2
    assert store.versions("data", DAY) == [1, 2], "published once"
    undisturbed = Store(Objects((tmp_path / "undisturbed").as_uri()))
    write(undisturbed, 1, key="one")
    expected = write(undisturbed, 2, key="two")
    assert (again.digest, again.outputs, again.files) == (expected.digest, expected.outputs, expected.files)


def test_a_crash_point_of_another_dataset_kills_nobody(store: Store, children: list[subprocess.Popen[str]]) -> None:
    child = start(children, "write", store, "1", "one", **{VARIABLE: "train:before_publish"})
    assert child.communicate()[0] == f"data/{DAY}@1\n"
    assert child.returncode == 0


def test_killed_at_any_moment(store: Store, children: list[subprocess.Popen[str]]) -> None:
    """Not at a named point: whenever the reader has seen a few more versions."""
    write(store, 0, key="0")
    newest = 0
    for _ in range(4):
        child = start(children, "write-for-ever", store, str(newest + 1))
        seen = [newest]
        while len(set(seen)) < 6:
            latest = store.latest("data", DAY)
            assert latest is not None
            seen.append(said_by(store, latest))
        child.kill()
        child.wait()
        assert all(before <= after for before, after in pairwise(seen)), "never back"
        latest = store.latest("data", DAY)
        assert latest is not None
        newest = said_by(store, latest)
        contents = [said_by(store, store.manifest("data", DAY, number)) for number in store.versions("data", DAY)]
        assert contents == list(range(newest + 1)), "none is missing, none is there twice"


def test_a_zombie_is_overtaken(store: Store, children: list[subprocess.Popen[str]]) -> None:
    zombie = start(children, "write-frozen", store, "1", "slow")
    wait_until_frozen(zombie)
    write(store, 2, key="fast")
    before = list(store.objects.walk())
    zombie.send_signal(signal.SIGCONT)
    output, errors = zombie.communicate()
    assert zombie.returncode == Overtaken.exit_code
    assert output == ""
    assert errors.startswith(f"Overtaken another attempt published data/{DAY}@1")
    assert list(store.objects.walk()) == before
    latest = store.latest("data", DAY)
    assert latest is not None
    assert said_by(store, latest) == 2
    assert write(store, 1, key="slow").version == 2, "another try publishes after what it now sees"


def test_a_zombie_with_the_same_key_takes_the_winner(store: Store, children: list[subprocess.Popen[str]]) -> None:
    zombie = start(children, "write-frozen", store, "1", "same")
    wait_until_frozen(zombie)
    winner = write(store, 1, key="same")
    before = list(store.objects.walk())
    zombie.send_signal(signal.SIGCONT)
    assert zombie.communicate() == (f"{winner.ref}\n", "")
    assert zombie.returncode == 0
    assert list(store.objects.walk()) == before
    assert store.versions("data", DAY) == [1]


def test_of_many_publishers_exactly_one_wins_every_round(
    store: Store, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    rounds, names = 60, ("a", "b", "c")
    racers = [
        start(children, "race", store, str(tmp_path / "meeting"), name, str(len(names)), str(rounds)) for name in names
    ]
    winners: dict[int, str] = {}
    outcomes: Counter[str] = Counter()
    for name, racer in zip(names, racers, strict=True):
        output, errors = racer.communicate()
        assert errors == ""
        for line in output.splitlines():
            number, outcome = line.split()
            outcomes[outcome] += 1
            if outcome == "won":
                assert winners.setdefault(int(number), name) == name, "two winners"
    assert outcomes == {"won": rounds, "Overtaken": rounds * (len(names) - 1)}
    assert store.versions("race", DAY) == list(range(1, rounds + 1))
    for number, name in winners.items():
        assert store.read(store.manifest("race", DAY, number + 1), "who.txt") == name.encode()


@pytest.mark.parametrize("spoil", ["truncate", "flip one bit"])
def test_a_damaged_file_on_disk_is_named(spoil: str, store: Store) -> None:
    manifest = write(store, 1, key="one")
    name = "rows/part-00000.parquet"
    path = store.objects.local_path(f"{manifest.folder}/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if spoil == "truncate" else data)
    with pytest.raises(IntegrityError) as caught:
        store.read_table(manifest, "rows")
    assert store.objects.uri(f"{manifest.folder}/{name}") in caught.value.message
