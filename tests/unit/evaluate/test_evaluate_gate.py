"""The gate's decision table: every row of it, with the words that a person reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.evaluate.gate import Anchor, Comparison, FairnessGap, Gains, SliceGain, judge, share_promoted
from nightshift.evaluate.paired import Difference
from nightshift.spec.gates import Gates

GATES = Gates(minimum=0.8)
BASELINES = {
    "majority": {"roc_auc": 0.5, "log_loss": 0.53},
    "best_single_feature": {"feature": "dep_delay", "roc_auc": 0.9},
}
GOOD = {"roc_auc": 0.9213, "log_loss": 0.27}
# With 14 days, an interval reaches 2.16 errors to each side: 0.001 gives one of 0.0043 in all.
ERROR = 0.001


def gain(value: float, error: float = ERROR, confidence: float = 0.95) -> Difference:
    return Difference(value, error, 14, confidence)


def against(
    value: float,
    error: float = ERROR,
    *,
    log_loss: Difference | None = None,
    calibration: Difference | None = None,
    slices: tuple[SliceGain, ...] = (),
    age: int = 1,
    anchor: Anchor | None = None,
) -> Comparison:
    gains = Gains(gain(value, error), log_loss or gain(0.0), calibration or gain(0.0), slices)
    return Comparison(7, 12345, 0.9213, round(0.9213 - value, 10), gains, timedelta(days=age), anchor)


NOT_COMPARABLE = Comparison(7, 0, None, None, None, obstacle="no rows are left")


@pytest.mark.parametrize(
    ("challenger", "comparison", "verdict", "status", "failed"),
    [
        (GOOD, None, "first", "succeeded", []),
        ({**GOOD, "roc_auc": 0.7999}, None, "first", "refused", ["floor", "best_single_feature"]),
        ({**GOOD, "roc_auc": 0.9}, None, "first", "refused", ["best_single_feature"]),
        ({**GOOD, "roc_auc": 0.5}, None, "first", "refused", ["floor", "majority", "best_single_feature"]),
        ({**GOOD, "log_loss": 0.53}, None, "first", "refused", ["majority_log_loss"]),
        (GOOD, against(0.01), "better", "succeeded", []),
        (GOOD, against(0.001), "not_worse", "succeeded", []),
        (GOOD, against(-0.002), "not_worse", "succeeded", []),
        (GOOD, against(0.0, 0.0), "not_worse", "succeeded", []),
        (GOOD, against(-0.004), "worse", "refused", ["champion"]),
        (GOOD, against(-0.0051, 0.01), "worse", "refused", ["champion"]),
        (GOOD, against(0.001, 0.01), "undecided", "refused", ["champion"]),
        (GOOD, NOT_COMPARABLE, "not_comparable", "refused", ["champion"]),
        ({**GOOD, "roc_auc": 0.7}, against(0.01), "better", "refused", ["floor"]),
        ({**GOOD, "log_loss": 0.6}, against(0.01), "better", "refused", ["majority_log_loss"]),
        ({**GOOD, "roc_auc": 0.89}, against(0.001), "not_worse", "succeeded", []),
    ],
)
def test_the_decision_table(
    challenger: dict[str, float], comparison: Comparison | None, verdict: str, status: str, failed: list[str]
) -> None:
    found = judge(challenger, BASELINES, comparison, GATES)
    assert (found.verdict, found.status) == (verdict, status)
    assert [check.name for check in found.checks if not check.passed] == failed
    assert (found.reason is None) == (status == "succeeded")


@pytest.mark.parametrize(
    ("comparison", "failed"),
    [
        (against(0.002, log_loss=gain(-0.007)), []),
        (against(0.002, log_loss=gain(-0.009)), ["log_loss"]),
        (against(0.01, log_loss=gain(-0.011, 0.1)), ["log_loss"]),
        (against(0.002, log_loss=gain(-0.009, 0.01)), []),
        (against(0.002, calibration=gain(-0.015)), []),
        (against(0.002, calibration=gain(-0.03)), ["calibration"]),
        (against(0.002, anchor=Anchor(3, gain(-0.01))), []),
        (against(0.002, anchor=Anchor(3, gain(-0.0101))), ["anchor"]),
        (against(0.002, anchor=Anchor(3, None, "its graph is gone")), []),
        (against(0.002, slices=(SliceGain("carrier", "UA", 900, gain(-0.004, 0.002)),)), []),
        (against(0.002, slices=(SliceGain("carrier", "UA", 900, gain(-0.002, 0.0005)),)), []),
        (against(0.002, slices=(SliceGain("carrier", "UA", 900, gain(-0.03, 0.005)),)), ["slices"]),
    ],
)
def test_what_else_must_not_be_worse(comparison: Comparison, failed: list[str]) -> None:
    found = judge(GOOD, BASELINES, comparison, GATES)
    assert [check.name for check in found.checks if not check.passed] == failed
    assert found.status == ("refused" if failed else "succeeded")


# -- rule and age -----------------------------------------------------------------------------------------------

BETTER = Gates.model_validate({"minimum": 0.8, "versus_champion": {"rule": "better"}})


@pytest.mark.parametrize(
    ("value", "error", "status"), [(0.01, 0.001, "succeeded"), (0.001, 0.001, "refused"), (0.0, 0.0, "refused")]
)
def test_a_spec_may_demand_better(value: float, error: float, status: str) -> None:
    assert judge(GOOD, BASELINES, against(value, error), BETTER).status == status


@pytest.mark.parametrize(
    ("gates", "value", "error", "age", "refresh"),
    [
        (GATES, 0.000, 0.01, 31, True),
        (GATES, -0.0049, 0.01, 31, True),
        (GATES, 0.000, 0.01, 30, False),
        (GATES, -0.005, 0.01, 400, False),
        (GATES, -0.004, 0.001, 400, False),
        (Gates(minimum=0.8, max_age=None), 0.0, 0.01, 400, False),
        (Gates.model_validate({"minimum": 0.8, "max_age": "90d"}), 0.0, 0.01, 91, True),
        (BETTER, 0.0, 0.01, 31, True),
        (BETTER, 0.002, 0.001, 31, True),
        (BETTER, -0.001, 0.001, 31, True),
        (BETTER, 0.0, 0.0, 31, True),
        (BETTER, 0.002, 0.001, 30, False),
        (BETTER, -0.0051, 0.01, 400, False),
        (BETTER, -0.004, 0.001, 400, False),
    ],
)
def test_an_old_champion_gives_way_to_a_challenger_within_the_margin(
    gates: Gates, value: float, error: float, age: int, refresh: bool
) -> None:
    found = judge(GOOD, BASELINES, against(value, error, age=age), gates)
    assert (found.refresh, found.status) == (refresh, "succeeded" if refresh else "refused")


def test_what_is_promoted_anyway_is_no_refresh() -> None:
    for value in (0.001, 0.01):
        assert not judge(GOOD, BASELINES, against(value, age=400), GATES).refresh
    assert not judge(GOOD, BASELINES, against(0.01, age=400), BETTER).refresh


@given(
    value=st.floats(-0.01, 0.01), error=st.floats(0.0001, 0.02), age=st.integers(0, 60), gain_more=st.floats(0, 0.01)
)
def test_a_gain_that_is_larger_never_refuses_what_a_smaller_one_promotes(
    value: float, error: float, age: int, gain_more: float
) -> None:
    for gates in (GATES, BETTER):
        lower, higher = (
            judge(GOOD, BASELINES, against(gained, error, age=age), gates).status
            for gained in (value, value + gain_more)
        )
        assert (lower, higher) != ("succeeded", "refused")


def test_age_alone_never_promotes() -> None:
    """Whatever else refuses, refuses an old champion's challenger too."""
    old = against(0.0, 0.01, age=400)
    assert judge({**GOOD, "roc_auc": 0.7}, BASELINES, old, GATES).status == "refused"
    assert judge(GOOD, BASELINES, replace(NOT_COMPARABLE, age=timedelta(days=400)), GATES).status == "refused"
    found = judge(GOOD, BASELINES, against(0.0, 0.01, age=400, log_loss=gain(-0.1)), GATES)
    assert (found.refresh, found.status) == (False, "refused")


