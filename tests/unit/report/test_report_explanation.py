"""One night explained, from storage: what it was made of, what it used, what changed, how to take it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes.blessed import blessing_of
from tests.fakes.published_night import PublishedNight, demo_spec, plan_of

from nightshift.errors import DataError, IntegrityError
from nightshift.ledger import Ledger
from nightshift.ledger.blessings import keep_failed
from nightshift.report import render_run
from nightshift.report.explanation import explain, interval_of_run


def test_a_promoted_night(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    render_run(night.plan, night.store, night.results)
    night.store.publish_plan(night.plan)
    told = explain(night.store, "flight_delays", night.plan.interval.key)
    assert (told.night.verdict, told.run_id, told.before) == ("promoted", night.plan.run_id, "2013-06-26")
    assert told.report is not None
    assert Path(told.report.removeprefix("file://")).read_text().startswith("<!doctype html>")
    assert [(entry.kind, entry.report) for entry in told.entries] == [("promotion", "report/2013-06-26")]
    assert told.undo == "Its v2 is champion. To go back: nightshift rollback flight_delays"
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
