"""The gate's decision table: every row of it, with the words that a person reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.evaluate.gate import Comparison, judge
from nightshift.spec.models import Gates

GATES = Gates(minimum=0.8)
MAJORITY = {"roc_auc": 0.5, "log_loss": 0.53}
GOOD = {"roc_auc": 0.9213, "log_loss": 0.27}


def against(challenger: float, champion: float, rows: int = 12345) -> Comparison:
    return Comparison(champion_version=7, rows=rows, challenger=challenger, champion=champion)


@pytest.mark.parametrize(
    ("challenger", "comparison", "verdict", "status", "failed"),
    [
        (GOOD, None, "first", "succeeded", []),
        (GOOD, against(0.9213, 0.91), "better", "succeeded", []),
        (GOOD, against(0.9213, 0.9213), "not_worse", "succeeded", []),
        (GOOD, against(0.9213, 0.9263), "not_worse", "succeeded", []),
        (GOOD, against(0.9213, 0.9263000001), "worse", "refused", ["champion"]),
        (GOOD, Comparison(7, 0, None, None, "no rows are left"), "not_comparable", "refused", ["champion"]),
        ({**GOOD, "roc_auc": 0.7999}, None, "first", "refused", ["floor"]),
        ({**GOOD, "roc_auc": 0.8}, None, "first", "succeeded", []),
        ({**GOOD, "roc_auc": 0.5}, None, "first", "refused", ["floor", "majority"]),
        ({**GOOD, "log_loss": 0.53}, None, "first", "refused", ["majority_log_loss"]),
        ({**GOOD, "log_loss": 0.6}, against(0.9213, 0.90), "better", "refused", ["majority_log_loss"]),
        ({**GOOD, "roc_auc": 0.7}, against(0.7, 0.9), "worse", "refused", ["floor", "champion"]),
    ],
)
def test_the_decision_table(
    challenger: dict[str, float], comparison: Comparison | None, verdict: str, status: str, failed: list[str]
) -> None:
    found = judge(challenger, MAJORITY, comparison, GATES)
    assert (found.verdict, found.status) == (verdict, status)
    assert [check.name for check in found.checks if not check.passed] == failed
    assert (found.reason is None) == (status == "succeeded")


def reason(challenger: dict[str, Any], comparison: Comparison | None) -> str | None:
    return judge(challenger, MAJORITY, comparison, GATES).reason


def test_a_refusal_names_the_numbers_and_says_that_the_champion_stays() -> None:
    assert reason({**GOOD, "roc_auc": 0.9011}, against(0.9011, 0.9198)) == (
        "ROC AUC 0.9011 is 0.0187 below champion v7's 0.9198 on the same 12,345 rows; at most 0.0050 below is allowed. "
        "Champion v7 stays."
    )
    assert reason({**GOOD, "roc_auc": 0.79}, None) == "ROC AUC 0.7900 is below the floor of 0.8000."
    assert reason({**GOOD, "log_loss": 0.6}, None) == (
        "Log loss 0.6000 is no better than the 0.5300 of always answering with the share of positives."
    )
    assert reason(GOOD, Comparison(7, 0, None, None, "the request lacks column wind")) == (
        "It cannot be compared with champion v7: the request lacks column wind. Champion v7 stays."
    )


def test_a_success_has_one_sentence_too() -> None:
    assert judge(GOOD, MAJORITY, None, GATES).sentence == (
        "ROC AUC 0.9213 reaches the floor of 0.8000. It is the first champion."
    )
    assert judge(GOOD, MAJORITY, against(0.9213, 0.9198), GATES).sentence == (
        "ROC AUC 0.9213 is 0.0015 above champion v7's 0.9198 on the same 12,345 rows."
    )
    assert judge(GOOD, MAJORITY, against(0.9213, 0.9213), GATES).sentence == (
        "ROC AUC 0.9213 is equal to champion v7 on the same 12,345 rows."
    )


def test_numbers_that_differ_look_different() -> None:
    assert reason({**GOOD, "roc_auc": 0.799999}, None) == "ROC AUC 0.799999 is below the floor of 0.800000."


@given(
    champion=st.floats(0.5, 1.0),
    challenger=st.floats(0.0, 1.0),
    margin=st.floats(0.0, 0.1).map(lambda value: round(value, 4)),
)
def test_the_champion_is_never_replaced_by_more_than_the_margin_below(
    champion: float, challenger: float, margin: float
) -> None:
    gates = Gates.model_validate({"minimum": 0, "versus_champion": {"margin": margin}})
    found = judge({"roc_auc": challenger, "log_loss": 0.1}, MAJORITY, against(challenger, champion), gates)
    if found.status == "succeeded":
        assert challenger >= champion - margin - 1e-9
    elif challenger > 0.5:
        assert challenger < champion - margin + 1e-9