# -- words ------------------------------------------------------------------------------------------------------


def reason(challenger: dict[str, Any], comparison: Comparison | None) -> str | None:
    return judge(challenger, BASELINES, comparison, GATES).reason


def test_a_refusal_names_the_numbers_and_says_that_the_champion_stays() -> None:
    assert reason(GOOD, against(-0.0187, 0.002)) == (
        "ROC AUC 0.9213 is 0.0187 below champion v7's 0.9400 on the same 12,345 rows of 14 days (95 % interval −0.0230 "
        "to −0.0144): worse; at most 0.0050 below is allowed. Champion v7 stays."
    )
    assert reason(GOOD, against(0.002, 0.01)) == (
        "ROC AUC 0.9213 is 0.0020 above champion v7's 0.9193 on the same 12,345 rows of 14 days (95 % interval −0.0196 "
        "to +0.0236): undecided; it may be more than 0.0050 below. Champion v7 stays."
    )
    assert reason({**GOOD, "roc_auc": 0.79}, None) == (
        "ROC AUC 0.7900 is below the floor of 0.8000. ROC AUC 0.7900 is not above the 0.9000 of dep_delay alone."
    )
    assert reason({**GOOD, "log_loss": 0.6}, None) == (
        "Log loss 0.6000 is no better than the 0.5300 of always answering with the share of positives."
    )
    assert reason(GOOD, NOT_COMPARABLE) == (
        "It cannot be compared with champion v7: no rows are left. Champion v7 stays."
    )
    assert reason(GOOD, against(0.002, log_loss=gain(-0.02))) == (
        "Log loss is 0.0200 higher than champion v7's (95 % interval +0.0178 to +0.0222): worse; at most 0.0100 higher "
        "is allowed. Champion v7 stays."
    )
    slices = tuple(SliceGain("carrier", name, 900, gain(-0.1, 0.01, 0.99)) for name in ("AA", "UA"))
    assert reason(GOOD, against(0.002, slices=slices)) == (
        "2 of 2 slices are worse than champion v7: carrier AA (900 rows) 0.1000 below (99 % interval −0.1301 to "
        "−0.0699); carrier UA (900 rows) 0.1000 below (99 % interval −0.1301 to −0.0699). Champion v7 stays."
    )
    assert reason(GOOD, against(0.002, anchor=Anchor(3, gain(-0.02)))) == (
        "ROC AUC is 0.0200 below that of v3, champion 30 days ago (95 % interval −0.0222 to −0.0178): slow decline; at "
        "most 0.0100 below is allowed. Champion v7 stays."
    )


