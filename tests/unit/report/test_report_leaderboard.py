"""The search on the page: the best trials in order, what became of the others, and nothing where nothing was searched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.fakes.published_night import PublishedNight

from nightshift.report.evidence import Evidence
from nightshift.report.leaderboard import Leaderboard
from nightshift.report.page import html


def trial(number: int, *values: float, state: str = "complete", error: str | None = None) -> dict[str, Any]:
    mean = sum(values) / len(values) if values else None
    return {
        "number": number,
        "family": "xgboost",
        "engine": "xgboost",
        "params": {"max_depth": number, "learning_rate": 0.123456},
        "state": state,
        "values": list(values),
        "mean": mean,
        "spread": 0.01 if len(values) > 1 else None,
        "error": error,
        "seconds": 1.25,
    }


def study(metric: str = "roc_auc") -> dict[str, Any]:
    folds = [
        {"judged": {"from": "2013-06-01T00:00:00+00:00", "to": "2013-06-08T00:00:00+00:00"}},
        {"judged": {"from": "2013-06-08T00:00:00+00:00", "to": "2013-06-15T00:00:00+00:00"}},
    ]
    trials = [trial(number, 0.5 + number / 100, 0.6) for number in range(12)]
    trials += [trial(12, 0.99, state="pruned"), *(trial(n, state="failed", error="<b>no luck</b>") for n in (13, 14))]
    return {"metric": metric, "folds": folds, "trials": trials, "best": 11}


def test_the_best_come_first_by_the_metrics_own_direction() -> None:
    found = Leaderboard.read(study())
    assert found is not None
    assert [line.number for line in found.lines] == list(range(12, 2, -1))
    assert [line.chosen for line in found.lines] == [True, *[False] * 9]
    assert found.counts == "15 trials: 12 complete, 1 pruned, 2 failed"
    assert found.folds == "2013-06-01 to 2013-06-14, in 2 folds"
    assert found.failures == (("<b>no luck</b>", 2),)
    errors = Leaderboard.read({**study("rmse"), "best": 0})
    assert errors is not None
    assert [line.number for line in errors.lines] == list(range(1, 11))
    assert Leaderboard.read({}) is None


def test_reasons_that_differ_in_numbers_are_one_line() -> None:
    failed = [
        trial(20 + n, state="failed", error=f"the loss is nan after epoch {n}: it was {n / 7}.") for n in range(3)
    ]
    raw = study()
    found = Leaderboard.read({**raw, "trials": [*raw["trials"], *failed]})
    assert found is not None
    assert found.failures == (("the loss is nan after epoch 0: it was 0.0.", 3), ("<b>no luck</b>", 2))


def test_the_page_has_the_leaderboard_where_there_was_a_search(nights_: list[PublishedNight]) -> None:
    night = nights_[0]
    evidence = Evidence.collect(night.plan, night.store, night.results)
    assert "Leaderboard" not in html(evidence)
    page = html(replace(evidence, search=study()))
    assert "Leaderboard" in page
    assert "max_depth 11, learning_rate 0.1235" in page
    assert "0.6050 ± 0.0100" in page
    assert "2 failed: &lt;b&gt;no luck&lt;/b&gt;" in page
