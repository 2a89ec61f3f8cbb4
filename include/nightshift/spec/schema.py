"""The JSON Schema of a spec: what editors complete from, and what error messages take their words from."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from nightshift.spec import compute, data_checks, deploy, gates, models, search, transform_kinds
from nightshift.spec.models import ModelSpec
from nightshift.spec.values import WORDS

DRAFT = "http://json-schema.org/draft-07/schema#"
FILLED_IN_BY_LOADER = "prepare_sql"

SECTIONS = (models, compute, data_checks, deploy, gates, search, transform_kinds)
KEYED_BY_NAMES = ("properties", "patternProperties", "$defs")

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema of a spec file, in draft 7, which is what YAML editors know best.

    ``prepare_sql`` is not in it: the loader fills it in. Durations and days are strings.
    """
    generated = ModelSpec.model_json_schema(mode="validation")
    _describe_keys(generated)
    schema = _draft_7(generated)
    del schema["properties"][FILLED_IN_BY_LOADER]
    _require_one(schema, ("window", "split"))
    return {"$schema": DRAFT, "title": "Nightshift model spec", **schema}


def _require_one(schema: Schema, keys: tuple[str, ...]) -> None:
    """Of these optional sections, every file has exactly one, and none of them may be empty."""
    for key in keys:
        section = schema["properties"][key]
        [section["$ref"]] = [choice["$ref"] for choice in section.pop("anyOf") if "$ref" in choice]
        del section["default"]
    schema["oneOf"] = [{"required": [key]} for key in keys]


def schema_text() -> str:
    """The text of ``docs/model-spec.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe_keys(generated: Schema) -> None:
    """Give every key the text that stands below it in its module as its description."""
    written = _texts_below_keys()
    for name, part in {ModelSpec.__name__: generated, **generated["$defs"]}.items():
        texts: dict[str, str] = {}
        holder = next(module for module in SECTIONS if hasattr(module, name))
        for base in reversed(getattr(holder, name).__mro__):
            texts |= written.get(base.__name__, {})
        for key, value in part["properties"].items():
            value["description"] = texts[key]
            part["properties"][key] = dict(sorted(value.items()))  # as pydantic sorts


def _texts_below_keys() -> dict[str, dict[str, str]]:
    """By class and key of the modules with sections; Python itself does not keep them."""
    parts = [node for module in SECTIONS for node in ast.parse(inspect.getsource(module)).body]
    classes = [node for node in parts if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_texts_in(node.body)) for node in classes}


def _texts_in(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for key, text in pairwise(body):
        match key, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, inspect.cleandoc(words)


def _draft_7(node: Any, *, names: bool = False) -> Any:
    """The same schema without generated titles, tuples in the words of draft 7.

    Args:
        node: A part of the schema.
        names: The keys of this part are names of the user's keys, not words of the schema.
    """
    if isinstance(node, list):
        return [_draft_7(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _draft_7(value) for key, value in node.items()}
    kept = {
        key: value
        if key in ("default", "examples")
        else _draft_7(value, names=key in ("properties", "patternProperties", "$defs"))
        for key, value in node.items()
        if key != "title"
    }
    if "prefixItems" in kept:
        kept["items"] = kept.pop("prefixItems")
        kept["additionalItems"] = False
    if "patternProperties" in kept:
        # Pydantic's form lets names that do not match pass with any value.
        [(pattern, kept["additionalProperties"])] = kept.pop("patternProperties").items()
        kept["propertyNames"] = {"type": "string", "pattern": pattern, "patternErrorMessage": WORDS[pattern]}
    return kept


def resolved(schema: Schema, root: Schema) -> Schema:
    """A part of the schema with its reference followed and null left out: what a value given there must be."""
    while True:
        if "$ref" in schema:
            target = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
            schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
            continue
        choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
        if len(choices) != 1:
            return schema
        schema = {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def is_nullable(schema: Schema) -> bool:
    return any(choice.get("type") == "null" for choice in schema.get("anyOf", ()))


def describe(schema: Schema, root: Schema) -> str:
    """What may stand there, in a few words."""
    return _describe(resolved(schema, root), root)


def _describe(schema: Schema, root: Schema) -> str:
    if "anyOf" in schema:
        return _joined(describe(choice, root) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "oneOf" in schema:
        return f"a mapping with kind: {' or '.join(sorted(schema['discriminator']['mapping']))}"
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return json.dumps(schema["const"]).strip('"')
    if "patternErrorMessage" in schema:
        return str(schema["patternErrorMessage"])
    by_type = {
        "string": "a day such as 2014-01-01" if schema.get("format") == "date" else "text",
        "boolean": "true or false",
        "integer": "a whole number" + _bounds(schema),
        "number": "a number" + _bounds(schema),
        "array": _describe_list(schema, root),
        "object": _describe_mapping(schema),
    }
    return by_type.get(schema.get("type", ""), "any value")


def _describe_list(schema: Schema, root: Schema) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        null = " (or null)" if is_nullable(items[0]) else ""
        return f"a list of {len(items)} items, each {describe(items[0], root)}{null}"
    return f"a list of items, each {describe(items, root)}" if items else "a list"


def _describe_mapping(schema: Schema) -> str:
    names = ", ".join(schema.get("properties", ()))
    return f"a mapping with the keys {names}" if names else "a mapping of names to values"


def _bounds(schema: Schema) -> str:
    """`` from 0 to 1``, `` above 0, at most 1``, or nothing."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {_written(low)} to {_written(high)}"
    parts = [
        f"{_written(low)} or more" if low is not None else "",
        f"above {_written(above)}" if above is not None else "",
        f"at most {_written(high)}" if high is not None else "",
        f"below {_written(below)}" if below is not None else "",
    ]
    words = ", ".join(part for part in parts if part)
    return f", {words}" if words else ""


def _joined(words: Any) -> str:
    return " or ".join(dict.fromkeys(words))


def _written(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
