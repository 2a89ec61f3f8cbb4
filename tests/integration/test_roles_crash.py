"""Moving a champion, killed at every point and by several at once. Oracle: the ledger names the old or the new
champion; after the reconciler MLflow's aliases say the same; another try ends as if nothing had happened.
A version that goes is in the ledger before anything of it is deleted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.fakes.blessed import a_candidate, bless, promote, registered
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.shipped_nights import MODEL, REGISTERED, copied, environment, judged, kinds, shipped, write_spec
from tests.fakes.trained_night import Night
from tests.integration.roles_child import version_of

from nightshift.deploy.reconcile import main as reconcile
from nightshift.deploy.roles import apply_roles
from nightshift.ledger import Ledger, reigns
from nightshift.registry.aliases import RETIRED, Aliases
from nightshift.registry.mlflow_registry import open_client
from nightshift.storage import Store
from nightshift.storage.crash_points import LEDGER_POINTS, RETENTION_POINTS, VARIABLE

CHILD = Path(__file__).with_name("roles_child.py")
ROOT = Path(__file__).parents[2]
COMMAND_LINE = "from nightshift.cli.main import main; main()"
MOVES = [f"{'ledger' if point.endswith('entry') else 'roles'}:{point}" for point in LEDGER_POINTS]
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
    ),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Night]]]:
    """Two promoted nights with their aliases in MLflow, and a third that waits for deploy."""
    import mlflow

    root = tmp_path_factory.mktemp("shipped")
    nights = [*shipped(root, 2), judged(root, 3)]
    uri = mlflow_uri(tmp_path_factory, root)
    client = open_client(uri)
    client.create_registered_model(REGISTERED)
    for number in range(1, len(nights) + 1):
        client.create_model_version(REGISTERED, source=f"s3://models/{number}", await_creation_for=0)
    apply_roles(Ledger(nights[0].store), Aliases(uri, REGISTERED))
    yield root, nights
    mlflow.set_tracking_uri(None)


@pytest.fixture
def nights(original: tuple[Path, list[Night]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Night]:
    source, made = original
    write_spec(tmp_path)
    shutil.copyfile(source / "mlflow.db", tmp_path / "mlflow.db")
    for name, value in environment(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    found = copied(made, source, tmp_path)
    refs = {stage: asdict(ref) for stage, ref in found[2].io.upstream.items()}
    (tmp_path / "night-3.json").write_text(json.dumps(refs))
    return found


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


def aliases(night: Night) -> dict[str, int]:
    return dict(Aliases(night.plan.mlflow_uri, REGISTERED).read().aliases)


def reconciled(night: Night, capsys: pytest.CaptureFixture[str]) -> int:
    """Reconcile as housekeeping does; gives the champion that ledger and aliases agree on."""
    capsys.readouterr()
    assert reconcile() == 0
    told = json.loads(capsys.readouterr().out)["models"][MODEL]
    assert told["by_hand"] == []
    roles = reigns.roles(Ledger(night.store).entries())
    assert aliases(night) == {
        alias: version
        for alias, version in (("champion", roles.champion), ("previous", roles.previous))
        if version is not None
    }
    assert roles.champion is not None
    return roles.champion


@pytest.mark.parametrize(
    "point",
    ["infra:mid_write", "infra:before_publish", "infra:after_publish", *MOVES, "deploy:before_publish",
     "deploy:after_publish"],
)  # fmt: skip
def test_a_promotion_killed_at_every_point(
    point: str, nights: list[Night], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = nights[2]
    killed = run(str(CHILD), "deploy", str(tmp_path), "3", **{VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    moved = point not in ("infra:mid_write", "infra:before_publish", "infra:after_publish", "ledger:before_entry")
    assert reconciled(night, capsys) == (3 if moved else 2)
    again = run(str(CHILD), "deploy", str(tmp_path), "3")
    assert again.returncode == 0, again.stderr
    assert kinds(night.store) == [("promotion", 1), ("promotion", 2), ("promotion", 3)]
    assert aliases(night) == {"champion": 3, "previous": 2}
    assert len(night.store.versions("deploy", night.plan.interval.key)) == 1


@pytest.mark.parametrize("point", MOVES)
def test_a_rollback_killed_at_every_point(point: str, nights: list[Night], capsys: pytest.CaptureFixture[str]) -> None:
    store = nights[0].store
    killed = run("-c", COMMAND_LINE, "rollback", MODEL, **{VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    moved = point != "ledger:before_entry"
    assert reconciled(nights[0], capsys) == (1 if moved else 2)
    assert (Ledger(store).hold() is not None) == moved
    again = run("-c", COMMAND_LINE, "rollback", MODEL, "--to", "1")
    assert again.returncode == (66 if moved else 0), again.stderr
    assert kinds(store) == [("promotion", 1), ("promotion", 2), ("rollback", 1)]
    assert aliases(nights[0]) == {"champion": 1}


def test_an_alias_moved_by_hand_is_put_back_and_named(nights: list[Night], capsys: pytest.CaptureFixture[str]) -> None:
    client = open_client(nights[0].plan.mlflow_uri)
    client.set_registered_model_alias(REGISTERED, "champion", "1")
    client.set_registered_model_alias(REGISTERED, "mine", "1")
    capsys.readouterr()
    assert reconcile() == 0
    told = json.loads(capsys.readouterr().out)["models"][MODEL]
    assert (told["before"], told["by_hand"]) == ({"champion": 1}, ["champion"])
    assert aliases(nights[0]) == {"champion": 2, "previous": 1, "mine": 1}
    assert len(kinds(nights[0].store)) == 2


def test_a_rollback_without_mlflow_works_and_the_aliases_follow(
    nights: list[Night], capsys: pytest.CaptureFixture[str]
) -> None:
    away = run("-c", COMMAND_LINE, "rollback", MODEL, NIGHTSHIFT_MLFLOW_URI="http://127.0.0.1:9")
    assert away.returncode == 0, away.stderr
    assert "MLflow's aliases are not moved yet" in away.stderr
    assert kinds(nights[0].store)[-1] == ("rollback", 1)
    assert aliases(nights[0]) == {"champion": 2, "previous": 1}
    assert reconciled(nights[0], capsys) == 1


@pytest.mark.parametrize("point", MOVES)
def test_a_retirement_killed_at_every_point(
    point: str, nights: list[Night], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-c", COMMAND_LINE, "retire", MODEL, "3", "--reason", "it leaks", "--by", "ada")
    killed = run(*words, **{VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    said = point != "ledger:before_entry"
    store = nights[0].store
    assert (3 in reigns.retired(Ledger(store).entries())) == said
    assert reconciled(nights[0], capsys) == 2
    assert tagged_retired(nights[0], 3) == said
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert kinds(store) == [("promotion", 1), ("promotion", 2), ("retirement", 2)]
    assert tagged_retired(nights[0], 3)
    assert aliases(nights[0]) == {"champion": 2, "previous": 1}
    refused = run("-c", COMMAND_LINE, "promote", MODEL, "--version", "3")
    assert (refused.returncode, len(kinds(store))) == (66, 3)
    assert "v3 was retired" in refused.stderr


def tagged_retired(night: Night, version: int) -> bool:
    tags = open_client(night.plan.mlflow_uri).get_model_version(REGISTERED, str(version)).tags
    return "by ada, ledger entry 3: it leaks" in tags.get(RETIRED, "")


@pytest.mark.parametrize(
    "point", ["ledger:before_entry", "ledger:after_entry", *(f"retention:{point}" for point in RETENTION_POINTS)]
)
def test_retention_killed_at_every_point_deletes_nothing_that_the_ledger_does_not_know(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    store = Store.open(tmp_path.as_uri(), env="test", model="demo")
    candidates = [registered(store, number, day=number) for number in range(1, 7)]
    ledger = Ledger(store)
    for number in (1, 3, 5):
        promote(ledger, number, day=number)
    killed = run(str(CHILD), "retain", tmp_path.as_uri(), **{VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    gone = reigns.retired(ledger.entries()).keys()
    assert len(gone) == {"ledger:before_entry": 0, "ledger:after_entry": 1}.get(point, 2)
    for candidate in candidates:
        there = {stage: store.latest(stage, candidate.interval.key) for stage in ("train", "register", "preprocess")}
        assert candidate.model_version in gone or None not in there.values() or candidate.model_version in (1, 3, 5)
        assert there["train"] is not None or candidate.model_version in gone
    again = run(str(CHILD), "retain", tmp_path.as_uri())
    assert again.returncode == 0, again.stderr
    entries = Ledger(store).entries()
    assert [entry.about.model_version for entry in entries if entry.kind == "retirement"] == [2, 4]
    left = [one.model_version for one in candidates if store.latest("train", one.interval.key) is not None]
    assert left == [1, 3, 5, 6]


def test_two_promotions_at_once_fifty_times_have_one_winner_each(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rounds, names = 50, ("0", "1")
    root = (tmp_path / "store").as_uri()
    store = Store.open(root, env="test", model="demo")
    before: tuple[int | None, ...] = (None,)
    for number in range(1, rounds + 1):
        versions = tuple(version_of(number, who) for who in names)
        for version in versions:
            candidate = a_candidate(store, version, day=number)
            for opponent in before:
                bless(store, candidate, opponent=opponent)
        before = versions
    uri = mlflow_uri(tmp_path_factory, tmp_path)
    client = open_client(uri)
    client.create_registered_model(REGISTERED)
    for version in range(1, 2 * rounds + 1):
        client.create_model_version(REGISTERED, source=f"s3://models/{version}", await_creation_for=0)
    racers = [
        subprocess.Popen(
            [
                sys.executable,
                str(CHILD),
                "race",
                root,
                uri,
                str(tmp_path / "meeting"),
                who,
                str(len(names)),
                str(rounds),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for who in names
    ]
    outcomes: Counter[str] = Counter()
    winners: dict[str, str] = {}
    for who, racer in zip(names, racers, strict=True):
        output, errors = racer.communicate()
        assert racer.returncode == 0, errors
        for line in output.splitlines():
            number, outcome = line.split(maxsplit=1)
            outcomes[outcome] += 1
            if outcome == "won":
                assert winners.setdefault(number, who) == who, "two winners"
    assert outcomes == {"won": rounds, "changed": rounds, "agree": rounds}
    ledger = Ledger(store)
    assert len(ledger.entries()) == rounds
    assert [entry.to_version for entry in ledger.entries()] == [
        version_of(number, winners[str(number)]) for number in range(1, rounds + 1)
    ]
