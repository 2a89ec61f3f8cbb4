"""``docs/emr.md``: its sums are right, its variables exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "emr.md"
TEXT = PAGE.read_text()


def costs() -> dict[str, list[float]]:
    """Numbers of the cost table by the name of the row."""
    section = TEXT.partition("## What a night costs")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        name, *cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        numbers = [float(cell) for cell in cells if re.fullmatch(r"[\d.]+", cell)]
        if line.startswith("|") and numbers:
            found[name] = numbers
    return found


def test_every_row_of_the_cost_table_is_its_formula() -> None:
    fleets = {name: numbers for name, numbers in costs().items() if len(numbers) == 6}
    assert list(fleets) == ["primary", "core", "task", "task, grown to three"]
    for nodes, hours, ec2, factor, emr, told in fleets.values():
        assert nodes * hours * (ec2 * factor + emr) == pytest.approx(told, abs=0.0005)


def test_the_sums_are_sums() -> None:
    rows = costs()
    small = sum(rows[name][-1] for name in ("primary", "core", "task"))
    large = sum(rows[name][-1] for name in ("primary", "core", "task, grown to three"))
    assert rows["a night"] == [pytest.approx(small, abs=0.001)]
    assert rows["a night, grown"] == [pytest.approx(large, abs=0.001)]
    assert f"about {30 * small:.0f} USD a month for a model, {30 * large:.0f} if it grows" in TEXT


def test_the_worst_night_is_by_the_defaults_of_the_spec() -> None:
    from nightshift.spec.compute import Emr

    emr = Emr()
    hours, nodes = emr.deadline.total_seconds() / 3600, emr.max_units + 1
    assert f"{nodes} × {hours:.0f} × 0.24 = {nodes * hours * 0.24:.2f} USD" in TEXT
    assert f"({emr.idle_minutes} min without a step)" in TEXT


def test_every_variable_is_on_the_page_and_no_other() -> None:
    source = (ROOT / "include" / "nightshift" / "emr_settings.py").read_text()
    known = {f"NIGHTSHIFT_EMR_{name}" for name in re.findall(r'reader\.(?:text|folder|number)\(\s*"([A-Z_]+)"', source)}
    told = set(re.findall(r"NIGHTSHIFT_EMR_[A-Z_]+", TEXT))
    assert told - known - {"NIGHTSHIFT_EMR_SUBNETS"} == set()
    assert known - told - {"NIGHTSHIFT_EMR_POLL", "NIGHTSHIFT_EMR_LOG_WAIT"} == set()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT):
        assert (PAGE.parent / target).exists(), target
    assert "docs/emr.md" in (ROOT / "README.md").read_text()
