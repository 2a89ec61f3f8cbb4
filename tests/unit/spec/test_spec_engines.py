"""The name of an engine: one of Nightshift's, or the form of a class of one's own. Nothing is imported."""

from __future__ import annotations

import keyword
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.spec.engines import ALLOWED, PARAMS, is_own
from nightshift.spec.models import Training
from nightshift.spec.schema import json_schema

ENGINE = json_schema()["$defs"]["Training"]["properties"]["engine"]
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))


@pytest.mark.parametrize("engine", PARAMS)
def test_engines_of_nightshift_pass(engine: str) -> None:
    params = {"algorithm": "gbt"} if engine == "spark_ml" else {}
    assert not is_own(Training(engine=engine, params=params).engine)


@given(st.lists(NAME, min_size=1, max_size=4), NAME)
def test_any_name_of_a_class_passes_and_nothing_is_imported(path: list[str], name: str) -> None:
    before = set(sys.modules)
    engine = f"{'.'.join(['no_such', *path])}:{name}"
    assert is_own(Training(engine=engine).engine)
    jsonschema.validate(engine, ENGINE)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("engine", "hint"),
    [
        ("xgbost", "did you mean xgboost?"),
        ("XGBoost", "did you mean xgboost?"),
        ("shop.engines.Forest", "did you mean shop.engines:Forest?"),
        ("shop/engines.py:Forest", "did you mean shop.engines:Forest?"),
        ("shop.engines::Forest", "did you mean shop.engines:Forest?"),
        ("shop.engines: Forest", "did you mean shop.engines:Forest?"),
        ("zzz", None),
        ("shop.class:Forest", None),
        ("shop.engines:Forest()", None),
        ("shop.engines:Forest\n", "did you mean shop.engines:Forest?"),
        (":Forest", None),
        ("..engines:Forest", None),
        ("", None),
    ],
)
def test_anything_else_is_refused_with_both_forms(engine: str, hint: str | None) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        Training(engine=engine)
    (error,) = caught.value.errors()  # type: ignore[attr-defined]
    (problem,) = error["ctx"]["problems"]
    assert (problem.allowed, problem.hint) == (ALLOWED, hint)
    assert set(PARAMS) <= set(ALLOWED.replace(",", "").split())
    assert "package.module:Class" in ALLOWED


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"engine": "nightshift.train.engines.xgboost:XGBoost"}, "is no class of your own"),
        ({"engine": "shop:Forest", "workers": 2}, r"workers: shop:Forest learns in one process\. Allowed: 1"),
        ({"engine": "shop:Forest", "params": {"depth": float("nan")}}, r"params\.depth: nan is not a finite number"),
        ({"engine": "shop:Forest", "params": {"depth": [1]}}, r"params\.depth"),
    ],
)
def test_what_can_be_known_of_an_own_class_is_checked(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Training(**section)


def test_parameters_of_an_own_class_may_be_any_scalar() -> None:
    params = {"depth": 3, "rate": 0.5, "kind": "fast", "deep": True}
    assert Training(engine="shop:Forest", params=params).params == params
