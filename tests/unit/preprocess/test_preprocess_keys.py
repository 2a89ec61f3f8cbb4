"""Keys that come out more often than they go in."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightshift.preprocess.keys import exceeds

numbers = st.lists(st.integers(0, 8), max_size=30)


@given(after=numbers, before=numbers)
def test_more_often_than_before_is_what_a_counter_says(after: list[int], before: list[int]) -> None:
    as_arrays = (np.array(values, dtype=np.int64) for values in (after, before))
    assert exceeds(*as_arrays) == bool(Counter(after) - Counter(before))


@given(before=numbers, data=st.data())
def test_any_part_of_what_went_in_may_come_out(before: list[int], data: st.DataObject) -> None:
    after = data.draw(st.permutations(before))[: data.draw(st.integers(0, len(before)))]
    assert not exceeds(np.array(after, dtype=np.int64), np.array(before, dtype=np.int64))
