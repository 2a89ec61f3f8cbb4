"""The schema for editors, the words it gives to messages, and the reference page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nightshift.spec.loader import load_spec
from nightshift.spec.schema import describe, json_schema, resolved, schema_text

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
PAGE = (ROOT / "docs" / "model-spec.md").read_text()


def test_the_exported_schema_is_current() -> None:
    exported = (ROOT / "docs" / "model-spec.schema.json").read_text()
    assert exported == schema_text(), "write it anew: nightshift schema > docs/model-spec.schema.json"


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert "prepare_sql" not in json.dumps(SCHEMA)


def test_editors_find_the_schema_from_the_demo() -> None:
    first = (ROOT / "dags" / "models" / "flight_delays.yaml").read_text().splitlines()[0]
    relative = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / "dags" / "models" / relative).resolve() == ROOT / "docs" / "model-spec.schema.json"


def as_editors_read(path: Path) -> Any:
    """YAML 1.2, in which dates are texts."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, regex) for tag, regex in found if not tag.endswith("timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(path.read_text(), Loader)


def test_editors_accept_the_demo() -> None:
    jsonschema.validate(as_editors_read(ROOT / "dags" / "models" / "flight_delays.yaml"), SCHEMA)


@pytest.mark.parametrize(
    "case",
    [
        "typo_in_key",
        "typo_in_section",
        "missing_keys",
        "wrong_choice",
        "wrong_type",
        "number_in_quotes",
        "empty_section",
        "bad_duration",
    ],
)
def test_editors_refuse_what_the_loader_refuses(case: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_editors_read(Path(__file__).parent / "golden" / f"{case}.yaml"), SCHEMA)


def test_editors_refuse_bad_names() -> None:
    demo = as_editors_read(ROOT / "dags" / "models" / "flight_delays.yaml")
    with pytest.raises(jsonschema.ValidationError, match="Weather"):
        jsonschema.validate({**demo, "tables": {"Weather": demo["tables"]["weather"]}}, SCHEMA)


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        yield f"{path}{name}", part
    for name, part in schema.get("$defs", {}).items():
        yield from properties(part, f"{name}.")


def test_every_key_is_described() -> None:
    assert [name for name, part in properties(SCHEMA) if not part.get("description")] == []


def test_every_example_and_default_fits() -> None:
    for _, part in properties(SCHEMA):
        for value in [*part.get("examples", []), *([part["default"]] if "default" in part else [])]:
            jsonschema.Draft7Validator({**part, "$defs": SCHEMA["$defs"]}).validate(value)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "a whole number, 1 or more"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "a number, 0 or more, below 1"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "number"}, {"const": "max_f1"}]},
            "a whole number or a number or max_f1",
        ),
        ({"type": "array", "items": {"type": "string"}}, "a list of items, each text"),
        ({"enum": ["a", "b"]}, "a, b"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "string", "format": "date"}, "a day such as 2014-01-01"),
        ({"type": "object", "additionalProperties": True}, "a mapping of names to values"),
        ({}, "any value"),
    ],
)
def test_words(schema: dict[str, Any], words: str) -> None:
    assert describe(schema, SCHEMA) == words


# -- the reference page -------------------------------------------------------------------------------


def sections() -> dict[str, dict[str, str]]:
    """Defaults by key, by heading of the page."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading = part.splitlines()[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", part, flags=re.MULTILINE)
        if rows:
            found[heading] = dict(rows)
    return found


def documented() -> dict[str, dict[str, Any]]:
    """The part of the schema that each heading of the page is about."""
    defs, top = SCHEMA["$defs"], SCHEMA["properties"]
    found = {
        "The top of the file": SCHEMA,
        "expectations": defs["Expectation"],
        "versus_champion": defs["VersusChampion"],
        "least": defs["Least"],
        "fairness": defs["Fairness"],
        "latency": defs["LatencyBounds"],
        "emr": defs["Emr"],
        "search": defs["Search"],
        "engines": defs["EngineSpace"],
    }
    for name in (
        "quarantine",
        "volume",
        "data_checks",
        "label",
        "features",
        "window",
        "split",
        "training",
        "gates",
        "deploy",
        "compute",
        "notify",
    ):
        found[name] = resolved(top[name], SCHEMA)
    for kind, ref in top["source"]["discriminator"]["mapping"].items():
        found[f"source, kind: {kind}"] = resolved({"$ref": ref}, SCHEMA)
    for kind, ref in top["tables"]["additionalProperties"]["discriminator"]["mapping"].items():
        found[f"tables, kind: {kind}"] = resolved({"$ref": ref}, SCHEMA)
    transform = defs["Features"]["properties"]["transforms"]["additionalProperties"]["items"]
    for kind, ref in transform["discriminator"]["mapping"].items():
        found[kind] = resolved({"$ref": ref}, SCHEMA)
    return found


def test_the_page_covers_the_whole_schema() -> None:
    covered = [json.dumps(part["properties"], sort_keys=True) for part in documented().values()]
    assert [
        name for name, part in SCHEMA["$defs"].items() if json.dumps(part["properties"], sort_keys=True) not in covered
    ] == []
    assert set(sections()) == set(documented())


@pytest.mark.parametrize("heading", sorted(documented()))
def test_the_page_has_every_key_with_its_default(heading: str) -> None:
    part, rows = documented()[heading], sections()[heading]
    assert list(rows) == list(part["properties"])
    for key, said in rows.items():
        default = part["properties"][key].get("default")
        written = "see below" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"
        assert said == ("required" if key in part.get("required", ()) else written), key


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    [sql] = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "late_orders.yaml").write_text(example)
    (tmp_path / "late_orders.sql").write_text(sql)
    assert load_spec(tmp_path / "late_orders.yaml").model == "late_orders"
