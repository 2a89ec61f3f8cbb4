"""The evaluate stage on real small models: the champion on the same rows, and what must never be compared."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.trained_night import FIRST, Night, gates, promote, small_plan, small_spec, trained_night

from nightshift import evaluate
from nightshift.errors import DataError, IntegrityError, ModelError
from nightshift.ledger import Ledger, Waiver, blessings
from nightshift.ledger.entries import BY_HAND
from nightshift.model.session import Scorer
from nightshift.stage import StageResult

pytestmark = pytest.mark.thorough

SECOND = FIRST + timedelta(days=1)


def evaluation_of(night: Night) -> dict[str, Any]:
    return json.loads(night.store.read(night.io.given("evaluate"), "evaluation.json"))


def champion_of(root: Path, night: date = FIRST, **preprocess: Any) -> Night:
    found = trained_night(root, night, **preprocess)
    promote(found, 1)
    return found


def evaluated(root: Path, night: date = SECOND, **preprocess: Any) -> tuple[Night, StageResult]:
    return trained_night(root, night, **preprocess).run(evaluate)


def test_the_first_model_is_judged_by_floors_and_baselines(tmp_path: Path) -> None:
    night, result = evaluated(tmp_path)
    assert (result.status, result.reason, result.reused) == ("succeeded", None, False)
    assert (result.summary["verdict"], result.summary["champion"], result.summary["champion_version"]) == (
        "first",
        None,
        None,
    )
    found = evaluation_of(night)
    assert found["champion"] is None
    assert found["challenger"]["metrics"]["roc_auc"] > 0.8
    assert found["baselines"]["best_single_feature"]["feature"] == "weight"
    assert found["holdout"]["rows"] == 750
    assert {one["value"] for one in found["slices"]} == {"air", "road", "sea", "null"}
    assert sum(one["share"] for one in found["importances"]) == pytest.approx(1)
    assert found["importances"][0]["feature"] == "weight"
    told = found["explanation"]
    assert (told["method"], told["unit"], told["rows"], told["slices"]) == ("tree_shap", "log-odds", 500, [])
    assert [one["column"] for one in told["columns"]] == ["weight", "lane", "distance"]

    scores = night.store.read_table(night.io.given("evaluate"), "scores")
    assert scores.column_names == ["parcel", "__label", "__challenger", "__champion"]
    assert scores.column("__champion").null_count == 750


def test_golden_rows_are_of_both_kinds_and_reproduce(tmp_path: Path) -> None:
    night, _ = evaluated(tmp_path)
    golden = night.store.read_table(night.io.given("evaluate"), "golden")
    assert len(golden) == 3 + 47
    assert golden.column("lane").to_pylist()[:3] == [None, "rail", ""]
    again = Scorer.load(night.store.read(night.io.given("train"), "graph.onnx")).score(golden)
    assert np.array_equal(again, golden.column("__score").to_numpy())


def test_the_champion_is_scored_on_the_same_rows(tmp_path: Path) -> None:
    champion_of(tmp_path)
    night, result = evaluated(tmp_path)
    found = evaluation_of(night)
    assert result.summary["champion_version"] == 1
    assert found["champion"]["rows"] == 750
    assert found["champion"]["challenger_on_same_rows"] == found["challenger"]["metrics"]
    assert found["champion"]["difference"] == round(
        found["challenger"]["metrics"]["roc_auc"] - found["champion"]["metrics"]["roc_auc"], 10
    )
    assert result.summary["champion"] == found["champion"]["metrics"]
    assert night.store.read_table(night.io.given("evaluate"), "scores").column("__champion").null_count == 0


def test_a_poisoned_challenger_is_refused(tmp_path: Path) -> None:
    """The gate must gate: a model that learned from labels of which many are wrong does not ship."""
    champion_of(tmp_path)
    _, result = evaluated(tmp_path, flipped=0.48)
    assert (result.status, result.summary["verdict"]) == ("refused", "worse")
    assert result.reason is not None
    assert "Champion v1 stays." in result.reason


def test_a_constant_model_is_no_better_than_majority(tmp_path: Path) -> None:
    def nothing_to_learn(columns: dict[str, Any]) -> dict[str, Any]:
        return {**columns, "weight": [0.0] * 1750, "distance": [0.0] * 1750, "lane": ["air"] * 1750}

    _, result = evaluated(tmp_path, training=nothing_to_learn)
    assert result.status == "refused"
    assert result.reason is not None
    assert "ROC AUC 0.5000 is not above the 0.5000 of guessing." in result.reason


def test_the_same_night_again_is_reused_even_after_its_own_promotion(tmp_path: Path) -> None:
    champion_of(tmp_path)
    night, first = evaluated(tmp_path)
    promote(night, 2)
    _, again = night.run(evaluate)
    assert (again.reused, again.ref) == (True, first.ref)


def test_another_champion_means_another_evaluation(tmp_path: Path) -> None:
    night, first = evaluated(tmp_path)
    champion_of(tmp_path)
    _, again = night.run(evaluate)
    assert not again.reused
    assert again.ref != first.ref
    assert again.summary["champion_version"] == 1


def test_an_evaluation_has_the_same_digest_wherever_it_is_made(tmp_path: Path) -> None:
    made = [evaluated(tmp_path / place)[1].ref for place in ("here", "there")]
    assert made[0] == made[1]


def test_a_champion_of_a_later_night_is_no_opponent(tmp_path: Path) -> None:
    champion_of(tmp_path, SECOND)
    _, result = evaluated(tmp_path, FIRST)
    assert (result.status, result.summary["champion_version"]) == ("succeeded", None)


def test_a_champion_that_needs_a_column_the_holdout_lacks_stays(tmp_path: Path) -> None:
    champion_of(tmp_path)

    spec = small_spec(features={"numeric": ["weight"], "categorical": ["lane"]})

    def without_distance(columns: dict[str, Any]) -> dict[str, Any]:
        return {name: values for name, values in columns.items() if name != "distance"}

    _, result = trained_night(tmp_path, plan=small_plan(tmp_path, SECOND, spec=spec), holdout=without_distance).run(
        evaluate
    )
    assert (result.status, result.summary["verdict"]) == ("refused", "not_comparable")
    assert result.reason is not None
    assert "champion v1" in result.reason
    assert "distance" in result.reason


def test_rows_that_the_champion_learned_from_are_left_out(tmp_path: Path) -> None:
    """A champion with a shorter holdout has seen the first days of the challenger's."""
    short, long = (small_spec(window={"train": "7d", "holdout": days}) for days in ("2d", "4d"))
    promote(trained_night(tmp_path, plan=small_plan(tmp_path, FIRST, spec=short)), 1)
    night, result = trained_night(tmp_path, plan=small_plan(tmp_path, SECOND, spec=long)).run(evaluate)
    found = evaluation_of(night)
    assert result.summary["verdict"] != "not_comparable"
    assert (found["champion"]["rows"], found["champion"]["rows_left_out"]) == (750, 250)
    assert found["champion"]["challenger_on_same_rows"]["rows"] == 750
    assert night.store.read_table(night.io.given("evaluate"), "scores").column("__champion").null_count == 250


