from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Call


def test_all_specs(call: Call) -> None:
    called = call("validate")
    assert called.code == 0
    assert "✓ dags/models/flight_delays.yaml" in called.out
    assert "14 features, xgboost" in called.out


def test_a_mistake_names_file_and_line_and_the_others_are_still_checked(call: Call, site: Path) -> None:
    text = (site / "dags" / "models" / "flight_delays.yaml").read_text()
    broken = site / "dags" / "models" / "broken.yaml"
    broken.write_text(
        text.replace("model: flight_delays", "model: broken").replace("engine: xgboost", "engine: xgbost")
    )
    called = call("validate")
    assert called.code == 64
    assert "✗ dags/models/broken.yaml" in called.out
    line = next(number for number, line in enumerate(broken.read_text().splitlines(), 1) if "xgbost" in line)
    assert f"broken.yaml:{line}" in called.out
    assert "✓ dags/models/flight_delays.yaml" in called.out
    assert "1 of 2 model specs cannot be used" in called.err


def test_by_name_and_by_file(call: Call, site: Path) -> None:
    assert call("validate", "flight_delays").code == 0
    assert call("validate", str(site / "dags" / "models" / "flight_delays.yaml")).code == 0


def test_a_name_that_is_not_there(call: Call) -> None:
    called = call("validate", "flights")
    assert called.code == 64
    assert "there is no model 'flights'" in called.err


def test_a_file_that_is_not_there(call: Call) -> None:
    called = call("validate", "elsewhere.yaml")
    assert called.code == 64
    assert "elsewhere.yaml" in called.out


def test_no_specs_are_no_error(call: Call, site: Path) -> None:
    for path in (site / "dags" / "models").iterdir():
        path.unlink()
    called = call("validate")
    assert (called.code, "There are no model specs" in called.out) == (0, True)


def test_a_folder_that_is_no_project(call: Call, site: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(site / "nowhere"))
    called = call("validate")
    assert called.code == 78
    assert "run nightshift inside a project" in called.err


def test_the_schema_is_json(call: Call) -> None:
    schema = json.loads(call("schema").out)
    assert schema["title"] == "Nightshift model spec"
    assert "features" in schema["properties"]
