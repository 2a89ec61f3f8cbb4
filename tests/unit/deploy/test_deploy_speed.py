"""What the infra gate makes of what a fresh process measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.deploy import infra
from nightshift.deploy.latency import Latency
from nightshift.deploy.target import InfraCheck
from nightshift.errors import InfraCheckFailed
from nightshift.model.parity import TOLERANCE
from nightshift.spec.deploy import Deploy

TIMES = st.floats(0.001, 1000)


def measured(latency: Latency | None) -> InfraCheck:
    return InfraCheck("local", 50, 3e-7, 0.25, 0.1, 100.0, "onnxruntime 1.2.3", latency)


def allowing(budget: str = "50ms", versus_champion: float = 1.5) -> Deploy:
    return Deploy.model_validate({"latency": {"budget": budget, "versus_champion": versus_champion}})


def checks(latency: Latency | None, bounds: Deploy) -> dict[str, Any]:
    return {check.name: check for check in infra._checks(measured(latency), bounds)}


def test_a_version_that_serves_passes_with_what_it_showed() -> None:
    found = checks(None, allowing())
    assert set(found) == {"serves", "golden_rows"}
    assert all(check.passed for check in found.values())
    assert (found["serves"].value, found["serves"].bound) == (0.25, None)
    assert found["serves"].text == "A fresh process with onnxruntime 1.2.3 loaded the promoted bytes in 0.25 s."
    assert (found["golden_rows"].value, found["golden_rows"].bound) == (3e-7, TOLERANCE)
    assert found["golden_rows"].text == "It reproduced 50 golden rows; the largest difference is 3.0e-07."
    infra.require_speed(measured(None), allowing())


@given(TIMES, TIMES, st.none() | TIMES)
def test_the_slow_calls_count_for_the_budget_and_half_of_them_against_the_champion(
    p50: float, p95: float, theirs: float | None
) -> None:
    latency, bounds = Latency(500, p50, p95, theirs), allowing("100ms", 2)
    found = checks(latency, bounds)
    assert (found["latency"].passed, found["latency"].value, found["latency"].bound) == (p95 <= 100, p95, 100)
    assert ("latency_champion" in found) == (theirs is not None)
    passed = p95 <= 100
    if theirs is not None:
        against = found["latency_champion"]
        assert (against.value, against.bound) == (p50, round(2 * theirs, 4))
        assert against.passed == (p50 <= round(2 * theirs, 4))
        passed = passed and against.passed
    if passed:
        infra.require_speed(measured(latency), bounds)
    else:
        with pytest.raises(InfraCheckFailed):
            infra.require_speed(measured(latency), bounds)


def test_what_is_exactly_allowed_is_allowed() -> None:
    assert all(check.passed for check in checks(Latency(500, 0.15, 50.0, 0.1), allowing()).values())


def test_it_is_said_in_numbers_and_who_may_change_the_bound() -> None:
    with pytest.raises(InfraCheckFailed) as caught:
        infra.require_speed(measured(Latency(500, 9.0, 51.0, 1.0)), allowing())
    assert caught.value.message == (
        "95 % of 500 calls of one row took at most 51.00 ms, over the budget of 50 ms. "
        "Half of 500 calls of one row took at most 9.000 ms and the champion's 1.000 ms: more than 1.5 times as long."
    )
    assert "deploy.latency" in (caught.value.hint or "")
    within = checks(Latency(500, 1.25, 2.5, 1.0), allowing())
    assert within["latency"].text == "95 % of 500 calls of one row took at most 2.50 ms, within the budget of 50 ms."
    assert within["latency_champion"].text.endswith("1.000 ms: not more than 1.5 times as long.")
