from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from tests.fakes.blessed import blessing_of
from tests.fakes.published_night import PublishedNight, plan_of

from nightshift.errors import StorageError, ValidationFailed
from nightshift.ledger.blessings import keep_failed
from nightshift.plan import Plan
from nightshift.report import render_run
from nightshift.report.nights import lineage, night_of, nights, page_of, page_uri
from nightshift.stage import StageResult
from nightshift.storage import Ref, Store


def test_three_nights(nights_: list[PublishedNight]) -> None:
    found = nights(nights_[0].store)
    assert [(one.night, one.verdict, one.model_version, one.promoted) for one in found] == [
        ("2013-06-26", "promoted", 1, True),
        ("2013-06-27", "promoted", 2, True),
        ("2013-06-28", "refused", 3, False),
    ]
    second = found[1]
    assert (second.rows_in, second.quarantined, second.unlabelled) == (71520, 27, 2310)
    assert (second.metric, second.challenger, second.champion) == ("roc_auc", 0.9214, 0.918)
    assert list(second.seconds) == ["ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"]
    assert "at most 0.0050 below is allowed" in str(found[2].reason)


def test_a_limit_gives_the_newest(nights_: list[PublishedNight]) -> None:
    assert [one.night for one in nights(nights_[0].store, limit=2)] == ["2013-06-27", "2013-06-28"]


def test_a_model_without_nights(root: Path) -> None:
    assert nights(Store.of(plan_of(root, date(2013, 6, 26)))) == []


def test_a_night_that_stopped_early_is_unfinished(root: Path) -> None:
    night = PublishedNight(plan_of(root, date(2013, 6, 26)), until="train", days=3)
    night.publish()
    (found,) = nights(night.store)
    assert (found.verdict, found.challenger, found.model_version) == ("unfinished", None, None)


def test_a_failed_night_is_known_by_its_report(early: PublishedNight) -> None:
    render_run(early.plan, early.store, {**early.results, "validate": ValidationFailed("22 % of the rows")})
    (found,) = nights(early.store)
    assert (found.verdict, found.reason) == ("failed", "22 % of the rows")


def killed_in_deploy(night: PublishedNight) -> None:
    """The night as it is when deploy was killed after its entry and before its end: nothing of deploy is published."""
    key = night.plan.interval.key
    night.store.objects.delete(f"deploy/{key}/v{number:06d}.json" for number in night.store.taken("deploy", key))


def test_a_night_killed_between_its_entry_and_its_end_was_promoted(nights_: list[PublishedNight]) -> None:
    for night in nights_:
        killed_in_deploy(night)
    assert [(one.verdict, one.promoted, bool(one.reason)) for one in nights(nights_[0].store)] == [
        ("promoted", True, True),
        ("promoted", True, True),
        ("refused", False, True),
    ]


def test_a_night_that_could_not_set_the_aliases_was_promoted(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    killed_in_deploy(night)
    error = StorageError("v2 is promoted (ledger entry 2) and serves, but its MLflow aliases are not set yet")
    render_run(night.plan, night.store, {**night.results, "deploy": error})
    found = nights(night.store)[1]
    assert (found.verdict, found.reason) == ("promoted", error.message)


def test_a_night_evaluated_anew_and_killed_before_deploy_is_unfinished(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    killed_in_deploy(night)
    attempt = night.store.attempt("evaluate", night.plan.interval.key)
    attempt.put("evaluation.json", b"{}")
    reads = {name: night.results[name].ref for name in ("preprocess", "train")}
    attempt.publish(stage_key="newer", code="", inputs=reads, result={"challenger": {"roc_auc": 0.5}})  # type: ignore[arg-type]
    assert nights(night.store)[1].verdict == "unfinished"


def test_a_night_whose_data_failed_and_that_was_killed_is_known_by_its_verdict(early: PublishedNight) -> None:
    key = early.plan.interval.key
    verdict = blessing_of("data", key, fit=False)
    keep_failed(early.store, verdict, code="c0de", inputs={})
    (found,) = nights(early.store)
    assert found.verdict == "failed"
    assert found.reason is not None
    assert "Checks that fail: as_told" in found.reason


def test_the_report_of_a_run_is_found_by_the_run(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    key = night.plan.interval.key
    assert page_of(night.store, key) is None
    render_run(night.plan, night.store, night.results)
    again = replace(night.plan, run_id="manual__again")
    render_run(again, night.store, {**night.results, "deploy": StorageError("away")})
    found = [page_of(night.store, key, run) for run in (None, night.plan.run_id, "manual__again", "other")]
    assert [one and one.version for one in found] == [2, 1, 2, 2]
    assert found[0] is not None
    assert page_uri(night.store, found[0]).startswith(night.plan.storage)
    assert page_uri(night.store, found[0]).endswith("/report.html")


def test_what_was_registered_from_an_older_evaluation_does_not_count(nights_: list[PublishedNight]) -> None:
    night = nights_[1]
    interval = night.plan.interval.key
    attempt = night.store.attempt("evaluate", interval)
    attempt.put("evaluation.json", b"{}")
    reads = {name: night.results[name].ref for name in ("preprocess", "train")}
    attempt.publish(stage_key="newer", code="", inputs=reads, result={"challenger": {"roc_auc": 0.5}})  # type: ignore[arg-type]
    assert list(lineage(night.store, interval)) == ["ingest", "validate", "preprocess", "train", "evaluate"]


def test_the_night_is_the_day_after_the_interval() -> None:
    assert night_of("2013-06-30") == "2013-07-01"
    assert night_of("20130630T000000Z--20130702T000000Z") == "20130630T000000Z--20130702T000000Z"


def test_a_night_with_nothing_to_do_is_skipped_with_or_without_its_report(early: PublishedNight) -> None:
    """Of a static source: ingest found nothing new, and the stages after it never ran."""
    plan, reason = early.plan, "Nothing has changed since night 2013-06-25."
    attempt = early.store.attempt("ingest", plan.interval.key)
    attempt.publish(stage_key="k", code="c", result={"status": "skipped", "reason": reason})
    (found,) = nights(early.store)
    assert (found.verdict, found.reason) == ("skipped", reason)

    skipped = StageResult("ingest", "skipped", attempt_ref(early.store, plan), False, {}, reason)
    render_run(plan, early.store, {"ingest": skipped})

    (again,) = nights(early.store)
    assert (again.verdict, again.reason) == ("skipped", reason)


def attempt_ref(store: Store, plan: Plan) -> Ref:
    found = store.latest("ingest", plan.interval.key)
    assert found is not None
    return found.ref
