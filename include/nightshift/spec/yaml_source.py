"""YAML with positions, and nothing of YAML that can surprise or harm.

The text is read as events and never turned into objects by PyYAML: no tags, no merge keys, one document, bounded
depth and size. A plain scalar that YAML 1.1 and 1.2 read differently (``no``, ``010``, ``12:30``) is refused instead
of guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import yaml

from nightshift.spec.problem import Problem, YamlPath
from nightshift.spec.yaml_syntax import syntax_problem

if TYPE_CHECKING:
    from yaml.error import Mark
    from yaml.events import Event

MAX_DEPTH = 20
MAX_NODES = 10_000

NULL = re.compile(r"|~|null|Null|NULL")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,2})?")
SURROGATE = re.compile("[\ud800-\udfff]")
# What begins otherwise is a text, whatever the YAML: most scalars are done with after one look.
SPECIAL_STARTS = frozenset("+-.0123456789~tTfFnNyYoO")
TRUTH_WORDS = re.compile(r"(?i:(yes|on)|(no|off))")
# 010 (octal or ten), 1_000, 0x1f, 0o17, 0b11, 12:30 (sixty-based): one number for YAML 1.1, another or a text for 1.2.
TWO_READINGS = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_]*_[0-9_]*|0[xob][0-9a-fA-F_]+|[0-9]+(:[0-5]?[0-9])+)")

Plain = str | int | float | bool | None


class Node(NamedTuple):
    """A value of the file with its place.

    Attributes:
        line: Line it begins on, counted from 1.
        column: Column it begins in, counted from 1.
        scalar: Its value, when it is neither a mapping nor a list.
        children: Its entries by key, or its items by index; None for a scalar.
        key_lines: Line of each key of a mapping.
        is_list: It is a list.
        size: How many nodes it is, aliases written out.
    """

    line: int
    column: int
    scalar: Plain = None
    children: Mapping[str | int, Node] | None = None
    key_lines: Mapping[str, int] = MappingProxyType({})
    is_list: bool = False
    size: int = 1

    def data(self) -> Any:
        """The value as plain Python."""
        if self.children is None:
            return self.scalar
        if self.is_list:
            return [child.data() for child in self.children.values()]
        return {key: child.data() for key, child in self.children.items()}

    def find(self, path: YamlPath) -> Node | None:
        node: Node | None = self
        for part in path:
            node = node.children.get(part) if node is not None and node.children is not None else None
        return node

    def place_of(self, path: YamlPath, *, key: bool = False) -> tuple[int, int]:
        """Line and column of the deepest part of the path that is there; the line of its key if ``key``."""
        node, line = self, self.line
        for number, part in enumerate(path):
            found = node.children.get(part) if node.children is not None else None
            if found is None:
                break
            is_last = number == len(path) - 1
            # A block mapping begins on the line after its key; people look for the key.
            key_line = node.key_lines.get(part) if isinstance(part, str) else None
            use_key = key_line is not None and (found.children is not None or (key and is_last))
            line = key_line if key_line is not None and use_key else found.line
            node = found
        return line, node.column


def read_yaml(text: str) -> tuple[Node | None, tuple[Problem, ...]]:
    """The file's one mapping, and everything that is wrong with it as YAML.

    Args:
        text: The whole file.

    Returns:
        The root, or None when the problems leave nothing to look at; the problems found.
    """
    composer = _Composer(text)
    try:
        root = composer.document()
    except _Unreadable as error:
        return None, (*composer.problems, error.problem)
    except yaml.YAMLError as error:
        return None, (*composer.problems, syntax_problem(text, error))
    finally:
        composer.close()
    return root, tuple(composer.problems)


class _Unreadable(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Composer:
    """Builds nodes from events, and collects what is not allowed."""

    def __init__(self, text: str) -> None:
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._loader = loader(text)
        self._next = cast("Callable[[], Event]", self._loader.get_event)
        self._anchors: dict[str, Node] = {}
        self._size = 0
        self.problems: list[Problem] = []

    def close(self) -> None:
        self._loader.dispose()

    def document(self) -> Node:
        """The root mapping.

        Raises:
            _Unreadable: There is none, or it is too large or too deep.
            yaml.YAMLError: It is not YAML.
        """
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise _Unreadable(Problem("the file is empty.", line=1, hint="start from dags/models/flight_delays.yaml"))
        root = self._node(self._next(), (), 0)
        self._next()
        end = self._next()
        if not isinstance(end, yaml.StreamEndEvent):
            raise _Unreadable(
                Problem(
                    "a second YAML document begins here.",
                    line=_line(end),
                    allowed="one model in one file",
                    hint="remove the --- line, or move what follows to a file of its own",
                )
            )
        if root.children is None or root.is_list:
            raise _not_a_mapping(root)
        return root

    def _node(self, event: Event, path: YamlPath, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Unreadable(
                Problem("the values are nested too deep.", line=_line(event), allowed=f"{MAX_DEPTH} levels")
            )
        self._grow(1, event, path)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:  # type: ignore[attr-defined]
            self._refuse_tag(event.tag, event, path)  # type: ignore[attr-defined]
        if isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(event, path, depth)
        else:
            node = self._scalar(event, path)
        if event.anchor is not None:  # type: ignore[attr-defined]
            self._anchors[event.anchor] = node  # type: ignore[attr-defined]
        return node

    def _grow(self, nodes: int, event: Event, path: YamlPath) -> None:
        self._size += nodes
        if self._size > MAX_NODES:
            raise _Unreadable(
                Problem(
                    "the file holds too many values, aliases written out.",
                    at=path,
                    line=_line(event),
                    allowed=f"{MAX_NODES:,} values",
                )
            )

    def _alias(self, event: Event) -> Node:
        name: str = event.anchor  # type: ignore[attr-defined]
        found = self._anchors.get(name)
        if found is None:
            raise _Unreadable(
                Problem(
                    f"*{name} refers to an anchor &{name} that does not stand before it.",
                    line=_line(event),
                    hint='if it is a text that begins with *, put it in quotes, for example "* * * * *"',
                )
            )
        self._grow(found.size, event, ())
        return found

    def _refuse_tag(self, tag: str, event: Event, path: YamlPath) -> None:
        written = tag.replace("tag:yaml.org,2002:", "!!")
        self.problems.append(
            Problem(
                f"the tag {written} is not allowed; a spec holds plain values.",
                at=path,
                line=_line(event),
                hint="remove the tag",
            )
        )

    def _mapping(self, start: Event, path: YamlPath, depth: int) -> Node:
        children: dict[str | int, Node] = {}
        key_lines: dict[str, int] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, path)
            child = self._node(self._next(), (*path, key), depth + 1)
            if key in children:
                self.problems.append(self._duplicate((*path, key), key_lines[key], _line(event)))
                continue
            children[key] = child
            key_lines[key] = _line(event)
        size = 1 + sum(child.size for child in children.values())
        return Node(*_place(start), None, children, key_lines, size=size)

    def _key(self, event: Event, path: YamlPath) -> str:
        # Keys are taken as written: `on:` is the text on, whatever YAML 1.1 thinks of it.
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None:
                self._refuse_tag(event.tag, event, path)
            return str(event.value)
        raise _Unreadable(
            Problem(
                "a key must be a name; this one is a list, a mapping or an alias.",
                at=path,
                line=_line(event),
                hint="put text that begins with [, { or * in quotes",
            )
        )

    @staticmethod
    def _duplicate(path: YamlPath, first: int, line: int) -> Problem:
        return Problem(
            "this key stands twice.",
            at=path,
            line=line,
            hint=f"it was first given on line {first}; keep one of the two",
            is_key=True,
        )

    def _list(self, start: Event, path: YamlPath, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        size = 1 + sum(item.size for item in items)
        return Node(*_place(start), None, dict(enumerate(items)), is_list=True, size=size)

    def _scalar(self, event: Event, path: YamlPath) -> Node:
        text: str = event.value  # type: ignore[attr-defined]
        if SURROGATE.search(text):
            self.problems.append(Problem("the text has half a character (a lone surrogate).", path, line=_line(event)))
            text = text.encode(errors="replace").decode()
        is_plain = not event.style  # type: ignore[attr-defined]  # None in Python, empty in libyaml
        if not is_plain or (text and text[0] not in SPECIAL_STARTS):
            return Node(*_place(event), text)
        if (problem := two_readings(text, path)) is not None:
            self.problems.append(Problem(problem.message, path, hint=problem.hint, line=_line(event)))
            return Node(*_place(event), text)
        return Node(*_place(event), plain_value(text))


def plain_value(text: str) -> Plain:
    """What an unquoted scalar means: null, true, false, a number, else a text. Dates stay texts."""
    if NULL.fullmatch(text):
        return None
    if TRUE.fullmatch(text):
        return True
    if FALSE.fullmatch(text):
        return False
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def two_readings(text: str, path: YamlPath) -> Problem | None:
    """The problem with an unquoted scalar that YAML's versions read differently, or None."""
    word = TRUTH_WORDS.fullmatch(text)
    if word:
        truth = "true" if word[1] else "false"
        return Problem(
            f"{text} without quotes is the truth value {truth} for many YAML readers.",
            path,
            hint=f'write "{text}" if you mean the text, {truth} if you mean the truth value',
        )
    if TWO_READINGS.fullmatch(text):
        return Problem(
            f"{text} without quotes is not the same to all YAML readers.",
            path,
            hint=f'write "{text}" if you mean the text; a number is written with plain digits',
        )
    return None


