"""What a model may take where it serves: amounts with units, read and written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.spec.deploy import (
    Deploy,
    format_memory,
    format_milliseconds,
    parse_memory,
    parse_milliseconds,
)


@given(st.integers(1, 999_999), st.sampled_from(["ms", "s"]), st.sampled_from(["", " "]))
def test_times_survive_being_written(amount: int, unit: str, space: str) -> None:
    found = parse_milliseconds(f"{amount}{space}{unit}")
    assert found == amount * {"ms": 1, "s": 1000}[unit]
    assert parse_milliseconds(format_milliseconds(found)) == found


@given(st.integers(1, 999_999), st.sampled_from(["MB", "GB"]))
def test_amounts_of_memory_survive_being_written(amount: int, unit: str) -> None:
    found = parse_memory(f"{amount}{unit}")
    assert found == amount * {"MB": 1, "GB": 1024}[unit]
    assert parse_memory(format_memory(found)) == found


def test_the_section_survives_being_written() -> None:
    written = {
        "target": "local",
        "latency": {"budget": "20ms", "versus_champion": 2.0},
        "memory": "512MB",
    }
    section = Deploy.model_validate(written)
    assert (section.latency.budget, section.memory) == (20, 512)
    assert section.model_dump(mode="json") == written
    assert Deploy().model_dump(mode="json") == {
        "target": "local",
        "latency": {"budget": "50ms", "versus_champion": 1.5},
        "memory": "4GB",
    }


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"latency": {"budget": 50}}, "50 is not a time"),
        ({"latency": {"budget": "50 minutes"}}, "'50 minutes' is not a time"),
        ({"latency": {"budget": "0ms"}}, "'0ms' is not a time"),
        ({"latency": {"versus_champion": 0.9}}, "greater than or equal to 1"),
        ({"memory": "4"}, "'4' is not an amount of memory"),
        ({"memory": "-4GB"}, "'-4GB' is not an amount of memory"),
    ],
)
def test_what_is_no_amount_is_refused(raw: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Deploy.model_validate(raw)
