"""Keys that are in both windows are counted exactly, however the training window is cut into files."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nightshift.preprocess.overlap import check_overlap

KEYS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab")), max_size=12)


def table(keys: list[tuple[int, str]]) -> pa.Table:
    return pa.table({"n": pa.array([n for n, _ in keys], pa.int64()), "s": pa.array([s for _, s in keys], pa.string())})


@given(st.lists(KEYS, max_size=4), KEYS)
def test_overlap_is_counted_exactly(train: list[list[tuple[int, str]]], holdout: list[tuple[int, str]]) -> None:
    check = check_overlap([table(part) for part in train], table(holdout), ["n", "s"])
    shared = [key for part in train for key in part if key in holdout]
    assert check.value == len(shared)
    assert check.passed == (not shared)
    assert (check.name, check.bound) == ("overlap", 0)


def test_an_example_and_what_to_do_are_told() -> None:
    check = check_overlap(
        [table([(4, "b")]), table([(3, "b"), (2, "a"), (2, "b")])], table([(3, "b"), (2, "a")]), ["n", "s"]
    )
    assert check.text == (
        "2 of 4 training rows have a key that the holdout has too (none may), such as n=2, s=a: add to key what tells "
        "rows apart, or remove the copies from the source"
    )