def test_a_champion_that_has_seen_every_row_is_not_compared(tmp_path: Path) -> None:
    window = {"train": "7d", "holdout": "2d"}
    recent, spec = (
        small_spec(label={"column": "days_late", "positive": ">= 1", "delay": delay}, window=window)
        for delay in ("0d", "2d")
    )
    promote(trained_night(tmp_path, plan=small_plan(tmp_path, SECOND, spec=recent)), 1)
    _, result = trained_night(tmp_path, plan=small_plan(tmp_path, SECOND, spec=spec)).run(evaluate)
    assert (result.status, result.summary["verdict"]) == ("refused", "not_comparable")
    assert result.reason is not None
    assert "no rows lie after 2024-03-01" in result.reason


def test_a_champion_whose_file_was_changed_is_not_loaded(tmp_path: Path) -> None:
    champion = champion_of(tmp_path)
    path = champion.store.objects.local_path(f"{champion.io.given('train').folder}/graph.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="has other bytes than were published"):
        evaluated(tmp_path)


def test_a_damaged_champion_is_named_and_its_night_is_not_to_be_run_again(tmp_path: Path) -> None:
    """To delete what the ledger names, as for a damaged input, would only lead to the next error."""
    night = champion_of(tmp_path)
    night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx").unlink()
    with pytest.raises(IntegrityError) as caught:
        evaluated(tmp_path)
    assert caught.value.message.startswith("champion v1 is damaged, and nothing can be compared with it: ")
    assert "graph.onnx is gone" in caught.value.message
    assert caught.value.hint == (
        "go back to another version with nightshift rollback MODEL, or restore the file from a backup or an older "
        "object version; then run the night again"
    )


def test_a_ledger_that_names_another_graph_is_refused(tmp_path: Path) -> None:
    night = trained_night(tmp_path, FIRST)
    promote(night, 1, digest="0" * 64)
    with pytest.raises(IntegrityError, match="is on record"):
        evaluated(tmp_path)


@pytest.mark.parametrize(("label", "words"), [(0, "negative"), (1, "positive")])
def test_a_holdout_of_one_class_fails_the_night(tmp_path: Path, label: int, words: str) -> None:
    with pytest.raises(DataError, match=f"all of them are {words}"):
        evaluated(tmp_path, holdout=lambda columns: {**columns, "__label": [label] * 750})


def test_scores_that_are_no_numbers_fail_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = trained_night(tmp_path)
    monkeypatch.setattr(Scorer, "score", lambda self, data: np.full(len(data), np.nan, np.float32))
    with pytest.raises(ModelError, match="the challenger gives a score that is no probability for 750 of 750 rows"):
        night.run(evaluate)


def test_golden_rows_that_are_no_numbers_fail_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = trained_night(tmp_path)
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, data: score(self, data) * (np.nan if len(data) <= 50 else 1))
    with pytest.raises(ModelError, match="of the golden rows"):
        night.run(evaluate)
    assert night.store.latest("evaluate", night.plan.interval.key) is None


