from __future__ import annotations

from datetime import date
from pathlib import Path

from tests.fakes.published_night import PublishedNight, plan_of

from nightshift.errors import ValidationFailed
from nightshift.report import render_run
from nightshift.report.nights import lineage, night_of, nights
from nightshift.storage import Store


def test_three_nights(nights_: list[PublishedNight]) -> None:
    found = nights(nights_[0].store)
    assert [(one.night, one.verdict, one.model_version, one.promoted) for one in found] == [
        ("2013-06-26", "promoted", 1, True),
        ("2013-06-27", "promoted", 2, True),
        ("2013-06-28", "refused", 3, False),
    ]
    second = found[1]
    assert (second.rows_in, second.quarantined, second.unlabelled) == (71520, 27, 2310)
    assert (second.challenger_auc, second.champion_auc) == (0.9214, 0.918)
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
    assert (found.verdict, found.challenger_auc, found.model_version) == ("unfinished", None, None)


def test_a_failed_night_is_known_by_its_report(early: PublishedNight) -> None:
    render_run(early.plan, early.store, {**early.results, "validate": ValidationFailed("22 % of the rows")})
    (found,) = nights(early.store)
    assert (found.verdict, found.reason) == ("failed", "22 % of the rows")


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
