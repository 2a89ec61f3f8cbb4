from __future__ import annotations

import json

import pytest
from tests.fakes.published_night import PublishedNight
from tests.unit.cli.conftest import Call

from nightshift.ledger import Ledger


def test_a_line_for_every_night(call: Call, nights_: list[PublishedNight]) -> None:
    lines = call("history", "flight_delays").out.splitlines()
    assert lines[0].split()[:4] == ["night", "rows", "in", "quarantined"]
    assert lines[1].split()[:8] == ["2013-06-26", "71,520", "27", "2,310", "0.9102", "–", "promoted", "v1"]
    assert lines[2].split()[:8] == ["2013-06-27", "71,520", "27", "2,310", "0.9214", "0.9180", "promoted", "v2"]
    assert lines[3].split()[6:8] == ["refused", "v3"]
    assert lines[3].split()[-1] == "0.0"
    assert any(line.startswith("  2013-06-28 refused v3: ROC AUC 0.9011 is 0.0187 below champion v2") for line in lines)


def test_on_a_narrow_screen_the_seconds_have_a_table_of_their_own(
    call: Call, nights_: list[PublishedNight], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("history", "flight_delays").out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("2013")] == [
        "2013-06-26",
        "2013-06-27",
        "2013-06-28",
    ] * 2
    assert "Seconds by stage" in lines
    assert lines[6].split() == [
        "night",
        "ingest",
        "validate",
        "preprocess",
        "train",
        "evaluate",
        "register",
        "deploy",
        "all",
    ]
    assert max(map(len, lines)) <= 80


def test_which_way_is_good_is_said(call: Call, nights_: list[PublishedNight]) -> None:
    assert "Challenger and champion: ROC AUC; higher is better." in call("history", "flight_delays").out


def test_json(call: Call, nights_: list[PublishedNight]) -> None:
    found = json.loads(call("history", "flight_delays", "--json", "--limit", "2").out)
    assert [one["night"] for one in found] == ["2013-06-27", "2013-06-28"]
    assert found[0]["promoted"] is True
    assert set(found[0]["seconds"]) == {"ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"}


def test_nothing_yet(call: Call) -> None:
    called = call("history", "flight_delays")
    assert called.code == 0
    assert "has no nights yet" in called.out
    assert json.loads(call("history", "flight_delays", "--json").out) == []


def test_a_damaged_ledger_is_an_error(call: Call, nights_: list[PublishedNight]) -> None:
    nights_[0].store.objects.write("ledger/000000002.json", b"{}")
    called = call("history", "flight_delays")
    assert called.code == 67
    assert "ledger/000000002.json" in called.err


class TestStatus:
    def test_a_model_at_a_glance(self, call: Call, nights_: list[PublishedNight]) -> None:
        line = call("status").out.splitlines()[1].split()
        assert line == ["✓", "flight_delays", "v2", "2013-06-27", "AUC", "0.9214", "1", "2013-06-28", "refused"]

    def test_json(self, call: Call, nights_: list[PublishedNight]) -> None:
        (found,) = json.loads(call("status", "--json").out)
        assert (found["champion_version"], found["age"], found["last_verdict"]) == (2, 1, "refused")
        assert (found["metric"], found["champion"]) == ("roc_auc", 0.9214)

    def test_a_hold_is_seen(self, call: Call, nights_: list[PublishedNight]) -> None:
        assert call("hold", "flight_delays", "--reason", "freeze", "--by", "ada").code == 0
        assert "v2, on hold" in call("status").out
        (found,) = json.loads(call("status", "--json").out)
        assert found["on_hold"] is True
        told = call("history", "flight_delays").out
        assert "By people" in told
        assert "freeze" in told
        ledger = json.loads(call("history", "flight_delays", "--ledger", "--json").out)
        assert [entry["kind"] for entry in ledger] == ["promotion", "promotion", "refusal", "hold"]
        assert call("resume", "flight_delays").code == 0
        assert "on hold" not in call("status").out

    def test_a_second_hold_says_that_the_first_one_stands(self, call: Call, nights_: list[PublishedNight]) -> None:
        words = ("hold", "flight_delays")
        first = json.loads(call(*words, "--reason", "freeze", "--by", "ada", "--json").out)
        assert (first["already"], first["entry"]["by"]) == (False, "ada")
        again = call(*words, "--reason", "it drifts", "--by", "grace")
        assert again.code == 0
        assert "flight_delays is on hold already, since " in again.out
        assert "by ada (hold, ledger entry 4): freeze" in again.out
        assert "Nothing was written, so your name and reason are not in the ledger." in again.out
        assert json.loads(call(*words, "--reason", "it drifts", "--json").out)["already"] is True
        assert len(Ledger(nights_[0].store).entries()) == 4

    @pytest.mark.parametrize("empty", ["", "  "])
    @pytest.mark.parametrize(
        "command",
        [("hold",), ("resume",), ("rollback",), ("promote", "--version", "3"), ("retire", "3")],
        ids=lambda words: words[0],
    )
    def test_what_the_ledger_keeps_for_ever_says_something(
        self, call: Call, nights_: list[PublishedNight], command: tuple[str, ...], empty: str
    ) -> None:
        model = (command[0], "flight_delays", *command[1:])
        for words in (("--reason", empty), ("--reason", "r", "--by", empty)):
            done = call(*model, *words)
            assert (done.code, len(Ledger(nights_[0].store).entries())) == (2, 3)
            assert "the ledger keeps who did what, and why" in " ".join(done.err.split())

    def test_before_the_first_night(self, call: Call) -> None:
        assert "none yet" in call("status").out

    def test_trouble_with_one_model_is_shown_in_its_line(self, call: Call, nights_: list[PublishedNight]) -> None:
        nights_[0].store.objects.write("ledger/000000001.json", b"{}")
        called = call("status")
        assert called.code == 0
        assert "✗" in called.out
        assert "ledger/000000001.json" in called.out


class TestRetention:
    def test_a_dry_run_deletes_nothing(self, call: Call, nights_: list[PublishedNight]) -> None:
        called = call("retention", "flight_delays", "--dry-run")
        assert called.code == 0
        assert "would delete" in called.out
        assert nights_[0].store.latest("train", "2013-06-25") is not None

    def test_champions_stay(self, call: Call, nights_: list[PublishedNight]) -> None:
        called = call(
            "retention", "flight_delays", "--keep-days", "0", "--keep-versions", "1", "--garbage-hours", "0", "--json"
        )
        assert json.loads(called.out)["dry_run"] is False
        for night in nights_[:2]:
            assert night.store.latest("train", night.plan.interval.key) is not None