# -- anchor, age, waiver, fairness: through the whole stage ---------------------------------------------------------


def later(days: int) -> date:
    return FIRST + timedelta(days=days)


def test_the_champion_of_a_month_ago_is_the_anchor(tmp_path: Path) -> None:
    promote(trained_night(tmp_path, FIRST), 1)
    promote(trained_night(tmp_path, later(20)), 2)
    night, result = evaluated(tmp_path, later(31))
    found = evaluation_of(night)["champion"]
    assert (found["version"], found["age_days"], found["anchor"]["version"]) == (2, 11, 1)
    assert found["anchor"]["gain"]["days"] == 3
    check = evaluation_of(night)["checks"][-1]
    assert check["name"] == "anchor"
    assert " that of v1, champion 30 days ago (" in check["text"]
    assert result.summary["warnings"] == ["Slices by lane were not judged: none has enough rows."]


def test_what_a_person_promoted_is_the_anchor_and_is_called_that(tmp_path: Path) -> None:
    promote(trained_night(tmp_path, FIRST), 1)
    promote(trained_night(tmp_path, later(20)), 2, run_key=f"{BY_HAND}v2")
    promote(trained_night(tmp_path, later(30)), 3)
    night, _ = evaluated(tmp_path, later(31))
    check = evaluation_of(night)["checks"][-1]
    assert check["name"] == "anchor"
    assert " that of v2, promoted by a person 11 days ago (" in check["text"]


def test_a_champion_that_stayed_for_a_month_needs_no_anchor(tmp_path: Path) -> None:
    promote(trained_night(tmp_path, FIRST), 1)
    night, _ = evaluated(tmp_path, later(40))
    found = evaluation_of(night)["champion"]
    assert (found["version"], found["age_days"], found["anchor"]) == (1, 40, None)


def test_an_anchor_whose_graph_is_gone_is_said_and_fails_nothing(tmp_path: Path) -> None:
    old = trained_night(tmp_path, FIRST)
    promote(old, 1)
    promote(trained_night(tmp_path, later(20)), 2)
    old.store.objects.local_path(f"{old.io.given('train').folder}/graph.onnx").unlink()
    night, result = evaluated(tmp_path, later(31))
    assert evaluation_of(night)["champion"]["anchor"]["gain"] is None
    assert result.summary["warnings"][-1].startswith("Slow decline was not judged: v1, cannot be scored: ")
    anchor = next(check for check in evaluation_of(night)["checks"] if check["name"] == "anchor")
    assert anchor["passed"]
    assert "not judged" in anchor["text"]


