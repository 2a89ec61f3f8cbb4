"""The search's section: every form of a range, points that the engine or the task refuses, and what it is taken for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tests.fakes.trained_night import small_plan, small_spec

from nightshift.plan import Plan
from nightshift.spec import engines
from nightshift.spec.models import ModelSpec, Training
from nightshift.spec.parameters import OneOf, Parameters, Value, Whole
from nightshift.spec.problem import Problem
from nightshift.spec.schema import json_schema
from nightshift.spec.search import Range
from nightshift.train.search.space import families_of

DEPTH: dict[str, Any] = {"max_depth": [3, 8]}


def training(fixed: dict[str, Any] | None = None, *, workers: int = 1, **search: Any) -> Training:
    raw = {"trials": 5, **search}
    return Training.model_validate({"engine": "xgboost", "workers": workers, "params": fixed or {}, "search": raw})


def spec_of(raw: dict[str, Any], **changes: Any) -> ModelSpec:
    return small_spec(training={"engine": "xgboost", "search": {"trials": 5, **raw}}, **changes)


def test_ranges_are_what_the_engine_takes() -> None:
    space = {
        **DEPTH,
        "max_leaves": {"low": 4, "high": 64, "log": True},
        "max_bin": {"low": 64, "high": 256, "step": 64.0},
        "reg_lambda": [0, 10],
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "subsample": {"low": 0.5, "high": 1, "step": 0.1},
        "grow_policy": {"choices": ["depthwise", "lossguide"]},
    }
    [family] = families_of(training(params=space))
    assert family.distributions == {
        "max_depth": IntDistribution(3, 8),
        "max_leaves": IntDistribution(4, 64, log=True),
        "max_bin": IntDistribution(64, 256, step=64),
        "reg_lambda": FloatDistribution(0, 10),
        "learning_rate": FloatDistribution(0.01, 0.3, log=True),
        "subsample": FloatDistribution(0.5, 1, step=0.1),
        "grow_policy": CategoricalDistribution(("depthwise", "lossguide")),
    }


def test_a_space_of_steps_and_choices_has_so_many_points() -> None:
    space = {
        "subsample": {"low": 0.1, "high": 0.4, "step": 0.1},
        "grow_policy": {"choices": ["depthwise", "lossguide"]},
    }
    [family] = families_of(training({"gamma": 1}, params=space))
    points = [(dict(point.params), named) for point, named in family.points()]
    assert len(points) == family.size == 8
    assert {point["subsample"] for point, _ in points} == {0.1, 0.2, 0.3, 0.4}
    assert points[3] == (
        {"gamma": 1, "subsample": 0.4, "grow_policy": "depthwise"},
        {"family": "xgboost", "xgboost.subsample": 0.4, "xgboost.grow_policy": "depthwise"},
    )
    [vast] = families_of(training(params={name: [2, 60_000] for name in ("n_estimators", "max_leaves", "max_bin")}))
    assert vast.size == 59_999**3
    assert next(vast.points())[0].params == {"n_estimators": 2, "max_leaves": 2, "max_bin": 2}
    [endless] = families_of(training(params={"gamma": [0, 1], **DEPTH}))
    assert endless.size is None


def test_an_engine_by_its_defaults_beside_a_range_is_another() -> None:
    assert len(families_of(training(params=DEPTH, engines=[{"engine": "xgboost"}]))) == 2


def test_a_plan_keeps_its_search(tmp_path: Path) -> None:
    others = [{"engine": "xgboost", "params": {"n_estimators": 50, "max_depth": [2, 4]}}]
    spec = spec_of({"params": {**DEPTH, "subsample": {"choices": [0.6, 1.0]}}, "engines": others})
    plan = small_plan(tmp_path, spec=spec)
    assert Plan.from_json(plan.to_json()).spec == spec
    assert Plan.from_json(plan.to_json()).stage_key("train", {}) == plan.stage_key("train", {})
    assert spec.training.search is not None
    assert spec.training.search.engines[0].params["n_estimators"] == Range(choices=(50,))


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"params": DEPTH, "trials": None}, "nothing bounds the search"),
        ({"params": DEPTH, "trials": 0}, "greater than or equal to 1"),
        ({"params": DEPTH, "folds": 0}, "greater than or equal to 1"),
        ({"params": {}}, "there is nothing to search"),
        ({"params": {"max_depth": [3]}}, "a list is a range"),
        ({"params": {"max_depth": [3, True]}}, "a list is a range"),
        ({"params": {"max_depth": None}}, "this is no range"),
        ({"params": {"max_depth": {"low": 3}}}, "a range needs high"),
        ({"params": {"max_depth": {"low": 3, "high": float("inf")}}}, "inf is not a number"),
        ({"params": {"max_depth": {"low": 3, "high": 5, "log": 1}}}, "1 is not allowed.*true or false"),
        ({"params": {"max_depth": {"low": 3, "high": 5, "log": True, "step": 1}}}, "has no steps"),
        ({"params": {"max_depth": {"choices": [3, 3]}}}, "3 is listed twice"),
        ({"params": {"max_depth": {"choices": [3, [4]]}}}, "choices are a list of values"),
        ({"params": {"max_depth": {"choices": [3, 4], "log": True}}}, "log: unknown key.*Allowed: choices"),
        ({"params": {"max_depth": [3, 3]}}, "for one value, write 3 alone"),
        ({"params": {"max_depth": [3.0, 8.0]}}, r"from 3 to 8, and 3\.0 is not a whole number"),
        (
            {"engines": [{"engine": "xgboost"}]},
            r"engines\[0\]: this is training\.engine once more, with the same params",
        ),
        (
            {"params": DEPTH, "engines": [{"engine": "xgboost", "params": DEPTH}]},
            r"engines\[0\]: this is training\.engine",
        ),
        ({"engines": 2 * [{"engine": "torch"}]}, r"engines\[1\]: this is search\.engines\[0\] once more"),
        ({"params": {"max_depth": [3, "1.0e+300"]}}, "its exponent 2"),
        ({"params": {"max_depth": {"low": 3, "high": "100000000000000000000"}}}, "at most 19 digits"),
        ({"params": {"max_depth": {"low": 2, "high": 4, "step": 0.5}}}, r"max_depth\.step: steps of 0\.5 lead between"),
        (
            {"params": {"max_depth": {"low": 2, "high": 5, "step": 1.5}}},
            r"between whole numbers.*Allowed: a whole number",
        ),
        ({"engines": [{"engine": "xgboost", "params": {"gamma": [-1, 1]}}]}, r"engines\[0\]\.params\.gamma: the range"),
    ],
)
def test_what_is_no_search_is_refused(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Training.model_validate({"engine": "xgboost", "search": {"trials": 5, **given_}})


def test_workers_and_trials_do_not_both_share_the_slots() -> None:
    assert training(workers=2, params=DEPTH).search is not None
    with pytest.raises(ValueError, match=r"search\.parallel: each trial takes 2 of Spark's slots"):
        Training.model_validate(
            {"engine": "xgboost", "workers": 2, "search": {"trials": 5, "parallel": 2, "params": DEPTH}}
        )


def test_every_point_has_to_suit_the_task() -> None:
    with pytest.raises(ValueError, match=r"search\.params\.objective: reg:squarederror learns regression"):
        spec_of({"params": {"objective": {"choices": ["binary:logistic", "reg:squarederror"]}}})
    with pytest.raises(ValueError, match=r"search\.params\.base_score: the range goes from 0\.2 to 1, and 1 is not"):
        spec_of({"params": {"base_score": [0.2, 1]}})


def test_every_fold_needs_a_day_and_so_does_what_is_before_them() -> None:
    assert spec_of({"params": DEPTH, "folds": 6}).training.search is not None
    with pytest.raises(ValueError, match=r"7 folds need 8 days or more, and window\.train has 7"):
        spec_of({"params": DEPTH, "folds": 7})


class ByKind(Parameters):
    """An engine whose parameters depend on each other."""

    def problems(self, params: Any) -> Any:
        yield from super().problems(params)
        if params.get("algorithm") == "linear" and "depth" in params:
            yield Problem("depth does nothing for linear.", ("params", "depth"), is_key=True)


def test_points_are_looked_at_as_wholes(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ByKind({"algorithm": OneOf(("linear", "trees")), "depth": Whole(1, 9)})
    monkeypatch.setitem(engines.PARAMS, "kinds", rules)
    good = [{"engine": "kinds", "params": {"algorithm": "trees", "depth": [1, 9]}}]
    assert [family.name for family in families_of(training(engines=good))] == ["xgboost", "kinds"]
    bad = [{"engine": "kinds", "params": {"algorithm": {"choices": ["linear", "trees"]}, "depth": [1, 9]}}]
    with pytest.raises(ValueError, match=r"search\.engines\[0\]\.params\.depth: depth does nothing for linear"):
        training(engines=bad)


NUMBERS = st.integers(-5, 40) | st.floats(-5, 40, allow_nan=False)


@given(NUMBERS, NUMBERS, st.sampled_from(["max_depth", "subsample", "gamma"]))
def test_a_range_is_taken_only_where_both_of_its_ends_are(low: Value, high: Value, name: str) -> None:
    """What lies between is then allowed as well, because the allowed values of a number are a range themselves."""

    def taken(fixed: dict[str, Any], **search: Any) -> bool:
        try:
            training(fixed, **search)
        except ValueError:
            return False
        return True

    other = {"params": {"min_child_weight": [1, 2]}}
    ends = all(taken({name: end}, **other) for end in (low, high))
    assert taken({}, params={name: [low, high]}) == (ends and low < high)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("space", "fits"),
    [
        ([3, 8], True),
        ({"low": 0.1, "high": 0.3, "log": True}, True),
        ({"choices": ["a", 1, True]}, True),
        ("lossguide", True),
        ([3, 4, 5], False),
        ({"low": 3}, False),
        ({"choices": []}, False),
        ({"low": 3, "high": 4, "choices": [1]}, False),
    ],
)
def test_editors_know_the_forms(space: Any, fits: bool) -> None:
    schema = json_schema()
    part = {**schema["$defs"]["Search"]["properties"]["params"], "$defs": schema["$defs"]}
    assert jsonschema.Draft7Validator(part).is_valid({"max_depth": space}) is fits
