"""Numbers as people read them, and the right side of more and less."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.evaluate.gate import Anchor, Comparison, Gains, SliceGain, judge
from nightshift.evaluate.paired import Difference
from nightshift.evaluate.wording import apart, decimals_for, interval, number, relation, signed
from nightshift.spec.gate_metrics import METRICS
from nightshift.spec.gates import Gates

GATES = Gates.model_validate({"metric": "rmse", "maximum": 25, "versus_champion": {"margin": 0.5}})
BASELINES = {
    "majority": {"mean": 2.0, "median": 0.0, "rmse": 37.7, "mae": 21.9},
    "best_single_feature": {"feature": "dep_delay", "rmse": 16.3},
}
GOOD = {"rmse": 15.962, "mae": 11.54, "r2": 0.82}


def gain(value: float, error: float = 0.05) -> Difference:
    return Difference(value, error, 14, 0.95)


def against(value: float, error: float = 0.05, **changes: object) -> Comparison:
    gains = Gains(gain(value, error), gain(0.0), gain(0.0), changes.pop("slices", ()))  # type: ignore[arg-type]
    return Comparison(7, 12345, 15.962, 15.962 + value, gains, timedelta(days=1), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "error", "verdict", "status", "words"),
    [
        (0.31, 0.05, "better", "succeeded", "RMSE 15.962 is 0.3100 lower than champion v7's 16.272 on the same"),
        (-0.31, 0.05, "not_worse", "succeeded", "RMSE 15.962 is 0.3100 higher than champion v7's 15.652 on the same"),
        (0.31, 0.05, "better", "succeeded", "(lower is better; 95 % interval −0.4180 to −0.2020): better."),
        (-0.6, 0.05, "worse", "refused", "+0.4920 to +0.7080): worse; at most 0.5000 higher is allowed."),
        (0.1, 0.5, "undecided", "refused", "undecided; it may be more than 0.5000 higher."),
        (0.0, 0.0, "not_worse", "succeeded", "RMSE 15.962 is equal to champion v7 on the same"),
    ],
)
def test_an_error_that_falls_is_a_gain(value: float, error: float, verdict: str, status: str, words: str) -> None:
    found = judge(GOOD, BASELINES, against(value, error), GATES)
    assert (found.verdict, found.status) == (verdict, status)
    assert words in found.sentence
    check = next(one for one in found.checks if one.name == "champion")
    assert (check.value, check.bound) == (-gain(value, error).lower, 0.5)


def test_a_rule_that_asks_for_better_has_its_bound_at_zero() -> None:
    raw = {**GATES.model_dump(mode="json"), "versus_champion": {"margin": 0.5, "rule": "better"}}
    found = judge(GOOD, BASELINES, against(-0.1), Gates.model_validate(raw))
    assert next(one.bound for one in found.checks if one.name == "champion") == 0.0
    assert "and the rule asks for better" in found.sentence


def test_ceiling_guess_and_single_feature() -> None:
    found = judge(GOOD, BASELINES, None, GATES)
    assert [(check.name, check.passed) for check in found.checks] == [
        ("ceiling", True),
        ("constant", True),
        ("best_single_feature", True),
    ]
    assert found.sentence == "RMSE 15.962 is within the ceiling of 25.000. It is the first champion."
    poor = judge({"rmse": 40.0, "mae": 22.0, "r2": -0.1}, BASELINES, None, GATES)
    assert poor.reason == (
        "RMSE 40.000 is above the ceiling of 25.000. RMSE 40.000 is no better than the 37.700 of always answering with the "
        "mean. RMSE 40.000 is not below the 16.300 of dep_delay alone."
    )


def test_slices_and_anchor_of_an_error() -> None:
    slices = (SliceGain("carrier", "MQ", 900, gain(-2.0)),)
    found = judge(GOOD, BASELINES, against(0.3, slices=slices, anchor=Anchor(3, gain(-1.2))), GATES)
    assert found.reason == (
        "1 of 1 slices is worse than champion v7: carrier MQ (900 rows) 2.0000 higher (95 % interval +1.8920 to +2.1080). "
        "RMSE is 1.2000 higher than that of v3, champion 30 days ago (95 % interval +1.0920 to +1.3080): slow decline; at "
        "most 1.0000 higher is allowed. Champion v7 stays."
    )
    bounds = {check.name: (check.value, check.bound) for check in found.checks}
    assert bounds["anchor"] == (1.2, 1.0)


def test_an_error_that_falls_too_far_is_strange() -> None:
    assert (
        judge(GOOD, BASELINES, against(4.2), GATES)
        .warnings[0]
        .startswith("RMSE fell by 4.2000 in one step: suspicious.")
    )
    assert judge(GOOD, BASELINES, against(3.0), GATES).warnings == ()
    assert judge({**GOOD, "r2": 0.9971}, BASELINES, None, GATES).warnings == (
        "R² 0.9971 is suspicious. Look for a column that knows the answer.",
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.5000"),
        (9.9, "9.9000"),
        (12.3456, "12.346"),
        (123.456, "123.46"),
        (1234567.8, "1234568"),
        (1e-6, "0.000001"),
    ],
)
def test_large_numbers_have_fewer_decimals(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_numbers_that_differ_look_different(one: float, other: float) -> None:
    texts = apart(one, other)
    assert (texts[0] != texts[1]) or abs(one - other) < 1e-9
    assert 0 <= decimals_for(one, other) <= 4


@given(st.floats(-100, 100), st.floats(0, 10))
def test_an_interval_of_an_error_is_that_of_the_gain_turned_around(value: float, error: float) -> None:
    found = gain(value, error)
    up, down = (interval(found, METRICS[name]) for name in ("accuracy", "rmse"))
    ends = [text.removeprefix("95 % interval ").split(" to ") for text in (up, down)]
    turned = [end.translate(str.maketrans("+−", "−+")) for end in reversed(ends[1])]
    assert ends[0] == turned
    assert relation(value, METRICS["accuracy"]) == ("above" if value >= 0 else "below")
    assert signed(0.0) == "0.0000"
