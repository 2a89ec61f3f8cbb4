"""One night explained, from storage: what it was made of, what it used, what changed, how to take it back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes.blessed import blessing_of
from tests.fakes.published_night import PublishedNight, demo_spec, plan_of

from nightshift.errors import DataError, IntegrityError
from nightshift.ledger import Blessed, Candidate, Ledger
from nightshift.ledger.blessings import keep_failed
from nightshift.report import render_run
from nightshift.report.explanation import explain, interval_of_run
from nightshift.report.nights import nights


def test_a_promoted_night(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    render_run(night.plan, night.store, night.results)
    night.store.publish_plan(night.plan)
    told = explain(night.store, "flight_delays", night.plan.interval.key)
    assert (told.night.verdict, told.run_id, told.before) == ("promoted", night.plan.run_id, "2013-06-26")
    assert told.report is not None
    assert Path(told.report.removeprefix("file://")).read_text().startswith("<!doctype html>")
    assert [(entry.kind, entry.report) for entry in told.entries] == [("promotion", "report/2013-06-26")]
    assert told.undo == "Its v2 is champion. To go back to v1: nightshift rollback flight_delays"
    assert (told.cost.threads, told.cost.core_seconds) == (2, pytest.approx(2 * told.cost.seconds))
    assert set(told.blessings) == {"data", "quality", "infra"}


def test_what_changed_since_the_night_before(root: Path) -> None:
    first = PublishedNight(plan_of(root, date(2013, 6, 26)), auc=0.91, days=3)
    second = PublishedNight(
        plan_of(root, date(2013, 6, 27), spec=demo_spec(deploy={"memory": "1GB"})),
        auc=0.92, champion_auc=0.91, version=2, graph=b"two", days=3, changes={"validate": {"quarantined": 1234}},
    )  # fmt: skip
    for night in (first, second):
        night.publish()
        night.store.publish_plan(night.plan)
    changes = explain(second.store, "flight_delays", None).changes
    assert "spec deploy.memory: '4GB' -> '1GB'" in changes
    assert "roc_auc of the challenger: 0.91 -> 0.92 (+0.01)" in changes
    (quarantined,) = (change for change in changes if change.startswith("quarantined"))
    assert "-> 1,234 (+" in quarantined
    assert "days new in the window: 2013-06-26" in changes
    assert "days no more in the window: 2013-06-23" in changes
    assert not any("other content" in change for change in changes)
    assert explain(first.store, "flight_delays", first.plan.interval.key).changes == ()


def test_a_night_whose_data_failed(nights_: list[PublishedNight]) -> None:
    night = nights_[2]
    key = night.plan.interval.key
    waive = 'nightshift waive flight_delays --night 2013-06-28 --blessing quality --reason "..."'
    assert waive in explain(night.store, "flight_delays", key).undo
    keep_failed(night.store, blessing_of("data", key, fit=False), code="c0de", inputs={})
    told = explain(night.store, "flight_delays", key)
    assert told.night.verdict == "failed"
    assert {kind: blessing["verdict"] for kind, blessing in told.blessings.items()} == {"data": "failed"}


def test_of_older_nights_only_the_one_before_is_read(nights_: list[PublishedNight]) -> None:
    oldest, store = nights_[0], nights_[2].store
    path = store.objects.local_path(f"validate/{oldest.plan.interval.key}/v000001.json")
    assert path.exists()
    path.write_text("damaged")
    assert explain(store, "flight_delays", None).before == "2013-06-27"
    with pytest.raises(IntegrityError):
        explain(store, "flight_delays", "2013-06-26")


def test_a_retired_version_says_so(nights_: list[PublishedNight]) -> None:
    store = nights_[2].store
    refused = Ledger(store).entries()[-1].about
    Ledger(store).retire(refused, reason="it leaks", by="ada")
    told = explain(store, "flight_delays", refused.interval.key)
    assert "Its v3 was retired on" in told.undo
    assert [entry.kind for entry in told.entries] == ["refusal", "retirement"]


def test_a_run_is_found_by_its_report_its_entry_or_its_plan(early: PublishedNight) -> None:
    key = early.plan.interval.key
    assert interval_of_run(early.store, early.plan.run_id) is None
    early.store.publish_plan(early.plan)
    assert interval_of_run(early.store, early.plan.run_id) == key
    later = replace(early.plan, run_id="manual__later")
    render_run(later, early.store, early.results)
    assert interval_of_run(early.store, "manual__later") == key
    render_run(replace(early.plan, run_id="manual__last"), early.store, early.results)
    told = [explain(early.store, "flight_delays", key, run_id=run).run_id for run in (None, "manual__later")]
    assert told == ["manual__last", "manual__later"]
    assert interval_of_run(early.store, "other") is None


def test_a_plan_that_cannot_be_read_any_more_spoils_nothing(early: PublishedNight) -> None:
    early.store.objects.write(f"plan/{early.plan.interval.key}/{'0' * 64}.json", b'{"format": 99}')
    told = explain(early.store, "flight_delays", None)
    assert (told.spec_digest, told.cost.threads, told.cost.core_seconds) == (None, None, None)


def test_a_night_that_is_not_there(early: PublishedNight) -> None:
    with pytest.raises(DataError, match="flight_delays has no such night in storage; nights there are: 2013-06-26"):
        explain(early.store, "flight_delays", "2013-01-01")


def test_a_night_with_nothing_to_do_is_compared_by_its_verdict_alone(nights_: list[PublishedNight]) -> None:
    last = nights_[-1]
    interval = "2013-06-28"
    last.store.attempt("ingest", interval).publish(
        stage_key="k", code="c", result={"status": "skipped", "reason": "Nothing has changed since night 2013-06-28."}
    )
    told = explain(last.store, "flight_delays", interval)
    assert (told.night.verdict, told.before) == ("skipped", "2013-06-28")
    assert told.changes == ("verdict: refused -> skipped",)
    assert told.undo == "Nothing was moved, so there is nothing to undo."


REFUSED = "ROC AUC 0.7000 is below the floor of 0.8000."


def twice(root: Path, night: date, first: str | None, second: str | None) -> tuple[PublishedNight, PublishedNight]:
    """One night of two runs, each ending as its reason says: refused, or promoted where it has none."""
    made = []
    for number, reason in ((1, first), (2, second)):
        plan = replace(plan_of(root, night), run_id=f"manual__run_{number}")
        run = PublishedNight(
            plan, auc=0.7 if reason else 0.92, reason=reason, version=number, graph=f"graph {number}".encode(), days=3
        )
        results = run.publish()
        run.store.publish_plan(plan)
        render_run(plan, run.store, results)
        made.append(run)
    return made[0], made[1]


def test_a_run_is_told_its_own_decision_and_that_another_stands(root: Path) -> None:
    first, second = twice(root, date(2013, 6, 26), REFUSED, None)
    key = first.plan.interval.key
    told = explain(first.store, "flight_delays", key, run_id="manual__run_1")
    assert (told.night.verdict, told.night.model_version, told.run_id) == ("refused", 1, "manual__run_1")
    assert told.night.reason == f"{REFUSED} v2 of another run of this night was promoted (ledger entry 2)."
    assert told.note == (
        "For this night stands the newer run manual__run_2: promoted, v2. What follows is run manual__run_1."
    )
    assert {kind: one["verdict"] for kind, one in told.blessings.items()} == {"data": "passed", "quality": "failed"}
    assert told.lineage["train"]["version"] == str(first.results["train"].ref)
    assert told.undo == "Nothing was moved, so there is nothing to undo."
    assert told.report != explain(first.store, "flight_delays", key).report
    stands = explain(second.store, "flight_delays", key, run_id="manual__run_2")
    assert (stands.night.verdict, stands.night.model_version, stands.note) == ("promoted", 2, None)
    assert stands.blessings["quality"]["verdict"] == "passed"
    assert stands.lineage["train"]["version"] == str(second.results["train"].ref)


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_without_a_report_is_known_by_its_ledger_entry(root: Path, killed: bool) -> None:
    for number, reason in ((1, REFUSED), (2, None)):
        plan = replace(plan_of(root, date(2013, 6, 26)), run_id=f"manual__run_{number}")
        night = PublishedNight(plan, reason=reason, version=number, graph=f"graph {number}".encode(), days=3)
        night.publish()
        if killed:  # between its entry and its end
            shutil.rmtree(night.store.objects.local_path("deploy"))
    for run, verdict, version in (("manual__run_1", "refused", 1), ("manual__run_2", "promoted", 2)):
        told = explain(night.store, "flight_delays", interval_of_run(night.store, run), run_id=run)
        assert (told.night.verdict, told.night.model_version, told.run_id) == (verdict, version, run)
        assert (told.note is None) == (run == "manual__run_2")
        assert told.report is None


def test_a_run_that_left_nothing_but_its_plan_says_so(early: PublishedNight) -> None:
    early.store.publish_plan(early.plan)
    told = explain(early.store, "flight_delays", None, run_id=early.plan.run_id)
    assert told.note == (
        f"Run {early.plan.run_id} left neither a report nor a ledger entry; this is what stands for its night."
    )
    assert told.night.verdict == "unfinished"


def test_a_version_that_never_was_champion_is_not_said_to_have_been(root: Path) -> None:
    """A night that was promoted, and run again when a newer night was champion already."""
    first, newer = (PublishedNight(plan_of(root, date(2013, 6, day)), days=3) for day in (26, 27))
    newer.graph, newer.version = b"two", 2
    first.publish()
    newer.publish()
    superseded = "Superseded: champion v2 is of the newer interval 2013-06-26, and an older night never replaces it."
    again = PublishedNight(first.plan, version=3, graph=b"three", days=3, until="register")
    again.publish()
    inputs = {name: again.results[name].ref for name in ("train", "evaluate", "register")}
    skipped = {"status": "skipped", "reason": superseded}
    again.store.attempt("deploy", "2013-06-25").publish(stage_key="k", code="c", inputs=inputs, result=skipped)
    told = explain(again.store, "flight_delays", "2013-06-25")
    assert (told.night.verdict, told.night.model_version, told.night.promoted) == ("kept", 3, False)
    assert told.night.reason == f"{superseded} v1 of another run of this night was promoted (ledger entry 1)."
    assert told.undo == (
        "Nothing was moved, so there is nothing to undo. Its v3 cannot ship any more: champion v2 is of a newer night, "
        "2013-06-27."
    )


def test_a_version_that_a_person_promoted_after_a_hold_says_so(root: Path) -> None:
    held = "On hold since 2013-06-26: nothing is promoted before somebody runs nightshift resume."
    night = PublishedNight(plan_of(root, date(2013, 6, 26)), days=3, until="register")
    night.publish()
    inputs = {name: night.results[name].ref for name in ("train", "evaluate", "register")}
    skipped = {"status": "skipped", "reason": held}
    night.store.attempt("deploy", "2013-06-25").publish(stage_key="k", code="c", inputs=inputs, result=skipped)
    assert [(one.verdict, one.reason) for one in nights(night.store)] == [("kept", held)]
    infra = night.store.attempt("infra", "2013-06-25")
    infra.put("blessing.json", blessing_of("infra", "2013-06-25", night.digest).to_json())
    about = {"train": night.results["train"].ref}
    made = infra.publish(stage_key="infra", code="c", inputs=about, result={"verdict": "passed"})
    candidate = Candidate(1, night.digest, night.plan.interval, about["train"], "run")
    blessed = Blessed.collect(night.store, candidate, quality=night.results["evaluate"].ref, infra=made.ref)
    Ledger(night.store).promote_by_hand(blessed, seen=0, reason="it looks right", by="ada")
    (told,) = nights(night.store)
    assert (told.verdict, told.promoted) == ("promoted", True)
    assert told.reason == "Promoted by ada, by hand (ledger entry 1: it looks right)."
    assert explain(night.store, "flight_delays", None).undo == (
        "Its v1 is champion. There is no champion before it to go back to; to keep nights from promoting: "
        'nightshift hold flight_delays --reason "..."'
    )


def test_a_refused_night_that_a_newer_one_overtook_offers_nothing_that_fails(root: Path) -> None:
    refused = PublishedNight(plan_of(root, date(2013, 6, 26)), auc=0.7, reason=REFUSED, days=3)
    refused.publish()
    assert "nightshift waive flight_delays --night 2013-06-26" in explain(refused.store, "flight_delays", None).undo
    PublishedNight(plan_of(root, date(2013, 6, 27)), version=2, graph=b"two", days=3).publish()
    told = explain(refused.store, "flight_delays", "2013-06-25").undo
    assert told.endswith("Its v1 cannot ship any more: champion v2 is of a newer night, 2013-06-27.")


def test_a_person_is_no_run(nights_: list[PublishedNight]) -> None:
    store = nights_[2].store
    Ledger(store).retire(Ledger(store).entries()[-1].about, reason="it leaks", by="root")
    assert interval_of_run(store, "root") is None
    assert interval_of_run(store, nights_[2].plan.run_id) == "2013-06-27"