def test_a_success_has_one_sentence_too() -> None:
    assert judge(GOOD, BASELINES, None, GATES).sentence == (
        "ROC AUC 0.9213 reaches the floor of 0.8000. It is the first champion."
    )
    assert judge(GOOD, BASELINES, against(0.01), GATES).sentence == (
        "ROC AUC 0.9213 is 0.0100 above champion v7's 0.9113 on the same 12,345 rows of 14 days (95 % interval +0.0078 "
        "to +0.0122): better."
    )
    assert judge(GOOD, BASELINES, against(0.0, 0.0), GATES).sentence == (
        "ROC AUC 0.9213 is equal to champion v7 on the same 12,345 rows of 14 days (95 % interval 0.0000 to 0.0000): "
        "not worse by more than 0.0050."
    )
    assert judge(GOOD, BASELINES, against(0.0, 0.01, age=34), GATES).sentence.endswith(
        ": undecided, and it replaces a champion of 34 days, older than max_age 30d."
    )
    assert judge(GOOD, BASELINES, against(0.001, age=34), BETTER).sentence.endswith(
        ": not worse by more than 0.0050, and it replaces a champion of 34 days, older than max_age 30d."
    )
    assert str(judge(GOOD, BASELINES, against(0.001), BETTER).reason).endswith(
        ": not worse by more than 0.0050, and the rule asks for better. Champion v7 stays."
    )


