"""What a YAML syntax error most likely means, in words that say what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from nightshift.spec.problem import Problem

# Reading again in pure Python gives better positions, at some 50 kB/s.
REREAD_LIMIT = 100_000


@dataclass(frozen=True)
class _Cause:
    problem: str
    message: str
    hint: str
    at_context: bool = False


QUOTE = 'put it in quotes, for example ">= 15"'
CAUSES = (
    _Cause(
        "could not find expected ':'",
        "this line is not key: value.",
        "write key: value, with a space after the colon",
        at_context=True,
    ),
    _Cause(
        "mapping values are not allowed",
        "here is a second colon, or the line is indented too deep.",
        "put a text with a colon in quotes; line a key up with the keys above it",
    ),
    _Cause("chomping or indentation", "> and | begin a block of text.", QUOTE),
    _Cause("expected alphabetic or numeric", "a value cannot begin with * or &: YAML has another use for them.", QUOTE),
    _Cause("unexpected end of stream", "the quote that opens here is never closed.", "close it", at_context=True),
    _Cause("expected ',' or '}'", "a comma or a } is missing before this.", "write {key: value, key: value}"),
    _Cause("expected ',' or ']'", "a comma or a ] is missing before this.", "write [item, item]"),
    _Cause(
        "expected <block end>",
        "this does not line up with the lines above it.",
        "keys of one mapping begin in the same column; nothing may follow a closing quote or bracket",
    ),
    _Cause(
        "sequence entries are not allowed",
        "a list item cannot begin here.",
        "begin each - on a line of its own, all in the same column",
    ),
    _Cause(
        "unknown escape character",
        "a backslash in double quotes begins an escape.",
        "put regular expressions and Windows paths in single quotes",
    ),
    _Cause("expected the node content", "a value is missing here.", "write it, or close the bracket that is open"),
    _Cause("undefined tag handle", "! begins a tag, and tags are not allowed.", QUOTE),
    _Cause("cannot start any token", "a value cannot begin with this character.", QUOTE),
)
TAB = _Cause("", "there is a tab in the indentation.", "YAML indents with spaces; make the editor insert spaces")
OTHER = _Cause("", "this is not YAML", "look at the quotes, brackets and indentation of this line and the one above")


def syntax_problem(text: str, error: yaml.YAMLError) -> Problem:
    """The problem behind an error of the YAML parser, with the line and a mark below the place."""
    error = _reread(text, error)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem(f"this is not YAML: {error}.", hint=OTHER.hint)
    lines = text.splitlines()
    said = f"{error.context or ''} {error.problem or ''}"
    line, column = error.problem_mark.line, error.problem_mark.column
    cause = _cause(said, lines[line] if line < len(lines) else "")
    if cause.at_context and error.context_mark is not None:
        line, column = error.context_mark.line, error.context_mark.column
    # At the end of the file there is nothing to show; the last line with something in it is the place to look at.
    while line > 0 and (line >= len(lines) or not lines[line].strip()):
        line, column = line - 1, len(lines[line - 1]) if line - 1 < len(lines) else 0
    shown = lines[line] if line < len(lines) else ""
    if cause.hint == QUOTE and shown[column - 1 : column] in ("*", "&", "!", ">", "|"):
        column -= 1  # the parser points behind the character that it takes for something else
    message = _message(cause, error)
    hint = _better_hint(cause, shown, column)
    return Problem(message + _excerpt(lines, line, column), line=line + 1, column=column + 1, hint=hint)


def _message(cause: _Cause, error: yaml.MarkedYAMLError) -> str:
    if cause is OTHER:
        return f"{cause.message}: {error.problem}."
    if "is missing before this" in cause.message and error.context_mark is not None:
        opening = "{" if cause.problem.endswith("'}'") else "["
        return f"{cause.message[:-1]}; the {opening} opens on line {error.context_mark.line + 1}."
    return cause.message


def _reread(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    if len(text) > REREAD_LIMIT:
        return error
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as again:
        return again
    return error


def _cause(said: str, line: str) -> _Cause:
    if re.match(r" *\t", line):
        return TAB
    return next((cause for cause in CAUSES if cause.problem in said), OTHER)


def _better_hint(cause: _Cause, line: str, column: int) -> str:
    """The same hint with the user's own words in it, where they are what to write."""
    if "quotes, for example" in cause.hint:
        value = re.match(r"[^,}\]#]*" if re.search(r"[\[{]", line[:column]) else r".*?(?=\s+#|$)", line[column:])
        return f"put it in quotes: {_quoted(value[0].strip())}" if value and value[0].strip() else cause.hint
    glued = re.fullmatch(r"(?:- )?([A-Za-z_]\w*):(\S.*)", line.strip())
    if glued and "key: value" in cause.hint:
        return f"write {glued[1]}: {glued[2]}, with a space after the colon"
    return cause.hint


def _quoted(value: str) -> str:
    return f'"{value}"' if '"' not in value and "\\" not in value else "'" + value.replace("'", "''") + "'"


def _excerpt(lines: list[str], line: int, column: int) -> str:
    shown = lines[line].replace("\t", "→") if line < len(lines) else ""
    # Long lines are cut around the place, so that the mark stays on the screen.
    start = max(0, column - 70)
    number = f"{line + 1:>5} | "
    return f"\n{number}{shown[start : start + 100]}\n{' ' * (len(number) - 2)}| {' ' * (column - start)}^"
