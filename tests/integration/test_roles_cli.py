"""The command line moves champions: rollback, hold, resume, promote, waive; and says who was champion when."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.shipped_nights import (
    WIDE,
    NoAliases,
    copied,
    environment,
    judged,
    kinds,
    last,
    night_of,
    registered,
    shipped,
    write_spec,
)
from tests.fakes.trained_night import Night, small_spec

from nightshift import deploy, evaluate
from nightshift.cli.main import main
from nightshift.deploy import reconcile
from nightshift.deploy import stage as deploy_stage
from nightshift.ledger import Ledger, reigns
from nightshift.stage import StageResult

NOBODY = "http://127.0.0.1:9"  # MLflow is down


class Called(NamedTuple):
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


Cli = Callable[..., Called]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Night]]:
    """Three promoted nights, and a fourth that waits for deploy."""
    root = tmp_path_factory.mktemp("shipped")
    return root, [*shipped(root, 3), judged(root, 4)]


@pytest.fixture
def nights(original: tuple[Path, list[Night]], tmp_path: Path) -> list[Night]:
    write_spec(tmp_path)
    return copied(original[1], original[0], tmp_path)


@pytest.fixture
def cli(
    nights: list[Night], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Run ``nightshift`` in this process; only the check of a model is one of its own."""
    for name, value in environment(tmp_path, NOBODY).items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> Called:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        told = capsys.readouterr()
        return Called(int(ended.value.code or 0), told.out, told.err)

    return run


def test_after_a_rollback_a_night_is_promoted_only_once_somebody_has_resumed(cli: Cli, nights: list[Night]) -> None:
    """Judged against the champion that the rollback brought: only the hold stands in its way."""
    assert cli("rollback", "parcels", "--reason", "wrong on Mondays", "--by", "ada").returncode == 0
    again, judgement = nights[3].run(evaluate)
    assert judgement.summary["champion_version"] == 2
    night = registered(again, 5)
    held = deployed(night)
    assert (held.status, champion(cli)) == ("skipped", 2)
    assert "On hold since" in str(held.reason)
    assert "kept v5" in cli("history", "parcels").stdout
    assert cli("resume", "parcels", "--by", "grace").returncode == 0
    promoted = deployed(night)
    assert (promoted.status, champion(cli)) == ("succeeded", 5)
    assert (last(nights[0].store).kind, last(nights[0].store).from_version) == ("promotion", 2)
    assert Ledger(nights[0].store).hold() is None
    assert "promoted v5" in cli("history", "parcels").stdout
    assert cli(*printed(cli("rollback", "parcels"), "rollback")).returncode == 0
    assert champion(cli) == 5


def deployed(night: Night) -> StageResult:
    """Deploy, without MLflow."""
    with patch.object(deploy_stage, "Aliases", lambda uri, model: NoAliases()):
        return night.run(deploy)[1]


def champion(cli: Cli, *words: str) -> int:
    return json.loads(cli("champion", "parcels", "--json", *words).stdout)["version"]


def test_the_whole_story(cli: Cli, nights: list[Night]) -> None:
    """Back, predict with the old version, a night that waits, released, promoted; MLflow is down all the time."""
    store = nights[0].store
    row = json.dumps({"weight": 1.5, "distance": 0.0, "lane": "sea"})
    assert json.loads(cli("predict", "parcels", row).stdout)["model_version"] == 3

    back = cli("rollback", "parcels", "--reason", "wrong on Mondays", "--by", "ada")
    assert back.returncode == 0, back.stderr
    assert "champion v3 -> v2, ledger entry 4" in back.stdout
    assert "MLflow's aliases are not moved yet" in back.stderr
    assert json.loads(cli("predict", "parcels", row).stdout)["model_version"] == 2
    assert champion(cli) == 2

    waits = deployed(nights[3])
    assert waits.status == "skipped"
    assert waits.reason is not None
    assert "by ada (rollback, ledger entry 4: wrong on Mondays)" in waits.reason
    assert kinds(store)[3:] == [("rollback", 2)]

    assert "promote again" in cli("resume", "parcels", "--by", "grace").stdout
    assert "is not on hold" in cli("resume", "parcels").stdout
    again = deployed(nights[3])
    assert again.reason == "It was judged against v3, but v2 is champion now: run the night again."
    fresh, judgement = nights[3].run(evaluate)
    assert judgement.summary["champion_version"] == 2
    told = cli("history", "parcels", "--ledger").stdout
    assert [words in told for words in ("wrong on Mondays", "v3 -> v2", "v2 stays", "grace")] == [True] * 4
    assert fresh.io.upstream["evaluate"] != nights[3].io.upstream["evaluate"]


