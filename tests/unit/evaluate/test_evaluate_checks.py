"""Every check with its name, its number, its bound and its sentence: what a blessing stores and a person reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nightshift.evaluate import checks
from nightshift.evaluate.gate import Anchor, Comparison, FairnessGap, Gains, SliceGain, judge, share_promoted
from nightshift.evaluate.paired import Difference
from nightshift.ledger.blessings import Check
from nightshift.spec.gates import Gates

AUC = Gates(minimum=0.8)
RMSE = Gates.model_validate({"metric": "rmse", "maximum": 25, "versus_champion": {"margin": 0.5}})
GOOD = {"roc_auc": 0.92, "log_loss": 0.27}
BASELINES = {
    "majority": {"roc_auc": 0.5, "log_loss": 0.53},
    "best_single_feature": {"feature": "dep_delay", "roc_auc": 0.9},
}


def surely(value: float, half: float = 0.0) -> Difference:
    """A gain whose interval reaches so far to each side."""
    one = Difference(value, 1.0, 14, 0.95)
    return replace(one, error=half / one.quantile)


def met(deciding: Difference, **changes: Any) -> Comparison:
    gains = Gains(
        deciding,
        changes.pop("second", surely(0.0)),
        changes.pop("calibration", surely(0.0)),
        changes.pop("slices", ()),
    )
    return Comparison(
        7, 12345, 0.92, changes.pop("champion", round(0.92 - deciding.value, 10)), gains, timedelta(days=40), **changes
    )


def told(comparison: Comparison | None, gates: Gates = AUC, **how: Any) -> dict[str, tuple[bool, Any, Any, str]]:
    """Each check by its name: passed, value, bound, text."""
    found = judge(GOOD, BASELINES, comparison, gates, **how).checks
    return {check.name: (check.passed, check.value, check.bound, check.text) for check in found}


def test_what_a_first_model_is_held_against() -> None:
    assert told(None) == {
        "floor": (True, 0.92, 0.8, "ROC AUC 0.9200 reaches the floor of 0.8000."),
        "majority": (True, 0.92, 0.5, "ROC AUC 0.9200 is above the 0.5000 of guessing."),
        "majority_log_loss": (
            True, 0.27, 0.53,
            "Log loss 0.2700 is better than the 0.5300 of always answering with the share of positives.",
        ),
        "best_single_feature": (True, 0.92, 0.9, "ROC AUC 0.9200 is above the 0.9000 of dep_delay alone."),
    }  # fmt: skip


@pytest.mark.parametrize(("value", "passed"), [(0.8, True), (0.79999, False)])
def test_the_floor_itself_is_enough(value: float, passed: bool) -> None:
    assert checks.bound({"roc_auc": value}, AUC).passed is passed
    assert checks.bound({"rmse": 25 + 0.8 - value}, RMSE).passed is passed


def test_to_be_as_good_as_a_guess_or_one_feature_is_not_enough() -> None:
    same = {"roc_auc": 0.5, "log_loss": 0.53}
    assert [check.passed for check in checks.guess(same, same, AUC.decider)] == [False, False]
    assert [check.text.split(" than ")[0].split(" the ")[0] for check in checks.guess(same, same, AUC.decider)] == [
        "ROC AUC 0.5000 is not above",
        "Log loss 0.5300 is no better",
    ]
    single = checks.single_feature({"roc_auc": 0.9}, BASELINES["best_single_feature"], AUC.decider)
    assert (single.passed, single.text) == (False, "ROC AUC 0.9000 is not above the 0.9000 of dep_delay alone.")
    error = checks.single_feature({"rmse": 9.0}, {"feature": "dep_delay", "rmse": 9.0}, RMSE.decider)
    assert (error.passed, error.name, error.value, error.bound) == (False, "best_single_feature", 9.0, 9.0)


def test_a_guess_of_classes_is_the_shares_of_the_classes() -> None:
    accuracy = Gates.model_validate({"metric": "accuracy", "minimum": 0.5}).decider
    found = checks.guess({"accuracy": 0.6, "log_loss": 0.9}, {"accuracy": 0.4, "log_loss": 1.1}, accuracy)
    assert (
        found[-1].text
        == "Log loss 0.9000 is better than the 1.1000 of always answering with the shares of the classes."
    )


def test_what_cannot_be_compared_is_refused_and_says_why() -> None:
    nobody = Comparison(7, 0, None, None, None, obstacle="no rows are left")
    found = told(nobody)
    assert found["champion"] == (False, None, None, "It cannot be compared with champion v7: no rows are left.")
    assert set(found) == {"floor", "majority", "majority_log_loss", "champion"}


def test_the_champion_and_what_must_not_be_worse_either() -> None:
    comparison = met(surely(0.001, 0.002), second=surely(-0.003, 0.001), calibration=surely(0.002, 0.001))
    found = told(comparison)
    assert found["champion"] == (
        True, -0.001, -0.005,
        "ROC AUC 0.9200 is 0.0010 above champion v7's 0.9190 on the same 12,345 rows of 14 days "
        "(95 % interval −0.0010 to +0.0030): not worse by more than 0.0050.",
    )  # fmt: skip
    margins = AUC.margins
    passed, value, bound, text = found["log_loss"]
    assert (value, bound) == (0.003, margins.second)
    assert passed is (margins.second > 0.002)
    assert text.startswith("Log loss is 0.0030 higher than champion v7's (95 % interval +0.0020 to +0.0040): ")
    assert found["calibration"] == (
        True, -0.002, margins.calibration,
        "Calibration error is 0.0020 lower than champion v7's (95 % interval −0.0030 to −0.0010): not worse.",
    )  # fmt: skip
    assert told(met(surely(0.001, 0.002)))["log_loss"][3].startswith("Log loss is equal to champion v7's")


def test_undecided_is_not_worse_enough_for_what_does_not_decide() -> None:
    for name in ("second", "calibration"):
        check = "log_loss" if name == "second" else name
        margin = getattr(AUC.margins, name)
        assert told(met(surely(0.001, 0.002), **{name: surely(-0.9 * margin, 10 * margin)}))[check][0]
        assert not told(met(surely(0.001, 0.002), **{name: surely(-2 * margin, 0.5 * margin)}))[check][0]


def test_what_is_not_measured_is_not_checked() -> None:
    gains = Gains(surely(0.1, 0.01), None, surely(0.0))
    rmse = Comparison(7, 500, 16.0, 16.1, gains)
    found = checks.against(
        rmse,
        Gates.model_validate({"metric": "mae", "maximum": 25, "versus_champion": {"margin": 0.5}}),
        "better",
        refresh=False,
    )
    assert "anchor" not in [check.name for check in found]
    assert [check.name for check in found] == ["champion", "calibration"]
    assert found[1].text.startswith("Bias is equal to champion v7's")


def slices(*uppers: float) -> tuple[SliceGain, ...]:
    """Slices whose intervals have these upper ends, 0.1 wide."""
    return tuple(
        SliceGain("carrier", chr(65 + place), 900 + place, surely(upper - 0.05, 0.05))
        for place, upper in enumerate(uppers)
    )


def test_slices_are_named_worst_numbers_first_and_three_at_most() -> None:
    good = told(met(surely(0.01, 0.001), slices=slices(0.02, 0.01)))["slices"]
    assert good == (True, 0.01, 0.0, "None of 2 slices is worse than champion v7.")
    one = told(met(surely(0.01, 0.001), slices=slices(0.02, -0.01)))["slices"]
    assert one == (
        False, -0.01, 0.0,
        "1 of 2 slices is worse than champion v7: carrier B (901 rows) 0.0600 below (95 % interval −0.1100 to −0.0100).",
    )  # fmt: skip
    many = told(met(surely(0.01, 0.001), slices=slices(-0.01, -0.02, -0.03, -0.04, -0.05)))["slices"]
    assert many[:3] == (False, -0.05, 0.0)
    assert many[3].startswith("5 of 5 slices are worse than champion v7: carrier A (900 rows) 0.0600 below")
    assert many[3].endswith("; and 2 more.")
    assert "carrier C" in many[3]
    assert "carrier D" not in many[3]
    three = told(met(surely(0.01, 0.001), slices=slices(-0.01, -0.02, -0.03)))["slices"]
    assert "more." not in three[3]


@pytest.mark.parametrize(
    ("value", "half", "worse"),
    [(-0.02, 0.01, True), (-0.02, 0.02, False), (-0.002, 0.001, False), (-0.004, 0.001, True), (0.02, 0.01, False)],
)
def test_a_slice_is_worse_where_it_is_surely_below_and_not_surely_within_the_margin(
    value: float, half: float, worse: bool
) -> None:
    assert checks.slice_is_worse(surely(value, half), 0.005) is worse


def test_the_anchor_allows_twice_the_margin_and_no_more() -> None:
    for value, passed in ((-0.01, True), (-0.0101, False), (0.02, True)):
        anchor = Anchor(3, surely(value, 0.001))
        found = told(met(surely(0.001, 0.002), anchor=anchor))["anchor"]
        assert found[:3] == (passed, value, -0.01)
    assert told(met(surely(0.001, 0.002), anchor=Anchor(3, surely(-0.02, 0.001))))["anchor"][3] == (
        "ROC AUC is 0.0200 below that of v3, champion 30 days ago (95 % interval −0.0210 to −0.0190): slow decline; "
        "at most 0.0100 below is allowed."
    )
    assert told(met(surely(0.001, 0.002), anchor=Anchor(3, surely(0.02, 0.001))))["anchor"][3].endswith(
        ": no slow decline."
    )
    gone = told(met(surely(0.001, 0.002), anchor=Anchor(3, None, "its graph is gone")))["anchor"]
    assert gone == (
        True, None, -0.01, "Slow decline was not judged: v3, champion 30 days ago, its graph is gone."
    )  # fmt: skip


def test_declared_slices_that_nobody_judged_are_said() -> None:
    gates = Gates.model_validate({"minimum": 0.8, "slices": ["carrier", "origin"]})
    tied = surely(0.001, 0.002)
    one = SliceGain("carrier", "UA", 900, tied)

    def said(*slices: SliceGain, left: tuple[tuple[str, int], ...] = ()) -> tuple[tuple[str, ...], Check | None]:
        gains = Gains(tied, tied, tied, slices, left)
        found = judge(GOOD, BASELINES, replace(met(tied), gains=gains), gates)
        return found.warnings, next((check for check in found.checks if check.name == "slices"), None)

    none = "Slices by {} were not judged: none has enough rows."
    assert said() == (
        (none.format("carrier"), none.format("origin")),
        Check("slices", True, None, 0.0, "No slice by carrier, origin was judged: none has enough rows."),
    )
    warned, check = said(one)
    assert warned == (none.format("origin"),)
    assert check == Check("slices", True, 0.003, 0.0, "None of 1 slices is worse than champion v7.")
    warned, _ = said(one, replace(one, column="origin"), left=(("origin", 3),))
    assert warned == ("3 slices by origin have enough rows and were not judged: of a column the 50 largest are.",)
    assert judge(GOOD, BASELINES, None, gates).warnings == (), "a first model is held against nobody"


def test_equally_good_models_are_promoted_as_often_as_the_rule_allows() -> None:
    """Asked for better, only the noise above the interval does it: half of what 95 % leaves."""
    noisy = surely(0.3, 0.02)
    better = Gates.model_validate({"minimum": 0.8, "versus_champion": {"rule": "better"}})
    assert share_promoted(noisy, better) == pytest.approx(0.025)
    assert share_promoted(noisy, AUC) == pytest.approx(noisy.share_above(-0.005))
    assert share_promoted(noisy, AUC) > share_promoted(noisy, better)


def test_groups_that_are_alike_enough() -> None:
    gates = Gates.model_validate({"minimum": 0.8, "fairness": {"attribute": "group", "bound": 0.05}})
    gap = FairnessGap(0.05, ("a", 0.8), ("b", 0.75), ("c",))
    assert told(None, gates, fairness=gap)["fairness"] == (
        True, 0.05, 0.05,
        "True positive rate by group is from 0.750 (b) to 0.800 (a), 0.0500 apart; within the allowed 0.0500.",
    )  # fmt: skip
    assert told(None, gates, fairness=replace(gap, gap=0.0501))["fairness"][:3] == (False, 0.0501, 0.05)
    nobody = (
        True, None, 0.05, "True positive rate by group was not judged: fewer than two groups have enough rows."
    )  # fmt: skip
    assert gates.fairness is not None
    for missing in (
        FairnessGap(None), FairnessGap(0.1), FairnessGap(0.1, ("a", 0.8)), FairnessGap(0.1, None, ("b", 0.7))
    ):  # fmt: skip
        assert checks.fairness(missing, gates.fairness) == Check("fairness", *nobody)
    said = judge(GOOD, BASELINES, None, gates, fairness=FairnessGap(None)).warnings
    assert said == ("Fairness by group was not judged: fewer than two groups have enough rows.",)
    assert "fairness" not in told(None, AUC, fairness=gap)


@pytest.mark.parametrize(
    ("gain", "value", "warned"), [(0.05, 0.9, 0), (0.0501, 0.9, 1), (0.0, 0.995, 0), (0.0, 0.9951, 1)]
)
def test_what_is_too_good_is_said_once(gain: float, value: float, warned: int) -> None:
    comparison = met(surely(gain, 0.001))
    assert len(judge({**GOOD, "roc_auc": value}, BASELINES, comparison, AUC).warnings) == warned
    both = judge({**GOOD, "roc_auc": 0.999}, BASELINES, met(surely(0.06, 0.001)), AUC).warnings
    assert len(both) == 1
    assert "in one step" in both[0]


def test_rows_without_a_day_are_told_without_days() -> None:
    deciding = surely(0.01, 0.002)
    of_days, of_rows = (told(met(deciding, unit=unit))["champion"][3] for unit in ("day", "row"))
    assert "on the same 12,345 rows of 14 days (" in of_days
    assert "on the same 12,345 rows (" in of_rows
