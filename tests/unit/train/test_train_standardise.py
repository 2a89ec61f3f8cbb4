"""Means and deviations are exact: neither the order of rows nor the number of ranks changes a bit of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nightshift.model.heads.network import LIMIT, Standard
from nightshift.train.engines.torch_spark import share_of
from nightshift.train.ranks import Alone
from nightshift.train.standardise import standard_of, standardised

pytestmark = pytest.mark.thorough

FLOATS = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, 2.0, float("nan")])
)
ROWS = st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=30)


@dataclass
class Table:
    """Where ranks that are threads meet."""

    size: int
    said: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=60)


class Threads(Alone):
    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.size = table, rank, table.size

    def _met(self, values: np.ndarray) -> list[np.ndarray]:
        self.table.said[self.rank] = values
        self.table.barrier.wait()
        found = [self.table.said[rank] for rank in range(self.size)]
        self.table.barrier.wait()
        return found

    def lowest(self, values: np.ndarray) -> np.ndarray:
        return np.min(self._met(values), axis=0)

    def total(self, values: np.ndarray) -> np.ndarray:
        return np.sum(self._met(values), axis=0)


def by_ranks(vectors: np.ndarray, size: int) -> list[Standard]:
    table = Table(size)
    with ThreadPoolExecutor(size) as pool:
        shares = np.array_split(vectors, size)
        return list(pool.map(lambda rank: standard_of(shares[rank], Threads(table, rank)), range(size)))


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, size=st.integers(2, 4), seed=st.integers(0, 9))
@example(rows=[(0.0, 0.0), (0.0, 0.0), (0.0, -0.0)], size=2, seed=0)
def test_neither_order_nor_ranks_change_a_bit(rows: list[tuple[float, float]], size: int, seed: int) -> None:
    vectors = np.array(rows, np.float32)
    alone = standard_of(vectors, Alone())
    shuffled = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    for other in by_ranks(shuffled, size):
        assert other.means.tobytes() == alone.means.tobytes()
        assert other.scales.tobytes() == alone.scales.tobytes()


@settings(max_examples=200, deadline=None)
@given(rows=ROWS)
def test_they_are_the_moments_of_what_is_known(rows: list[tuple[float, float]]) -> None:
    vectors = np.array(rows, np.float32)
    standard = standard_of(vectors, Alone())
    for place, column in enumerate(vectors.T):
        known = [Fraction(float(value)) for value in column[np.isfinite(column)]]
        if len(set(known)) < 2:
            assert standard.scales[place] == 0
            assert standard.means[place] == (known[0] if known else 0)
            continue
        mean = sum(known) / len(known)
        spread = max(known) - min(known)
        assert abs(Fraction(standard.means[place]) - mean) <= spread / 2**50
        variance = float(sum((value - mean) ** 2 for value in known) / len(known))
        assert 1 / standard.scales[place] == pytest.approx(variance**0.5, rel=1e-6)


def test_more_rows_than_one_sum_of_64_bits_would_hold() -> None:
    column = np.tile(np.array([0, 1], np.float32), 50_000)[:, None]
    standard = standard_of(column, Alone())
    assert (standard.means[0], standard.scales[0]) == (0.5, 2.0)


def test_missing_is_the_mean_and_nothing_is_far_out() -> None:
    vectors = np.array([[0, 7], [2, 7], [np.nan, 8], [1e30, np.inf], [-np.inf, np.nan]], np.float32)
    standard = Standard(np.array([1.0, 7.0]), np.array([1.0, 0.0]))
    expected = [[-1, 0], [1, 0], [0, 0], [LIMIT, 0], [-LIMIT, 0]]
    assert standardised(vectors, standard).tolist() == expected
    assert standardised(vectors, standard).dtype == np.float32


@given(rows=st.lists(st.integers(0, 9), min_size=1, max_size=8), size=st.integers(1, 5))
def test_the_shares_are_the_table(rows: list[int], size: int) -> None:
    """Every row once, in order, and no rank has two more than another."""
    files = [(f"part-{number}", count) for number, count in enumerate(rows)]
    shares = [list(share_of(files, rank, size)) for rank in range(size)]
    found = [(path, row) for share in shares for path, first, count in share for row in range(first, first + count)]
    assert found == [(path, row) for path, count in files for row in range(count)]
    counts = [sum(count for _, _, count in share) for share in shares]
    assert max(counts) - min(counts) <= 1