def printed(called: Called, command: str) -> list[str]:
    """The command that an answer ends with, as words for ``cli``."""
    assert called.returncode == 0, called.stderr
    (line,) = (line for line in called.stdout.splitlines() if f"nightshift {command}" in line)
    return line.rpartition("nightshift ")[2].split()


def test_what_is_printed_to_undo_a_move_undoes_it(cli: Cli, nights: list[Night]) -> None:
    """Back, undone, and undone again: a rollback forward is undone by one as well."""
    undo = ["rollback", "parcels"]
    for after in (2, 3, 2, 3):
        undo = printed(cli(*undo), "rollback")
        assert champion(cli) == after


def test_the_first_champion_by_hand_has_nothing_to_go_back_to(cli: Cli, nights: list[Night], tmp_path: Path) -> None:
    for path in (tmp_path / "store" / "test" / "parcels" / "ledger").iterdir():
        path.unlink()
    done = cli("promote", "parcels", "--version", "4")
    assert done.returncode == 0, done.stderr
    assert "There is no champion before it to go back to" in done.stdout
    assert cli(*printed(done, "hold")).returncode == 0
    assert Ledger(nights[0].store).hold() is not None


def test_back_and_back_again_and_never_to_what_was_left(cli: Cli, nights: list[Night]) -> None:
    assert cli("rollback", "parcels").returncode == 0
    assert cli("rollback", "parcels").returncode == 0
    third = cli("rollback", "parcels")
    assert (third.returncode, kinds(nights[0].store)[3:]) == (66, [("rollback", 2), ("rollback", 1)])
    assert "v1 has no predecessor: nothing was moved" in third.stderr
    assert cli("rollback", "parcels", "--to", "v3").returncode == 0
    assert champion(cli) == 3


