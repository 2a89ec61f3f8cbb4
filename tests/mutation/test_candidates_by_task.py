"""The real gate on real nights with other questions: minutes late, and three classes of lateness."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from tests.fakes.flights_by_task import AskedNight, asked_night
from tests.mutation.candidates_by_task import BAD, GOOD, Bad, Good, blind, one_carrier_destroyed

from nightshift.errors import ModelError
from nightshift.evaluate.comparison import obstacle_to
from nightshift.evaluate.gate import Anchor, Judgement
from nightshift.evaluate.tasks import Multiclass
from nightshift.spec.gates import Gates

FAST = date(2013, 10, 20)
NIGHTS = (FAST, date(2013, 5, 20), date(2013, 9, 15))


def failed(judgement: Judgement) -> list[str]:
    return [check.name for check in judgement.checks if not check.passed]


def gates(night: AskedNight, **changes: object) -> Gates:
    return Gates.model_validate({**night.question.gates.model_dump(mode="json"), **changes})


def cases(candidates: tuple[Bad, ...] | tuple[Good, ...]) -> list[object]:
    """Each with each night; what takes a training of its own, and all but one night, is for the long lane."""
    return [
        pytest.param(
            one,
            day,
            id=f"{one.question}, {one.name}, {day}",
            marks=[pytest.mark.long] if one.trains or day != FAST else [],
        )
        for one in candidates
        for day in NIGHTS
    ]


@pytest.mark.parametrize(("bad", "day"), cases(BAD))
def test_a_bad_candidate_is_refused(bad: Bad, day: date) -> None:
    it = asked_night(day, bad.question)
    found = it.judge(bad.make(it), it.champion)
    assert found.status == "refused"
    assert bad.check in failed(found), found.reason


@pytest.mark.parametrize(("good", "day"), cases(GOOD))
def test_a_good_candidate_passes(good: Good, day: date) -> None:
    it = asked_night(day, good.question)
    found = it.judge(good.make(it), it.champion)
    assert found.status == "succeeded", found.reason
    assert found.warnings == ()


def blurred(night: AskedNight, scale: float) -> np.ndarray:
    """The champion with noise of its own."""
    noise = np.random.default_rng(6).normal(scale=scale, size=night.champion.shape)
    if night.champion.ndim == 1:
        return night.champion + noise
    odds = night.champion.astype(np.float64) * np.exp(noise)
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("question", ["minutes", "lateness"])
def test_a_slice_that_is_destroyed_while_the_average_rises(question: str) -> None:
    it = asked_night(FAST, question)
    champion = blind(it) if question == "minutes" else blurred(it, 1)
    found = it.judge(one_carrier_destroyed(it.tonight, it), champion)
    assert found.verdict == "better"
    assert "slices" in failed(found)
    assert "carrier MQ" in str(found.reason)


@pytest.mark.parametrize("question", ["minutes", "lateness"])
def test_a_first_model_that_knows_less_than_one_feature_alone(question: str) -> None:
    it = asked_night(FAST, question)
    lenient = gates(it, **({"maximum": 100} if question == "minutes" else {"minimum": 0.1}))
    found = it.judge(blind(it), None, gates=lenient)
    assert (found.verdict, failed(found)) == ("first", ["best_single_feature"])
    assert "dep_delay alone" in str(found.reason)
    assert it.judge(it.tonight, None).status == "succeeded"


@pytest.mark.parametrize("question", ["minutes", "lateness"])
def test_scores_that_no_working_model_gives(question: str) -> None:
    it = asked_night(FAST, question)
    scores = it.tonight.copy()
    scores[17] = np.nan
    with pytest.raises(ModelError, match=f"for 1 of {len(scores)} rows; the first is row 17"):
        it.judge(scores, it.champion)


def test_probabilities_that_are_no_distribution() -> None:
    it = asked_night(FAST, "lateness")
    with pytest.raises(ModelError, match=r"its probabilities sum to 0\.9"):
        it.judge(0.9 * it.tonight, it.champion)


def test_a_slow_decline_is_stopped_by_the_anchor() -> None:
    """Within the margin of its champion, and far above the error of the champion of a month ago."""
    it = asked_night(FAST, "minutes")
    declined = it.tonight + np.random.default_rng(5).normal(scale=6, size=len(it.holdout))
    days = it.holdout["__time"].dt.dayofyear.to_numpy()
    gain = it.question.task.gain("rmse", it.labels, declined, it.tonight, days, confidence=0.95)
    assert failed(it.judge(declined, declined)) == []
    found = it.judge(declined, declined, anchor=Anchor(1, gain))
    assert failed(found) == ["anchor"]
    assert "higher than that of v1, champion 30 days ago" in str(found.reason)


def test_what_is_better_by_one_error_must_not_be_worse_by_the_other() -> None:
    """Most flights are foretold more closely, and none is ever said to be two hours late."""
    it = asked_night(FAST, "minutes")
    found = it.judge(np.minimum(it.tonight, 110), blurred(it, 9), gates=gates(it, metric="mae"))
    assert found.verdict == "better"
    assert "rmse" in failed(found)
    assert "higher than champion v1's" in str(found.reason)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc_ovr"])
def test_every_metric_of_classes_can_decide(metric: str) -> None:
    it = asked_night(FAST, "lateness")
    bound = {"maximum": 0.9} if metric == "log_loss" else {"minimum": 0.6}
    by = gates(it, metric=metric, minimum=None, **bound) if metric == "log_loss" else gates(it, metric=metric)
    assert it.judge(it.tonight, it.champion, gates=by).status == "succeeded"
    found = it.judge(blind(it), it.champion, gates=by)
    assert found.verdict == "worse"
    assert "champion" in failed(found)


def test_a_class_that_training_knows_must_be_in_the_holdout() -> None:
    import pyarrow as pa

    it = asked_night(FAST, "lateness")
    table = pa.Table.from_pandas(it.holdout.assign(__label=np.minimum(it.labels, 1)), preserve_index=False)
    trained, until = it.question.labels(it.train), it.flights.windows.holdout.start
    found = obstacle_to(
        table, it.question.gates, Multiclass(("early", "as_planned", "late")), trained=trained, fitted_until=until
    )
    assert found == (
        "the holdout has 0 rows of class late that neither has learned from, and it takes 200; make window.holdout longer, "
        "or see gates.versus_champion.least"
    )


@pytest.mark.parametrize("question", ["minutes", "lateness"])
def test_better_by_noise_is_rarely_called_better(question: str) -> None:
    """Pairs of the same model, each with noise of its own: one in forty is expected."""
    it, random = asked_night(FAST, question), np.random.default_rng(11)
    task, margin = it.question.task, it.question.gates.margins.deciding
    days = it.holdout["__time"].dt.dayofyear.to_numpy()

    def again() -> np.ndarray:
        if question == "minutes":
            return it.champion + random.normal(scale=1.0, size=it.champion.shape)
        odds = it.champion.astype(np.float64) * np.exp(random.normal(scale=0.1, size=it.champion.shape))
        return odds / odds.sum(axis=1, keepdims=True)

    pairs = [(again(), again()) for _ in range(40)]
    metric = it.question.gates.metric
    stands = [task.gain(metric, it.labels, *pair, days, confidence=0.95).standing(margin) for pair in pairs]
    assert stands.count("better") <= 3
    assert "worse" not in stands
