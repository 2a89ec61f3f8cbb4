"""The real gate on real nights: every bad candidate is refused by the check that must do it, every good one passes.

The nights and seeds are pinned, so these are facts and no chances; how often the gate is right on other nights is
measured by ``tests/bench/simulate_gate.py`` and told in ``docs/gates.md``.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from tests.fakes.flights import fit, spec
from tests.fakes.flights import flights_night as night
from tests.mutation.candidates import (
    BAD,
    GOOD,
    Bad,
    Good,
    blurred,
    one_slice_destroyed,
    tonight,
    without_best_feature,
)

from nightshift.errors import ModelError
from nightshift.evaluate.gate import Anchor, Judgement
from nightshift.evaluate.paired import auc_gain
from nightshift.evaluate.tasks import Binary
from nightshift.spec.gates import Gates

FAST = date(2013, 10, 20)
NIGHTS = (FAST, date(2013, 5, 20), date(2013, 9, 15))


def failed(judgement: Judgement) -> list[str]:
    return [check.name for check in judgement.checks if not check.passed]


def gates(**changes: object) -> Gates:
    return Gates.model_validate({**spec().gates.model_dump(mode="json"), **changes})


def cases(candidates: tuple[Bad, ...] | tuple[Good, ...]) -> list[object]:
    """Each with each night; what takes a training of its own, and all but one night, is for the long lane."""
    return [
        pytest.param(one, day, id=f"{one.name}, {day}", marks=[pytest.mark.long] if one.trains or day != FAST else [])
        for one in candidates
        for day in NIGHTS
    ]


@pytest.mark.parametrize(("bad", "day"), cases(BAD))
def test_a_bad_candidate_is_refused(bad: Bad, day: date) -> None:
    it = night(day)
    found = it.judge(bad.make(it), it.champion)
    assert found.status == "refused"
    assert bad.check in failed(found), found.reason


@pytest.mark.parametrize(("good", "day"), cases(GOOD))
def test_a_good_candidate_passes(good: Good, day: date) -> None:
    it = night(day)
    found = it.judge(good.make(it), it.champion)
    assert found.status == "succeeded", found.reason
    assert found.warnings == ()


# -- what needs another champion, another spec, or another part of the gate ------------------------------------------


def test_a_slice_that_is_destroyed_while_the_average_rises() -> None:
    """Better on the whole by far, and the flights of one carrier are worse off than under the champion."""
    it = night(FAST)
    found = it.judge(one_slice_destroyed(it), without_best_feature(it))
    assert found.verdict == "better"
    assert failed(found) == ["slices"]
    assert found.reason is not None
    assert "carrier MQ" in found.reason


def test_scores_that_are_no_numbers() -> None:
    it = night(FAST)
    scores = tonight(it).copy()
    scores[17] = np.nan
    with pytest.raises(ModelError, match=f"no probability for 1 of {len(scores)} rows"):
        it.judge(scores, it.champion)


def test_a_first_model_that_knows_less_than_one_feature_alone() -> None:
    it = night(FAST)
    found = it.judge(without_best_feature(it), None, gates=gates(minimum=0.6))
    assert (found.verdict, failed(found)) == ("first", ["best_single_feature"])
    assert it.judge(tonight(it), None).status == "succeeded"


def test_a_slow_decline_is_stopped_by_the_anchor() -> None:
    """Within the margin of its champion, and far below the champion of a month ago."""
    it = night(FAST)
    declined = blurred(tonight(it), 1.1, np.random.default_rng(5))
    days = it.holdout["__time"].dt.dayofyear.to_numpy()
    anchor = Anchor(1, auc_gain(it.labels, declined, tonight(it), days, confidence=0.95))
    assert failed(it.judge(declined, declined)) == []
    assert failed(it.judge(declined, declined, anchor=anchor)) == ["anchor"]


def test_a_holdout_of_thirteen_days_judges_nothing() -> None:
    import pyarrow as pa

    from nightshift.evaluate.comparison import days_of, obstacle_to

    it = night(FAST)
    until = it.windows.holdout.start + timedelta(days=1)
    rows = pa.Table.from_pandas(it.holdout[it.holdout["__time"] >= until], preserve_index=False)
    assert len(set(days_of(rows).tolist())) == 13
    trained = it.train["__label"].to_numpy()
    assert obstacle_to(rows, spec().gates, Binary(), trained=trained, fitted_until=until) == (
        "the holdout has 13 days with rows that neither has learned from, and it takes 14; make window.holdout longer, "
        "or see gates.versus_champion.least"
    )
    whole = pa.Table.from_pandas(it.holdout, preserve_index=False)
    start = it.windows.holdout.start
    assert obstacle_to(whole, spec().gates, Binary(), trained=trained, fitted_until=start) is None


def test_the_rule_better_refuses_what_is_only_not_worse() -> None:
    it = night(FAST)
    strict = gates(versus_champion={"rule": "better"})
    assert failed(it.judge(tonight(it), it.champion, gates=strict)) == ["champion"]
    assert it.judge(tonight(it), without_best_feature(it), gates=strict).verdict == "better"


def test_a_jump_is_flagged_and_not_refused() -> None:
    it = night(FAST)
    found = it.judge(tonight(it), without_best_feature(it))
    assert (found.verdict, found.status) == ("better", "succeeded")
    assert "suspicious" in found.warnings[0]


def test_airports_must_be_treated_alike_where_the_spec_says_so() -> None:
    """Delays from one airport are hardly ever foretold: each score there is divided by three."""
    it = night(FAST)
    unfair = np.where(it.holdout["origin"] == "JFK", tonight(it) / 3, tonight(it))
    declared = gates(fairness={"attribute": "origin", "metric": "true_positive_rate", "bound": 0.15})
    assert "fairness" in failed(it.judge(unfair, None, gates=declared))
    assert it.judge(tonight(it), None, gates=declared).status == "succeeded"


@pytest.mark.long
def test_an_old_champion_gives_way_only_within_the_margin() -> None:
    """A night so noisy that a good challenger stays undecided."""
    it = night(date(2013, 7, 15))
    other = fit(it.earlier(0, length=74)).scores(it.holdout)
    young = it.judge(other, it.champion)
    assert (young.verdict, failed(young)) == ("undecided", ["champion"])
    old = it.judge(other, it.champion, age=timedelta(days=31))
    assert (old.verdict, old.refresh, old.status) == ("undecided", True, "succeeded")
    worse = it.judge(without_best_feature(it), it.champion, age=timedelta(days=400))
    assert (worse.verdict, worse.status) == ("worse", "refused")


def test_better_by_noise_is_not_called_better() -> None:
    """Pairs of the same model, each with noise of its own: of equal worth by construction, whatever a night says."""
    it, random = night(FAST), np.random.default_rng(11)
    pairs = [[blurred(it.champion, 0.2, random) for _ in range(2)] for _ in range(12)]
    found = [it.judged(one, other) for one, other in pairs]
    assert {judgement.verdict for judgement, _ in found} == {"not_worse"}
    gained = [comparison.difference or 0.0 for _, comparison in found if comparison is not None]
    assert len(gained) == 12
    assert min(gained) < 0 < max(gained), "chance falls either way"