def test_the_verdict_is_stored_as_the_quality_blessing(tmp_path: Path) -> None:
    champion_of(tmp_path)
    for flipped, verdict in ((0.0, "passed"), (0.48, "failed")):
        night, _ = evaluated(tmp_path, flipped=flipped)
        found = blessings.read(night.store, night.io.given("evaluate"))
        assert (found.kind, found.verdict, found.evidence) == ("quality", verdict, "evaluation.json")
        assert found.about == night.io.given("train").file("graph.onnx").sha256
        assert [vars(check) for check in found.checks] == evaluation_of(night)["checks"]


def test_a_waiver_lets_a_refused_challenger_go_on_and_says_so(tmp_path: Path) -> None:
    champion_of(tmp_path)
    night, refused = evaluated(tmp_path, flipped=0.48)
    failed = blessings.read(night.store, night.io.given("evaluate")).failed
    waiver = Waiver(night.plan.interval.key, "quality", "2999-12-31", tuple(check.name for check in failed))
    Ledger(night.store).waive(waiver, reason="the label changed.", by="ada")
    _, result = night.run(evaluate)
    assert (refused.status, result.status, result.reused) == ("refused", "succeeded", False)
    assert result.reason is None
    sentence = result.summary["sentence"]
    assert sentence.startswith("Waived by ada: the label changed. What failed: ROC AUC ")
    assert (str(refused.reason).endswith("Champion v1 stays."), "stays" in sentence) == (True, False)
    assert (result.summary["verdict"], result.summary["waived_by"]) == ("worse", "ada")
    stored = night.store.resolve(result.ref)
    assert blessings.read(night.store, stored).verdict == "waived"
    evidence = json.loads(night.store.read(stored, "evaluation.json"))
    assert (evidence["waived_by"]["entry"], evidence["sentence"], evidence["reason"]) == (2, sentence, None)


def test_a_waiver_lets_nothing_else_through_than_what_it_names(tmp_path: Path) -> None:
    """As of a person who found the floor too strict, and of a night that was trained again on noise."""
    champion_of(tmp_path)
    night, _ = evaluated(tmp_path, flipped=0.48)
    Ledger(night.store).waive(
        Waiver(night.plan.interval.key, "quality", "2999-12-31", ("floor",)), reason="too strict", by="ada"
    )
    _, result = night.run(evaluate)
    assert (result.status, result.reused) == ("refused", False)
    stored = blessings.read(night.store, night.store.resolve(result.ref))
    assert (stored.verdict, stored.waived_by) == ("failed", None)
    assert {"floor", "champion"} <= {check.name for check in stored.failed}
    others = [check.name for check in stored.failed if check.name != "floor"]
    assert str(result.reason).endswith(
        f" ada's waiver (ledger entry 2) is for floor and not for {', '.join(others)}, so it does not count."
    )


def test_a_holdout_with_a_silent_day_judges_nothing(tmp_path: Path) -> None:
    """As of a source that is silent at weekends."""
    champion_of(tmp_path)
    spec = small_spec(gates={"minimum": 0.7, "versus_champion": {"least": {"days": 3}}})

    def without_the_last_day(columns: dict[str, Any]) -> dict[str, Any]:
        return {name: values[:500] for name, values in columns.items()}

    night = trained_night(tmp_path, plan=small_plan(tmp_path, SECOND, spec=spec), holdout=without_the_last_day)
    _, result = night.run(evaluate)
    assert (result.status, result.summary["verdict"]) == ("refused", "not_comparable")
    assert result.reason == (
        "It cannot be compared with champion v1: the holdout has 2 days with rows that neither has learned from, and it "
        "takes 3; make window.holdout longer, or see gates.versus_champion.least. Champion v1 stays."
    )


def test_groups_are_held_against_the_declared_bound(tmp_path: Path) -> None:
    spec = small_spec(gates=gates(fairness={"attribute": "lane", "bound": 0.2}))
    night, _ = trained_night(tmp_path, plan=small_plan(tmp_path, spec=spec)).run(evaluate)
    found = evaluation_of(night)
    assert found["fairness"]["gap"] is None
    assert set(found["fairness"]["small"]) == {"air", "road", "sea", "null"}
    assert "fewer than two groups" in found["warnings"][0]
