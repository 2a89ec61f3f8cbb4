"""From pydantic's errors to sentences: the place in the YAML, the value, what is allowed, what was probably meant."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from nightshift.errors import SpecError
from nightshift.spec.models import ModelSpec
from nightshift.spec.problem import PROBLEMS, Problem, YamlPath, did_you_mean, nearest, of_long_number, path_text
from nightshift.spec.rules import BETWEEN_SECTIONS
from nightshift.spec.schema import FILLED_IN_BY_LOADER, Schema, describe, json_schema, resolved
from nightshift.spec.yaml_source import Node, plain_value

SHOWN = 60
WIDTH = 110
MISSING = object()


@dataclass(frozen=True)
class Verdict:
    """What is known of a spec after its keys were looked at.

    Attributes:
        spec: The spec; with problems, only of those sections that are good.
        good: The sections (top-level keys) that ``spec`` has.
        problems: What is wrong, by place.
    """

    spec: ModelSpec
    good: frozenset[str]
    problems: tuple[Problem, ...]


def judge(root: Node) -> Verdict:
    """Validate the data of a spec file.

    Every section is looked at, also when another one is broken, so that one reading shows everything.
    """
    data = root.data()
    own = _not_for_users(data)
    try:
        # JSON in strict mode: lists are lists, and neither "5" nor true is a number.
        spec = ModelSpec.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return _explain(root, data, error.errors(include_url=False), own)
    return Verdict(spec, frozenset(ModelSpec.model_fields), own)


def _not_for_users(data: dict[str, Any]) -> tuple[Problem, ...]:
    """Take the key that only the loader fills in out of the data."""
    if data.pop(FILLED_IN_BY_LOADER, MISSING) is MISSING:
        return ()
    hint = "put it into a .sql file beside the spec and name that file: prepare: my_model.sql"
    return (Problem("the SQL cannot be written here.", (FILLED_IN_BY_LOADER,), hint=hint, is_key=True),)


def _explain(root: Node, data: dict[str, Any], errors: list[ErrorDetails], own: tuple[Problem, ...]) -> Verdict:
    schema = _schema()
    problems = [*own, *_from_pydantic(errors, schema, root)]
    broken = {str(error["loc"][0]) for error in errors if error["loc"]}
    broken |= {near for problem in problems if problem.is_key and (near := _meant(problem, schema))}
    good = frozenset(set(ModelSpec.model_fields) - broken)
    spec = _partial(data, good)
    for rule, needs in BETWEEN_SECTIONS:
        if needs <= good:
            problems += [problem for problem in rule(spec) if problem not in problems]
    return Verdict(spec, good, tuple(problems))


@cache
def _schema() -> Schema:
    return json_schema()


def _meant(problem: Problem, schema: Schema) -> str | None:
    return nearest(str(problem.at[0]), schema["properties"]) if len(problem.at) == 1 else None


def _partial(data: dict[str, Any], good: frozenset[str]) -> ModelSpec:
    values: dict[str, Any] = {}
    for name in good & data.keys():
        field = ModelSpec.model_fields[name]
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        values[name] = adapter.validate_json(json.dumps(data[name]), strict=True)
    return ModelSpec.model_construct(**values)


# -- pydantic's errors, one by one ------------------------------------------------------------------------


def _from_pydantic(errors: list[ErrorDetails], schema: Schema, root: Node) -> Iterator[Problem]:
    seen: set[tuple[YamlPath, str]] = set()
    unknown = _unknown_keys(errors, schema, root)
    for error in errors:
        place = _place(error["loc"], schema, root)
        for problem in _problems_of(error, place, schema, root):
            # A union reports one error for each of its members; a mistyped key is also a missing one.
            known = (problem.at, "value" if error["type"] != PROBLEMS else problem.message)
            if known not in seen and not (error["type"] == "missing" and problem.at in unknown):
                seen.add(known)
                yield problem


@dataclass(frozen=True)
class _Place:
    path: YamlPath
    schema: Schema
    parent: Schema
    is_key: bool = False


def _unknown_keys(errors: list[ErrorDetails], schema: Schema, root: Node) -> set[YamlPath]:
    """The paths of the keys that the unknown keys were probably meant to be."""
    found: set[YamlPath] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            place = _place(error["loc"], schema, root)
            meant = nearest(str(place.path[-1]), place.parent.get("properties", ()))
            if meant is not None:
                found.add((*place.path[:-1], meant))
    return found


def _place(loc: tuple[int | str, ...], root_schema: Schema, root: Node) -> _Place:
    """The YAML path of a pydantic location, which also names the members of unions it went through."""
    path: list[str | int] = []
    parent: Schema = {}
    schema: Schema = root_schema
    for part in loc:
        known = resolved(schema, root_schema)
        if part == "[key]":
            return _Place(tuple(path), schema, parent, is_key=True)
        if "discriminator" in known:
            schema = {"$ref": known["discriminator"]["mapping"][part]}
        elif "anyOf" in known:
            continue
        else:
            parent, schema = known, _step(known, part)
            path.append(part)
    return _Place(tuple(path), schema, parent)


def _step(schema: Schema, part: str | int) -> Schema:
    if isinstance(part, int):
        items = schema.get("items", {})
        found: Any = items[part] if isinstance(items, list) and part < len(items) else items
    else:
        found = schema.get("properties", {}).get(part, schema.get("additionalProperties", {}))
    return found if isinstance(found, dict) else {}


def _problems_of(error: ErrorDetails, place: _Place, schema: Schema, root: Node) -> Iterator[Problem]:
    node = root.find(place.path)
    kind = error["type"]
    if kind == PROBLEMS:
        for problem in error["ctx"]["problems"]:
            yield replace(problem, at=(*place.path, *problem.at))
    elif kind == "extra_forbidden":
        yield _unknown_key(place, schema)
    elif kind in ("union_tag_not_found", "union_tag_invalid") and node is not None and not _is_scalar_or_list(node):
        yield _wrong_kind(place, node, schema)
    elif kind in ("too_long", "too_short"):
        yield _wrong_length(place.path, place.schema, schema, root)
    elif kind == "missing":
        yield _missing(place, schema, root)
    elif place.is_key:
        yield Problem(
            f"{path_text(place.path[-1:])!r} cannot be a name here.",
            place.path,
            allowed=describe(place.parent.get("propertyNames", {}), schema),
            is_key=True,
        )
    else:
        yield _wrong_value(place, node, schema)


def _is_scalar_or_list(node: Node) -> bool:
    return node.children is None or node.is_list


def _unknown_key(place: _Place, schema: Schema) -> Problem:
    name = str(place.path[-1])
    allowed = list(place.parent.get("properties", ()))
    return Problem(
        "unknown key.", place.path, allowed=", ".join(allowed), hint=_key_hint(name, allowed, schema), is_key=True
    )


def _key_hint(name: str, allowed: list[str], schema: Schema) -> str | None:
    """The key that was meant, here or in another section."""
    near = did_you_mean(name, allowed)
    if near is not None:
        return near
    if name in schema["properties"]:
        return f"{name} belongs to the top of the file, not below another key"
    sections = _sections_with(name, schema, schema)
    return f"{name} belongs below {' or '.join(sections)}" if sections else None


def _sections_with(name: str, part: Schema, root: Schema, path: YamlPath = ()) -> list[str]:
    """The sections that have a key of this name, as paths."""
    found = [path_text(path)] if path and name in part.get("properties", ()) else []
    for key, value in part.get("properties", {}).items():
        found += _sections_with(name, resolved(value, root), root, (*path, key))
    return found


def _wrong_kind(place: _Place, node: Node, schema: Schema) -> Problem:
    known = resolved(place.schema, schema)["discriminator"]["mapping"]
    given = node.find(("kind",))
    if given is None:
        return Problem("this key is missing.", (*place.path, "kind"), allowed=", ".join(sorted(known)))
    return Problem(
        f"{shown(given)} is not allowed.",
        (*place.path, "kind"),
        allowed=", ".join(sorted(known)),
        hint=did_you_mean(str(given.scalar), known),
    )


def _missing(place: _Place, schema: Schema, root: Node) -> Problem:
    if place.parent.get("type") == "array":
        return _wrong_length(place.path[:-1], place.parent, schema, root)
    example = _example(place, schema)
    meaning = str(resolved(place.schema, schema).get("description", ""))
    return Problem(
        f"this key is missing: {_lower_first(meaning)}",
        place.path,
        allowed=None if example else describe(place.schema, schema),
        hint=f"add a line such as {place.path[-1]}: {example}" if example else None,
    )


def _example(place: _Place, schema: Schema) -> str | None:
    known = resolved(place.schema, schema)
    examples = place.schema.get("examples") or known.get("examples")
    if not examples:
        return None
    found = examples[0]
    if isinstance(found, dict) and "properties" in known:
        # Pydantic sorts an example's keys by name; people expect them in the order of the reference.
        found = {key: found[key] for key in known["properties"] if key in found}
    return as_yaml(found)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _wrong_length(path: YamlPath, part: Schema, schema: Schema, root: Node) -> Problem:
    node = root.find(path)
    count = len(node.children or ()) if node is not None else 0
    message = f"the list has {count} item{'' if count == 1 else 's'}." if count else "the list is empty."
    return Problem(message, path, allowed=describe(part, schema))


def _wrong_value(place: _Place, node: Node | None, schema: Schema) -> Problem:
    allowed = describe(place.schema, schema)
    known = resolved(place.schema, schema)
    if node is not None and node.children is None and node.scalar is None:
        example = _example(place, schema)
        hint = f"write {place.path[-1]}: {example}" if example else "give it a value, or delete the key"
        return Problem("there is no value (null).", place.path, allowed=allowed, hint=hint)
    return Problem(f"{shown(node)} is not allowed.", place.path, allowed=allowed, hint=_value_hint(known, node))


def _value_hint(known: Schema, node: Node | None) -> str | None:
    if node is None:
        return None
    wanted = known.get("type")
    choices = [as_yaml(choice) for choice in known.get("enum", [known["const"]] if "const" in known else [])]
    if node.children is None and choices:
        return did_you_mean(as_yaml(node.scalar), choices)
    if wanted == "array" and isinstance(known.get("items"), dict) and node.children is None:
        return f"write it as a list: [{node.scalar}]"
    if wanted == "string" and isinstance(node.scalar, int | float):
        return f'put it in quotes: "{as_yaml(node.scalar)}"'
    kinds = {wanted, *(choice.get("type") for choice in known.get("anyOf", ()))}
    if kinds & {"integer", "number", "boolean"} and isinstance(node.scalar, str):
        plain = plain_value(node.scalar.strip())
        return f"write {as_yaml(plain)} without quotes" if isinstance(plain, int | float) else of_long_number(plain)
    return None


# -- words ------------------------------------------------------------------------------------------------


def shown(node: Node | None) -> str:
    """A value as a reader of the file would name it."""
    if node is None:
        return "this"
    if node.children is not None:
        return "a list" if node.is_list else "a mapping"
    if node.scalar is None:
        return "nothing (null)"
    if isinstance(node.scalar, str):
        text = node.scalar if len(node.scalar) <= SHOWN else node.scalar[: SHOWN - 1] + "…"
        return repr(text)
    return as_yaml(node.scalar)


def as_yaml(value: Any) -> str:
    """A small value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, str):
        return value if plain_value(value) == value and value[:1].isalnum() and ": " not in value else json.dumps(value)
    return json.dumps(value)


