"""YAML without its surprises: bombs, tags, two readings, and places of values."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightshift.spec.yaml_source import MAX_NODES, plain_value, read_yaml


def read(text: str) -> Any:
    root, problems = read_yaml(text)
    assert problems == ()
    assert root is not None
    return root.data()


def problems_of(text: str) -> list[str]:
    return [problem.message.splitlines()[0] for problem in read_yaml(text)[1]]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1", 1),
        ("-7", -7),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 0.001),
        ("1.5E+3", 1500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2014-01-01", "2014-01-01"),
        ("60d", "60d"),
        ("0 2 * * *", "0 2 * * *"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("y", "y"),
        ("n", "n"),
        ("none", "none"),
        ("'no'", "no"),
        ('"010"', "010"),
        ("'true'", "true"),
        ('"1"', "1"),
    ],
)
def test_plain_scalars_mean_what_people_mean(written: str, meant: object) -> None:
    value = read(f"key: {written}")["key"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    "word", ["no", "No", "NO", "yes", "on", "off", "Off", "010", "-07", "1_000", "12:30", "0x1f", "0o17", "0b11"]
)
def test_scalars_with_two_readings_are_refused(word: str) -> None:
    [problem] = read_yaml(f"a:\n  b: [x, {word}]")[1]
    assert problem.at == ("a", "b", 1)
    assert problem.line == 2
    assert word in problem.message
    assert f'"{word}"' in (problem.hint or "")


@pytest.mark.parametrize("key", ["no", "on", "yes", "010", "1", "true", "null", "~", "2014-01-01"])
def test_keys_are_taken_as_written(key: str) -> None:
    assert read(f"{key}: 1") == {key: 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [id]",
        "a: !!python/name:os.system ''",
        "a: !!str 1",
        "a: !!set {x: null}",
        "a: !custom 1",
        "a: ! 1",
        "!!map {a: 1}",
        "!!str a: 1",
        "a: !!binary aGVsbG8=",
    ],
)
def test_every_explicit_tag_is_refused(text: str) -> None:
    assert any("tag" in message and "not allowed" in message for message in problems_of(text))


def test_nothing_is_ever_constructed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load", "safe_load", "compose", "full_load", "unsafe_load"):
        monkeypatch.setattr(yaml, name, None)
    assert read("a: {b: [1, 2]}") == {"a": {"b": [1, 2]}}


def test_duplicate_keys_name_both_lines() -> None:
    root, [problem] = read_yaml("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert root is not None
    assert root.data() == {"a": 1, "b": {"c": 1, "d": 2}}
    assert (problem.at, problem.line) == (("b", "c"), 5)
    assert "line 3" in (problem.hint or "")


def test_aliases_are_written_out() -> None:
    assert read("a: &x {k: [1]}\nb: *x\n") == {"a": {"k": [1]}, "b": {"k": [1]}}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: [" + "x," * (MAX_NODES + 5) + "]",
        "a: &a {k: 1}\nb: [" + "*a," * (MAX_NODES // 2) + "]",
    ],
    ids=["billion laughs", "long list", "many aliases"],
)
def test_bombs_do_not_go_off(text: str) -> None:
    began = time.perf_counter()
    assert problems_of(text)[-1] == "the file holds too many values, aliases written out."
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 50_000, "- " * 50_000 + "x"])
def test_depth_is_bounded(text: str) -> None:
    assert problems_of(text) == ["the values are nested too deep."]


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: *nowhere", "a: &x {b: *x}"])
def test_an_alias_needs_an_anchor_that_is_complete(text: str) -> None:
    assert "does not stand before it" in problems_of(text)[0]


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "? {a: 1}\n: 1", "a: &x k\n*x : 1"])
def test_keys_are_names(text: str) -> None:
    assert problems_of(text) == ["a key must be a name; this one is a list, a mapping or an alias."]


def test_merge_keys_are_no_keys_of_ours() -> None:
    assert read("a: &x {b: 1}\nc: {<<: *x}") == {"a": {"b": 1}, "c": {"<<": {"b": 1}}}


def test_half_a_character_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems_of('a: "\\ud800"') == ["this is not YAML: found invalid Unicode character escape code."]
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert problems_of('a: "\\ud800"') == ["the text has half a character (a lone surrogate)."]


@pytest.mark.parametrize(
    ("path", "is_key", "place"),
    [
        ((), False, (1, 1)),
        (("a",), False, (1, 4)),
        (("b",), False, (2, 3)),
        (("b", "c"), False, (3, 6)),
        (("b", "list", 1), False, (6, 7)),
        (("b", "missing", "deeper"), False, (2, 3)),
        (("b", "list", 7), False, (4, 5)),
        (("b", "c"), True, (3, 6)),
        (("d",), False, (8, 3)),
        (("d",), True, (7, 3)),
    ],
)
def test_places(path: tuple[str | int, ...], is_key: bool, place: tuple[int, int]) -> None:
    root, _ = read_yaml("a: 1\nb:\n  c: 2\n  list:\n    - x\n    - y\nd:\n  long text\n")
    assert root is not None
    assert root.place_of(path, key=is_key)[0] == place[0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(alphabet="ab:-[]{}\"'#&*!|>%@` \n\t,?", max_size=60)))
def test_any_text_gives_a_mapping_or_a_problem(text: str) -> None:
    root, problems = read_yaml(text)
    assert problems or (root is not None and isinstance(root.data(), dict))
    for problem in problems:
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 2 + sum(
            map(text.count, "\r\x85\u2028\u2029")
        )


TEXT = st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**15), 10**15),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    TEXT,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_json_is_read_as_json(value: dict[str, Any]) -> None:
    assert read(json.dumps(value, ensure_ascii=False)) == value


@given(
    st.one_of(
        st.integers(-(10**18), 10**18),
        st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x == 0 or 1e-90 < abs(x) < 1e90),
    )
)
def test_numbers_survive(number: float) -> None:
    assert plain_value(repr(number)) == number