def _not_a_mapping(root: Node) -> _Unreadable:
    if root.scalar is None and not root.is_list:
        return _Unreadable(Problem("the file is empty.", line=1, hint="start from dags/models/flight_delays.yaml"))
    what = "a list" if root.is_list else f"the text {str(root.scalar)[:40]!r}"
    return _Unreadable(
        Problem(
            f"the file is {what}.", line=root.line, allowed="a mapping of keys to values, such as model: flight_delays"
        )
    )


def _place(event: Event) -> tuple[int, int]:
    mark: Mark = event.start_mark  # type: ignore[assignment]  # never None in what a loader gives
    return mark.line + 1, mark.column + 1


def _line(event: Event) -> int:
    return _place(event)[0]


def undecodable(data: bytes) -> Problem | None:
    """The problem with bytes that are no UTF-8 text, or None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        return Problem(
            f"the byte 0x{data[error.start]:02x} is not UTF-8.",
            line=before.count(b"\n") + 1,
            column=len(before) - (before.rfind(b"\n") + 1) + 1,
            hint="save the file as UTF-8",
        )
    return _control_character(text)


def _control_character(text: str) -> Problem | None:
    found = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if found is None:
        return None
    before = text[: found.start()]
    return Problem(
        f"the control character U+{ord(found[0]):04X} is not allowed.",
        line=before.count("\n") + 1,
        column=len(before) - (before.rfind("\n") + 1) + 1,
        hint="delete it",
    )
