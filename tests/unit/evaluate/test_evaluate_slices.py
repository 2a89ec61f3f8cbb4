"""The rows of one value of a column: what is listed, what is judged, and how groups are kept alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nightshift.errors import DataError
from nightshift.evaluate.gate import SliceGain
from nightshift.evaluate.slices import SLICE_VALUES, Slice, described, fairness_gap, left_out, slice_gains, slices_of
from nightshift.evaluate.task import Judged
from nightshift.evaluate.tasks import Binary
from nightshift.spec.gates import Fairness

BINARY = Binary()


def gains_of(found: list[Slice], *rows: np.ndarray) -> tuple[SliceGain, ...]:
    """Labels, challenger, champion, days."""
    return slice_gains(found, *rows, task=BINARY, metric="roc_auc", confidence=0.95)


def sliced(labels: np.ndarray, values: list[object], champion: np.ndarray | None = None) -> list[dict[str, Any]]:
    scores = np.linspace(0, 1, len(labels))
    found = slices_of(pa.table({"lane": values}), ["lane"])
    days = np.arange(len(labels)) % 5
    gains = () if champion is None else gains_of(found, labels, scores, champion, days)
    return described(found, Judged(labels, scores), champion, gains, task=BINARY, metrics=("roc_auc", "log_loss"))


def test_slices_come_largest_first_and_small_ones_have_no_auc() -> None:
    labels = np.arange(1100) % 2
    air, road, none = sliced(labels, ["air"] * 600 + ["road"] * 499 + [None])
    assert (air["value"], air["rows"], air["small"], air["gain"]) == ("air", 600, False, None)
    assert air["roc_auc"] == pytest.approx(0.5, abs=0.01)
    assert (road["value"], road["rows"], road["small"], road["roc_auc"]) == ("road", 499, True, None)
    assert (none["value"], none["rows"], none["roc_auc"]) == ("null", 1, None)
    assert air["log_loss"] > 0


def test_a_slice_with_few_of_a_class_is_small() -> None:
    labels = np.array([1] * 49 + [0] * 951)
    (only,) = sliced(labels, ["air"] * 1000, np.zeros(1000))
    assert (only["small"], only["positives"], only["roc_auc"], only["gain"]) == (True, 49, None, None)


def test_a_large_slice_knows_what_was_gained_on_it() -> None:
    labels = np.arange(1200) % 2
    air, sea = sliced(labels, ["air"] * 600 + ["sea"] * 600, labels * 0.5)
    assert (air["champion_roc_auc"], sea["champion_roc_auc"]) == (1.0, 1.0)
    assert air["gain"]["value"] == pytest.approx(air["roc_auc"] - 1)
    assert (air["gain"]["days"], air["gain"]["confidence"]) == (5, 0.975)


def test_the_more_slices_are_judged_the_wider_each_interval() -> None:
    labels, days = np.tile([0, 1], 3000), np.arange(6000) // 600
    random = np.random.default_rng(3)
    ours, theirs = random.random(6000), random.random(6000)
    widths = []
    for count in (1, 2, 6):
        values = [str(number * count // 6000) for number in range(6000)]
        found = slices_of(pa.table({"lane": values}), ["lane"])
        judged = gains_of(found, labels, ours, theirs, days)
        widths.append(judged[0].gain.confidence)
        assert len(judged) == count
    assert widths == pytest.approx([0.95, 0.975, 1 - 0.05 / 6])


def test_a_slice_of_one_day_is_not_judged() -> None:
    labels = np.arange(600) % 2
    found = slices_of(pa.table({"lane": ["air"] * 600}), ["lane"])
    assert gains_of(found, labels, labels, labels, np.zeros(600, int)) == ()


def test_many_values_are_cut_to_the_largest() -> None:
    labels = np.arange(200) % 2
    found = sliced(labels, [str(number // 2) if number < 180 else "most" for number in range(200)])
    assert len(found) == SLICE_VALUES
    assert (found[0]["column"], found[0]["value"]) == ("lane", "most")


def test_what_is_large_enough_and_beyond_the_largest_is_counted() -> None:
    """Of 60 lanes with 600 rows each, 50 are judged; those of 499 rows would not be judged anyway."""
    for rows, count in ((600, 10), (499, 0)):
        table = pa.table(
            {"lane": [f"{number:02}" for number in range(60) for _ in range(rows)], "sea": ["x"] * 60 * rows}
        )
        labels = np.arange(60 * rows) % 2
        expected = {"lane": count} if count else {}
        assert dict(left_out(table, ["lane", "sea"], labels, BINARY)) == expected


def test_a_slice_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"gates\.slices names wind") as caught:
        slices_of(pa.table({"lane": ["air"], "__time": [1]}), ["wind"])
    assert caught.value.hint == "it has lane"


@pytest.mark.parametrize(
    ("metric", "gap", "highest", "lowest"),
    [
        ("true_positive_rate", 0.5, ("a", 1.0), ("b", 0.5)),
        ("false_positive_rate", 0.25, ("b", 0.25), ("a", 0.0)),
        ("positive_rate", 0.125, ("a", 0.5), ("b", 0.375)),
    ],
)
def test_the_gap_between_groups(metric: str, gap: float, highest: Any, lowest: Any) -> None:
    """All of a's positives are called; of b's half, and a quarter of its negatives; c is too small to count."""
    labels = np.array([1, 0] * 400 + [1, 0] * 400 + [1, 0] * 5)
    called = np.array([True, False] * 400 + [True, True, False, False, True, False, False, False] * 100 + [False] * 10)
    table = pa.table({"group": ["a"] * 800 + ["b"] * 800 + ["c"] * 10})
    found = fairness_gap(table, labels, called, Fairness(attribute="group", metric=metric))
    assert (found.gap, found.highest, found.lowest, found.small) == (gap, highest, lowest, ("c",))


def test_every_group_that_is_large_enough_counts_however_many_there_are() -> None:
    """The 60th in size is the one that is never called."""
    sizes = [1000] * 59 + [600]
    groups = np.repeat([f"{number:02}" for number in range(60)], sizes)
    labels = np.arange(len(groups)) % 2
    called = (labels == 1) & (groups != "59")
    found = fairness_gap(pa.table({"group": groups}), labels, called, Fairness(attribute="group"))
    assert (found.gap, found.lowest) == (1.0, ("59", 0.0))


def test_one_group_is_not_compared_with_itself() -> None:
    labels = np.arange(600) % 2
    table = pa.table({"group": ["a"] * 598 + ["b"] * 2})
    found = fairness_gap(table, labels, labels == 1, Fairness(attribute="group"))
    assert (found.gap, found.small) == (None, ("b",))


def test_an_attribute_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"gates\.fairness\.attribute names age"):
        fairness_gap(pa.table({"group": ["a"]}), np.array([1]), np.array([True]), Fairness(attribute="age"))