def test_numbers_that_differ_look_different() -> None:
    found = judge({**GOOD, "roc_auc": 0.799999}, BASELINES, against(0.01), GATES)
    assert found.reason == "ROC AUC 0.799999 is below the floor of 0.800000. Champion v7 stays."
    near = replace(gain(0.0), error=0.0050007 / gain(0.0).quantile)
    close = replace(against(0.0), gains=Gains(near, gain(0.0), gain(0.0)))
    assert "(95 % interval −0.005001 to +0.005001): undecided" in str(reason(GOOD, close))


def test_what_is_strange_is_said_and_refuses_nothing() -> None:
    jump = judge(GOOD, BASELINES, against(0.06), GATES)
    assert (jump.status, len(jump.warnings)) == ("succeeded", 1)
    assert jump.warnings[0].startswith("ROC AUC rose by 0.0600 in one step: suspicious.")
    perfect = judge({**GOOD, "roc_auc": 0.9971}, BASELINES, None, GATES)
    assert perfect.warnings == ("ROC AUC 0.9971 is suspicious. Look for a column that knows the answer.",)
    lost = judge(GOOD, BASELINES, against(0.001, anchor=Anchor(3, None, "its graph is gone")), GATES)
    assert lost.warnings == ("Slow decline was not judged: v3, its graph is gone.",)
    assert judge(GOOD, BASELINES, against(0.001), GATES).warnings == ()


def test_groups_must_be_alike_where_the_spec_says_so() -> None:
    gates = Gates.model_validate({"minimum": 0.8, "fairness": {"attribute": "group", "bound": 0.05}})
    apart = FairnessGap(0.06, ("a", 0.81), ("b", 0.75))
    found = judge(GOOD, BASELINES, None, gates, fairness=apart)
    assert found.reason == (
        "True positive rate by group is from 0.750 (b) to 0.810 (a), 0.0600 apart; allowed is 0.0500."
    )
    assert judge(GOOD, BASELINES, None, gates, fairness=replace(apart, gap=0.05)).status == "succeeded"
    alone = judge(GOOD, BASELINES, None, gates, fairness=FairnessGap(None))
    assert (alone.status, len(alone.warnings)) == ("succeeded", 1)


# -- laws -------------------------------------------------------------------------------------------------------


@given(
    value=st.floats(-0.2, 0.2),
    error=st.floats(0, 0.1),
    loss=st.floats(-0.2, 0.2),
    margin=st.floats(0.0, 0.1).map(lambda number: round(number, 4)),
    age=st.integers(0, 1000),
)
def test_nothing_further_below_than_the_margin_ever_replaces_the_champion(
    value: float, error: float, loss: float, margin: float, age: int
) -> None:
    gates = Gates.model_validate({"minimum": 0, "versus_champion": {"margin": margin}})
    found = judge(GOOD, BASELINES, against(value, error, log_loss=gain(loss), age=age), gates)
    if found.status == "succeeded":
        assert value >= -margin
        assert loss >= -gates.margins.second
        assert found.verdict in ("better", "not_worse") or (found.refresh and age > 30)
    assert found.refresh <= (found.status == "succeeded")


@given(error=st.floats(0.0001, 0.05), margin=st.floats(0.0001, 0.1))
def test_a_larger_margin_or_less_noise_promotes_more_often(error: float, margin: float) -> None:
    def share(error: float, margin: float) -> float:
        return share_promoted(
            gain(0.0, error), Gates.model_validate({"minimum": 0, "versus_champion": {"margin": margin}})
        )

    assert share(error, margin * 1.5) >= share(error, margin)
    assert share(error / 2, margin) >= share(error, margin)
    assert share_promoted(gain(0.0, error), BETTER) == pytest.approx(0.025)