@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
)
def test_an_mlflow_without_the_version_is_not_said_to_have_its_alias(
    cli: Cli,
    nights: list[Night],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = mlflow_uri(tmp_path_factory, tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", uri)
    done = cli("rollback", "parcels", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["mlflow"]
    assert told["aliases"] == {"champion": None, "challenger": None, "previous": None}
    assert told["missing"] == {"champion": 2, "previous": 1}
    assert f"MLflow at {uri} has no v2 (alias champion), v1 (alias previous)" in done.stderr


@pytest.fixture
def silent(nights: list[Night]) -> Iterator[tuple[str, list[list[tuple[str, int | None]]]]]:
    """A server that takes connections and never answers, and what the ledger said as each of them came."""
    seen: list[list[tuple[str, int | None]]] = []
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    taken.append(server.accept()[0])
                    seen.append(kinds(nights[0].store))

        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in taken:
        connection.close()


def test_the_ledger_has_moved_before_an_mlflow_is_asked_that_never_answers(
    cli: Cli,
    nights: list[Night],
    silent: tuple[str, list[list[tuple[str, int | None]]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri, seen = silent
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URI", uri)
    done = cli("rollback", "parcels")
    assert (done.returncode, champion(cli)) == (0, 2)
    assert "champion v3 -> v2" in done.stdout
    assert f"MLflow's aliases are not moved yet: MLflow at {uri} could not" in done.stderr
    assert seen
    assert all(told[-1] == ("rollback", 2) for told in seen)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--to", "9"], 66, "v9 was never champion: nothing was moved. Versions that were: v1, v2, v3."),
        (["--to", "4"], 66, "v4 was never champion"),
        (["--to", "3"], 66, "v3 is the champion already"),
        (["--to", "three"], 2, "'three' is no version"),
    ],
)
def test_a_version_that_cannot_be_gone_back_to(
    cli: Cli, nights: list[Night], words: list[str], code: int, said: str
) -> None:
    done = cli("rollback", "parcels", *words)
    assert (done.returncode, len(kinds(nights[0].store))) == (code, 3)
    assert said in " ".join(done.stderr.split())


def test_an_altered_artifact_is_not_gone_back_to(cli: Cli, nights: list[Night]) -> None:
    night = nights[1]
    path = night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = cli("rollback", "parcels")
    assert (done.returncode, len(kinds(night.store))) == (67, 3)
    told = " ".join(done.stderr.split())
    assert "v2 cannot be gone back to: " in told
    assert "has other bytes than were published" in told
    assert "Nothing was moved, and champion v3 stays." in told
    assert "go back to another that was champion (v1): nightshift rollback MODEL --to N; or restore the file" in told
    assert "delete" not in told
    assert cli("rollback", "parcels", "--to", "1").returncode == 0


@pytest.mark.parametrize("dataset", ["train", "preprocess", "evaluate", "infra"])
def test_a_version_without_a_manifest_is_not_gone_back_to(cli: Cli, nights: list[Night], dataset: str) -> None:
    store, interval = nights[1].store, nights[1].plan.interval.key
    path = store.objects.local_path(f"{dataset}/{interval}/v000001.json")
    path.unlink()
    done = cli("rollback", "parcels")
    assert (done.returncode, len(kinds(store))) == (67, 3)
    told = " ".join(done.stderr.split())
    assert "v2 cannot be gone back to: " in told
    assert f"/{dataset}/{interval}/v000001.json is gone, the manifest of a version. Nothing was moved" in told
    assert "(v1): nightshift rollback MODEL --to N; or restore the file" in told
    assert "delete" not in told


def test_an_altered_artifact_is_not_promoted_by_hand(cli: Cli, nights: list[Night]) -> None:
    night = nights[3]
    path = night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for words in (["--dry-run"], []):
        done = cli("promote", "parcels", "--version", "4", *words)
        assert (done.returncode, len(kinds(night.store)), champion(cli)) == (67, 3, 3)
        assert "has other bytes than were published" in done.stderr


@pytest.mark.parametrize("without", ["preprocess", "evaluate"])
def test_a_version_without_a_blessing_is_not_promoted_by_hand(cli: Cli, nights: list[Night], without: str) -> None:
    """As a Nightshift from before there were blessings made it."""
    store, upstream = nights[3].store, dict(nights[3].io.upstream)
    for stage in ("preprocess", "train", "evaluate"):
        old = nights[3].io.given(stage)
        attempt = store.attempt(stage, old.interval)
        for entry in old.files:
            if stage != without or entry.path != "blessing.json":
                attempt.put(entry.path, store.read(old, entry.path))
        inputs = {name: upstream.get(name, ref) for name, ref in old.inputs.items()}
        upstream[stage] = attempt.publish(stage_key=f"no {without}", code="c", inputs=inputs, result=old.result).ref
    registered(replace(nights[3], io=replace(nights[3].io, upstream=upstream)), 5)
    done = cli("promote", "parcels", "--version", "5")
    assert (done.returncode, len(kinds(store)), champion(cli)) == (66, 3, 3)
    assert f"{without}/{nights[3].plan.interval.key}@2 carries no blessing" in " ".join(done.stderr.split())


def test_a_retired_version_never_serves_again(cli: Cli, nights: list[Night]) -> None:
    store = nights[0].store
    for version, said in ((3, "v3 is the champion"), (2, "v2 is the one that a rollback"), (9, "there is no v9")):
        refused = cli("retire", "parcels", str(version), "--reason", "it leaks")
        assert (refused.returncode, len(kinds(store))) == (66, 3)
        assert said in " ".join(refused.stderr.split())
    assert cli("retire", "parcels", "v1").returncode == 2
    assert cli("retire", "parcels", "v1", "--reason", " ").returncode == 2

    done = cli("retire", "parcels", "v1", "--reason", "it leaks", "--by", "ada")
    assert done.returncode == 0, done.stderr
    assert "parcels: v1 is retired, since" in done.stdout
    assert "MLflow's aliases are not moved yet" in done.stderr
    again = json.loads(cli("retire", "parcels", "1", "--reason", "again", "--json").stdout)
    assert (again["already"], again["entry"]["by"], again["entry"]["sequence"]) == (True, "ada", 4)
    back = cli("rollback", "parcels", "--to", "1")
    assert (back.returncode, len(kinds(store))) == (66, 4)
    assert "v1 was retired on" in back.stderr

    assert cli("retire", "parcels", "4", "--reason", "never").returncode == 0
    by_hand = cli("promote", "parcels", "--version", "4", "--dry-run")
    assert (by_hand.returncode, champion(cli)) == (66, 3)
    skipped = deployed(nights[3])
    assert (skipped.status, champion(cli)) == ("skipped", 3)
    assert "v4 was retired on" in str(skipped.reason)
    told = cli("history", "parcels", "--ledger").stdout
    assert "retirement of v1" in told
    assert "v3 stays" in told
    assert "cannot be undone" in cli("explain", "parcels", "--night", str(night_of(1))).stdout


def test_a_model_whose_spec_is_gone_is_rolled_back_all_the_same(
    cli: Cli, nights: list[Night], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "dags" / "models").iterdir():
        path.unlink()
    assert cli("rollback", "parcels").returncode == 0
    assert champion(cli) == 2
    (tmp_path / "dags" / "models").rmdir()
    assert cli("resume", "parcels").returncode == 0
    assert cli("rollback", "parcel").returncode == 78
    assert reconcile.main() != 0
    assert "parcels" in json.loads(capsys.readouterr().out)["errors"]  # MLflow is down: it was asked


def test_golden_rows_that_were_changed_stop_it(cli: Cli, nights: list[Night]) -> None:
    mine, theirs = (
        night.store.objects.local_path(f"{night.io.given('evaluate').folder}/golden/part-00000.parquet")
        for night in (nights[1], nights[0])
    )
    mine.write_bytes(theirs.read_bytes())
    done = cli("rollback", "parcels")
    assert (done.returncode, len(kinds(nights[1].store))) == (67, 3)
    assert "golden" in done.stderr


def test_a_changed_blessing_stops_it(cli: Cli, nights: list[Night]) -> None:
    store = nights[1].store
    stamp = Ledger(store).entries()[1].blessings["infra"]
    path = store.objects.local_path(f"{store.resolve(stamp.ref).folder}/blessing.json")
    path.write_bytes(path.read_bytes().replace(b'"passed":true', b'"passed":false', 1))
    done = cli("rollback", "parcels")
    assert (done.returncode, len(kinds(store))) == (67, 3)
    assert "blessing.json" in done.stderr


def test_a_version_of_an_old_ledger_has_no_blessings_and_is_not_gone_back_to(cli: Cli, nights: list[Night]) -> None:
    store = nights[0].store
    entries, before = [], "0" * 64
    for entry in Ledger(store).entries():
        old = replace(entry, format=1, previous=before, blessings={}, data=None, code=None, report=None)
        before = old.digest
        entries.append(old)
        store.objects.write(f"ledger/{entry.sequence:09d}.json", old.to_json())
    assert Ledger(store).entries() == entries
    done = cli("rollback", "parcels")
    assert (done.returncode, len(kinds(store))) == (66, 3)
    assert "v2 cannot be gone back to: it was promoted without its data, quality, infra blessing" in " ".join(
        done.stderr.split()
    )


def test_by_hand_what_a_hold_kept_back(cli: Cli, nights: list[Night]) -> None:
    store = nights[0].store
    assert cli("hold", "parcels", "--reason", "release freeze", "--by", "ada").returncode == 0
    assert deployed(nights[3]).status == "skipped"

    dry = cli("promote", "parcels", "--version", "4", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "champion would move: v3 -> v4" in dry.stdout
    assert len(kinds(store)) == 4
    assert store.latest("infra", nights[3].plan.interval.key) is None

    done = cli("promote", "parcels", "--version", "4", "--reason", "looks right", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["from"], told["to"], told["on_hold"], told["judged_against"]) == (3, 4, True, 3)
    assert set(last(store).blessings) == {"data", "quality", "infra"}
    assert champion(cli) == 4
    assert Ledger(store).hold() is not None

    older = cli("promote", "parcels", "--version", "2")
    assert (older.returncode, champion(cli)) == (66, 4)
    assert "nightshift rollback MODEL --to N" in older.stderr
    assert (
        "there is no v7 in storage; the versions there are: v1, v2, v3, v4"
        in cli("promote", "parcels", "--version", "7", "--dry-run").stderr
    )


def test_an_older_night_run_again_meets_its_own_opponent_after_a_rollback(cli: Cli, nights: list[Night]) -> None:
    assert cli("rollback", "parcels", "--to", "1").returncode == 0
    ledger = Ledger(nights[0].store)
    met = []
    for night in nights:
        digest = night.io.given("train").file("graph.onnx").sha256
        opponent = reigns.opponent(ledger.entries(), night.plan.interval, digest)
        met.append(opponent and opponent.model_version)
    assert met == [None, 1, 2, 1]


def test_champions_of_other_times(cli: Cli, nights: list[Night]) -> None:
    assert cli("rollback", "parcels").returncode == 0
    days = [str(night.plan.interval.start.date()) for night in nights]
    assert [champion(cli, "--interval", day) for day in days] == [1, 2, 2, 2]
    now = datetime.now(UTC)
    assert champion(cli, "--at", (now + timedelta(minutes=5)).isoformat()) == 2
    before = cli("champion", "parcels", "--at", "2001-01-01")
    assert before.returncode == 66
    assert "parcels had no champion at 2001-01-01" in before.stderr
    assert "nightshift champion parcels --interval 2001-01-01" in before.stderr
    assert cli("champion", "parcels", "--at", "yesterday").returncode == 2
    assert cli("champion", "parcels", "--at", "2001-01-01", "--interval", days[0]).returncode == 2


def test_a_retirement_does_not_rewrite_who_was_champion(cli: Cli, nights: list[Night]) -> None:
    day = str(nights[0].plan.interval.start.date())
    assert champion(cli, "--interval", day) == 1
    assert cli("retire", "parcels", "1", "--reason", "it leaks", "--by", "ada").returncode == 0
    assert champion(cli, "--interval", day) == 1
    told = cli("champion", "parcels", "--interval", day).stdout
    assert "It is not the champion now." in told
    assert "by ada: it leaks" in told
    digest = nights[1].io.given("train").file("graph.onnx").sha256
    assert reigns.opponent(Ledger(nights[0].store).entries(), nights[1].plan.interval, digest) is None


def test_a_refused_night_ships_by_a_waiver_and_says_so(cli: Cli, nights: list[Night]) -> None:
    strict = replace(nights[3].plan, run_id="manual__refused", spec=small_spec(gates={**WIDE, "minimum": 0.999}))
    night, store = replace(nights[3], plan=strict), nights[3].store
    refused, judgement = night.run(evaluate)
    assert judgement.status == "refused"
    assert deployed(registered(refused, 4)).status == "skipped"
    assert last(store).kind == "refusal"
    unfit = cli("promote", "parcels", "--version", "4")
    assert (unfit.returncode, champion(cli)) == (66, 3)
    assert "the quality blessing of v4 failed" in unfit.stderr

    last_day = str(datetime.now(UTC).date() + timedelta(days=30))
    words = ["--night", str(night_of(4)), "--blessing", "quality", "--expires", last_day, "--by", "ada"]
    hint = unfit.stderr.partition("Hint: to take responsibility: nightshift ")[2].split(";")[0].split()
    assert hint[:6] == ["waive", "MODEL", "--night", str(night_of(4)), "--blessing", "quality"]
    assert cli("waive", "parcels", *words, "--reason", "a strike in the holdout").returncode == 0
    shipped_, judgement = replace(night, plan=replace(strict, run_id="manual__waived")).run(evaluate)
    assert (judgement.status, judgement.reused) == ("succeeded", False)
    result = deployed(registered(shipped_, 4))
    assert (result.status, champion(cli)) == ("succeeded", 4)
    assert last(store).blessings["quality"].verdict == "waived"
    waived = f"quality blessing: waived by ada, ledger entry 5, up to {last_day}, for floor: a strike in the holdout"
    assert waived in cli("explain", "parcels").stdout
    refusal = json.loads(cli("explain", "parcels", "manual__refused", "--json").stdout)
    # What the other run's same model was found fit to serve by is not this run's.
    assert {kind: one["verdict"] for kind, one in refusal["blessings"].items()} == {
        "data": "passed",
        "quality": "failed",
    }
    assert "For this night stands a newer run: promoted, v4." in refusal["note"]


def test_explain(cli: Cli, nights: list[Night]) -> None:
    assert cli("rollback", "parcels", "--reason", "wrong on Mondays").returncode == 0
    told = cli("explain", "parcels", "--night", str(night_of(3)))
    assert told.returncode == 0, told.stderr
    for words in ("night 2024-03-04: promoted, v3", "quality blessing: passed", "infra blessing: passed", "Lineage",
                  "wrong on Mondays", "Since the night of 2024-03-03", "and is no more"):  # fmt: skip
        assert words in told.stdout, words
    by_run = json.loads(cli("explain", "parcels", nights[1].plan.run_id, "--json").stdout)
    assert by_run["night"]["model_version"] == 2
    assert set(by_run["blessings"]) == {"data", "quality", "infra"}
    assert by_run["cost"]["seconds"] == pytest.approx(sum(by_run["night"]["seconds"].values()), abs=0.01)
    assert by_run["report"] is None
    assert {entry["report"] for entry in by_run["entries"]} == {f"report/{nights[1].plan.interval.key}"}
    assert any(change.startswith("train table: ") for change in by_run["changes"])
    assert any(change.startswith("roc_auc of the challenger: ") for change in by_run["changes"])
    assert cli("explain", "parcels", "no-such-run").returncode == 65
    assert cli("explain", "parcels", "--night", "2023-01-01").returncode == 65