def shorter(path: Path) -> str:
    """The path relative to the current folder if it lies below it."""
    try:
        return path.absolute().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def spec_error(file: Path, root: Node | None, problems: Iterable[Problem], *, sql: Path | None = None) -> SpecError:
    """All problems of one spec as one error: a paragraph each, in the order of lines, the YAML before the SQL.

    Args:
        file: The spec.
        root: Its content, if it could be read.
        problems: At least one.
        sql: The prepare file, for the problems in it.
    """
    places = {problem: _place_in_file(problem, root) for problem in problems}
    placed = sorted(places, key=lambda problem: (problem.in_sql, *places[problem], path_text(problem.at)))
    paragraphs = [
        _paragraph(problem, places[problem][0], sql if problem.in_sql and sql else file) for problem in placed
    ]
    if len(placed) == 1 and not placed[0].in_sql:
        return SpecError(paragraphs[0], hint=placed[0].hint)
    blocks = [
        f"{text}\n  Hint: {problem.hint}" if problem.hint else text
        for problem, text in zip(placed, paragraphs, strict=True)
    ]
    head = f"{shorter(file)} has {len(placed)} problem{'' if len(placed) == 1 else 's'}:"
    return SpecError("\n\n".join([head, *blocks]))


def _place_in_file(problem: Problem, root: Node | None) -> tuple[int, int]:
    if problem.line is not None or problem.in_sql or root is None:
        return problem.line or 1, problem.column or 0
    return root.place_of(problem.at, key=problem.is_key)


def _paragraph(problem: Problem, line: int, file: Path) -> str:
    column = f":{problem.column}" if problem.column is not None else ""
    path = f"{path_text(problem.at)}: " if problem.at else ""
    allowed = textwrap.fill(
        f"  Allowed: {problem.allowed}",
        WIDTH,
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{shorter(file)}:{line}{column}: {path}{problem.message}" + (f"\n{allowed}" if problem.allowed else "")
