"""A day against its neighbours, its labels, its statistics, and the words of a blocked night."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from nightshift.errors import ValidationFailed
from nightshift.plan import Interval, Plan
from nightshift.spec.models import Label, ModelSpec, Volume, Window
from nightshift.validate.labels import require_labels, unknown_labels, window_labels
from nightshift.validate.neighbours import check_schema, check_volume
from nightshift.validate.statistics import column_statistics, label_counts
from nightshift.validate.verdict import DayVerdict, Outcome, blocked


def of_rows(rows: int) -> DayVerdict:
    return DayVerdict("2024-03-04", pa.table({"id": pa.array(range(rows), pa.int64())}))


@pytest.mark.parametrize(
    ("rows", "earlier", "problems"),
    [
        (100, [100, 100, 100], []),
        (30, [100, 100, 100], []),
        (29, [1000, 100, 100, 100], ["29 rows are 0.29 times the median of the 3 days before (100); volume.versus_trailing allows 0.3 to 3"]),
        (301, [100, 100, 100], ["301 rows are 3.01 times the median of the 3 days before (100); volume.versus_trailing allows 0.3 to 3"]),
        (1000, [100, 100], []),
        (4, [5, 5, 5], ["4 rows; volume.minimum is 5"]),
        (0, [], ["0 rows; volume.minimum is 5"]),
    ],
)  # fmt: skip
def test_volume(rows: int, earlier: list[int], problems: list[str]):
    verdict = of_rows(rows)
    check_volume(verdict, Volume(minimum=5, trailing_days=3), earlier)
    assert verdict.problems == problems


def test_schema_drift_is_told_by_column():
    verdict = DayVerdict("2024-03-04", pa.table({"same": [1], "Renamed": [1], "typed": ["1"], "wider": [1.5]}))
    earlier = {"same": "int64", "renamed": "int64", "typed": "int64", "wider": "int64"}

    assert not check_schema(verdict, earlier, "2024-03-03")

    assert verdict.problems == [
        "column renamed (int64) is missing; 2024-03-03 has it",
        "column typed is string; on 2024-03-03 it was int64",
    ]
    assert verdict.warnings == [
        "column wider is double; on 2024-03-03 it was int64",
        "column Renamed (int64) is new; 2024-03-03 does not have it",
    ]


def test_the_order_of_columns_and_an_added_one_do_not_block():
    verdict = DayVerdict("2024-03-04", pa.table({"b": ["x"], "a": [1], "c": [1]}))
    assert check_schema(verdict, {"a": "int64", "b": "string"}, "2024-03-03")
    assert verdict.problems == []


def a_plan() -> Plan:
    spec = ModelSpec.model_validate(
        {
            "version": 1,
            "model": "rides",
            "owner": "tests@example.com",
            "source": {"kind": "files", "uri": "rides.csv", "time": "at"},
            "key": ["id"],
            "prepare": "rides.sql",
            "label": {"column": "late", "positive": ">= 1", "delay": "1d"},
            "features": {"numeric": ["km"]},
            "window": {"train": "2d", "holdout": "14d"},
            "training": {"engine": "xgboost"},
            "gates": {"minimum": 0.5},
        }
    )
    spec = spec.model_copy(update={"window": Window.model_validate({"train": "2d", "holdout": "1d"})})
    interval = Interval(datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))
    return Plan(spec, interval, "file:///nowhere", "test", "", "r", "test", 1, "x")


def counts(labelled: int, positives: int, unlabelled: int = 0) -> dict[str, int]:
    return {"labelled": labelled, "positives": positives, "unlabelled": unlabelled}


def test_labels_may_be_missing_until_they_should_be_known():
    plan, none = a_plan(), counts(0, 0, 7)
    assert unknown_labels(plan, Interval.of_day(date(2024, 3, 4)), none) is None
    problem = unknown_labels(plan, Interval.of_day(date(2024, 3, 3)), none)
    assert (
        problem == "label column late is null in all 7 rows, and should be known since 2024-03-05 00:00Z (label.delay)"
    )
    assert unknown_labels(plan, Interval.of_day(date(2024, 3, 3)), counts(1, 0, 6)) is None


@pytest.mark.parametrize(
    ("days", "problems"),
    [
        ({1: counts(5, 1), 2: counts(5, 0), 3: counts(5, 2)}, []),
        ({1: counts(5, 0), 2: counts(5, 0), 3: counts(5, 2)}, ["the train window .* has only negative labels: 10 rows in 2 days, label.positive is '>= 1'"]),
        ({1: counts(5, 1), 2: counts(5, 0), 3: counts(5, 5)}, ["the holdout window .* has only positive labels: 5 rows in 1 days"]),
        ({1: counts(5, 1), 3: counts(0, 0, 9)}, ["the holdout window .* has no labelled row in 1 days"]),
        ({3: counts(5, 2)}, ["the train window .* has no days: the source begins later"]),
    ],
)  # fmt: skip
def test_both_classes_are_needed_in_both_windows(days: dict[int, dict[str, int]], problems: list[str]):
    plan = a_plan()
    sums = window_labels(plan, {Interval.of_day(date(2024, 3, day)): found for day, found in days.items()})
    if not problems:
        assert require_labels(plan, sums) == []
        return
    with pytest.raises(ValidationFailed) as caught:
        require_labels(plan, sums)
    first, *found = caught.value.message.splitlines()
    assert first == "night 2024-03-05: nothing can be learned from these labels:"
    assert len(found) == len(problems)
    for pattern, text in zip(problems, found, strict=True):
        assert re.match(pattern, text.strip())


def test_a_window_that_begins_before_the_source_is_a_warning():
    days = {Interval.of_day(date(2024, 3, day)): counts(5, 2) for day in (2, 3)}
    assert require_labels(a_plan(), window_labels(a_plan(), days)) == [
        "the train window [2024-03-01T00:00Z, 2024-03-03T00:00Z) has 1 of its 2 days (source.since)"
    ]


def test_statistics_fit_into_a_manifest():
    table = pa.table(
        {
            "n": pa.array([1, 3, None], pa.int64()),
            "x": [1e308, 1e308, 1e308],
            "s": ["a", None, "a"],
            "t": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
            "nothing": pa.array([None, None, None], pa.float64()),
        }
    )
    found = column_statistics(table)
    assert found["n"] == {"type": "int64", "nulls": 1, "min": 1, "max": 3, "mean": 2.0}
    assert found["x"]["mean"] is None
    assert found["s"] == {"type": "string", "nulls": 1, "distinct": 1}
    assert found["nothing"] == {"type": "double", "nulls": 3}
    json.dumps(found, allow_nan=False)


def test_a_null_label_is_unlabelled_and_never_negative():
    rows = pa.table({"late": [0, 15, None, 30]})
    assert label_counts(rows, Label(column="late", positive=">= 15")) == counts(3, 2, 1)
    nothing = pa.table({"late": pa.array([None, None], pa.float64())})
    assert label_counts(nothing, Label(column="late", positive="== yes")) == counts(0, 0, 2)


def test_a_blocked_night_says_what_where_and_how_many():
    problems = {f"2024-03-{day:02d}": ["x is missing"] * 9 for day in range(1, 13)}
    error = blocked(problems, {"2024-03-01": "file:///evidence"})
    assert error.message.startswith(
        "validation: 12 days are blocked, and nothing was published for them:\n  2024-03-01: x is"
    )
    assert "  2024-03-01: and 1 more\n  2024-03-01: evidence: file:///evidence\n" in error.message
    assert error.message.endswith("  and 2 more days")


def test_an_outcome_in_words():
    outcome = Outcome(
        "expectations[0]", "expect_x", "km", "between 0 and 9", 0.99, False, rows=200, failed=5, samples=(10, 11)
    )
    assert outcome.in_words() == "km: between 0 and 9: 5 of 200 rows fail (2.50%, 1.00% may), such as 10, 11"


def test_every_class_is_needed_in_both_windows():
    label = {"column": "late", "task": "multiclass", "classes": ["a", "b", "c"], "delay": "1d"}
    plan = a_plan()
    spec = plan.spec.model_copy(update={"label": Label.model_validate(label)})
    plan = replace(plan, spec=spec)
    all_three = {"labelled": 9, "unlabelled": 1, "class.a": 3, "class.b": 3, "class.c": 3}
    no_b = {**all_three, "class.b": 0, "class.a": 6}

    def days(train: dict[str, int], holdout: dict[str, int]) -> dict[str, dict[str, int]]:
        counted = {1: train, 2: no_b, 3: holdout}
        return window_labels(plan, {Interval.of_day(date(2024, 3, day)): found for day, found in counted.items()})

    assert require_labels(plan, days(all_three, all_three)) == []
    with pytest.raises(
        ValidationFailed, match=r"the train window .* has no row of b \(label.classes\): 18 rows in 2 days"
    ):
        require_labels(plan, days(no_b, all_three))
    with pytest.raises(ValidationFailed, match=r"the holdout window .* has no row of b"):
        require_labels(plan, days(all_three, no_b))


def test_numbers_need_only_to_be_there():
    plan = a_plan()
    spec = plan.spec.model_copy(update={"label": Label.model_validate({"column": "late", "task": "regression"})})
    plan, known, none = replace(plan, spec=spec), {"labelled": 9, "unlabelled": 1}, {"labelled": 0, "unlabelled": 10}

    def days(holdout: dict[str, int]) -> dict[str, dict[str, int]]:
        counted = {1: known, 2: none, 3: holdout, 4: holdout}
        return window_labels(plan, {Interval.of_day(date(2024, 3, day)): found for day, found in counted.items()})

    assert require_labels(plan, days(known)) == []
    with pytest.raises(ValidationFailed, match=r"the holdout window .* has no labelled row"):
        require_labels(plan, days(none))
