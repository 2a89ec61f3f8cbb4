"""What ``workers: auto`` decides by is what was measured, and what the page of benchmarks says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from tests.bench.training_page import BEGIN, END, crossover_of, page

from nightshift.spec.training_rules import MEASURED_ENGINES

DOCUMENTS = json.loads(files("nightshift.train").joinpath("crossover.json").read_text())
PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("engine", MEASURED_ENGINES)
def test_the_numbers_follow_from_the_measurements(engine: str) -> None:
    assert DOCUMENTS[engine]["crossover"] == crossover_of(DOCUMENTS[engine]["measured"])


@pytest.mark.parametrize("engine", MEASURED_ENGINES)
def test_the_page_says_what_was_measured(engine: str) -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == page(DOCUMENTS[engine]), "write it anew: make bench-training"
