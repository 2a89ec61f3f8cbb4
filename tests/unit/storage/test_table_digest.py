"""Content digests: what must not matter does not, and every change of a cell does."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nightshift.storage.digest import TableDigest, schema_of, table_digest

pytestmark = pytest.mark.thorough

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
FLOAT32 = st.floats(width=32)
CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float": (pa.float64(), st.floats()),
    "single": (pa.float32(), FLOAT32),
    "text": (pa.string(), st.text(max_size=6)),
    "bytes": (pa.binary(), st.binary(max_size=6)),
    "flag": (pa.bool_(), st.booleans()),
    "time": (pa.timestamp("us", tz="UTC"), MOMENTS),
    "day": (pa.date32(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "amount": (pa.decimal128(20, 2), st.decimals(-(10**12), 10**12, places=2)),
    "vector": (pa.list_(pa.float32()), st.lists(FLOAT32 | st.none(), max_size=3)),
    "words": (pa.list_(pa.string()), st.lists(st.text(max_size=3) | st.none(), max_size=3)),
    "pair": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": st.integers(0, 9) | st.none(), "b": st.text(max_size=2)}),
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in CELLS.items()])
ROW = st.fixed_dictionaries({name: cells | st.none() for name, (_, cells) in CELLS.items()})
ROWS = st.lists(ROW, max_size=6)
QUICK = settings(max_examples=40, deadline=None)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def as_bits(value: Any) -> Any:
    """A cell so that == means what the digest means: NaN is itself, 0.0 is not -0.0, True is not 1."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else ("float", math.copysign(1, value), value)
    if isinstance(value, list):
        return tuple(as_bits(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, as_bits(item)) for name, item in value.items())
    return (type(value).__name__, value)


@QUICK
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    whole = table(rows)
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)
    names = list(SCHEMA.names)
    random.shuffle(names)
    assert table_digest(whole.take(pa.array(shuffled, pa.int64())).select(names)) == table_digest(whole)


@QUICK
@given(ROWS, st.sampled_from(SCHEMA.names), st.data())
def test_any_change_of_a_cell_changes_the_digest(rows: list[dict[str, Any]], name: str, data: st.DataObject) -> None:
    assume(rows)
    number = data.draw(st.integers(0, len(rows) - 1))
    value = data.draw(CELLS[name][1] | st.none())
    kept = table(rows).to_pylist()[number][name]
    changed = [dict(row) for row in rows]
    changed[number][name] = value
    assume(as_bits(table(changed).to_pylist()[number][name]) != as_bits(kept))
    assert table_digest(table(changed)) != table_digest(table(rows))


@QUICK
@given(ROWS, st.integers(0, 6))
def test_how_rows_are_cut_into_pieces_does_not_matter(rows: list[dict[str, Any]], cut: int) -> None:
    whole = table(rows)
    digest = TableDigest()
    digest.add(whole.slice(cut))
    digest.add(whole.slice(0, cut))
    assert digest.result() == table_digest(whole)
    assert digest.rows == len(rows)
    assert table_digest(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == table_digest(whole)


@QUICK
@given(ROWS)
def test_a_round_trip_through_parquet_does_not_matter(rows: list[dict[str, Any]]) -> None:
    whole = table(rows)
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, row_group_size=2, compression="zstd")
    read = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert table_digest(read) == table_digest(whole)
    assert schema_of(read) == schema_of(whole)


@QUICK
@given(st.lists(st.text(max_size=4) | st.none(), max_size=20))
def test_dictionaries_and_the_width_of_offsets_do_not_matter(values: list[str | None]) -> None:
    plain = pa.table({"x": pa.array(values, pa.string())})
    for other in (
        pa.array(values, pa.string()).dictionary_encode(),
        pa.array(values, pa.large_string()),
        pa.array(values, pa.string_view()),
        pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int8()), pa.array(values, pa.string())),
    ):
        assert table_digest(pa.table({"x": other})) == table_digest(plain)


@QUICK
@given(st.lists(st.integers(-(2**40), 2**40) | st.none(), max_size=8))
def test_the_unit_and_the_shown_zone_of_a_timestamp_do_not_matter(seconds: list[int | None]) -> None:
    base = pa.array(seconds, pa.timestamp("s", tz="UTC"))
    expected = table_digest(pa.table({"t": base}))
    for kind in (pa.timestamp("ms", tz="UTC"), pa.timestamp("us", tz="UTC"), pa.timestamp("us", tz="+05:30")):
        assert table_digest(pa.table({"t": base.cast(kind)})) == expected
    naive = pa.table({"t": pa.array(seconds, pa.timestamp("us"))})
    assert table_digest(naive) != expected


def test_how_often_a_row_is_there_matters() -> None:
    one = pa.table({"x": [1, 2]})
    assert table_digest(pa.table({"x": [1, 1, 2]})) != table_digest(one)
    assert table_digest(pa.table({"x": [1, 1, 2]})) != table_digest(pa.table({"x": [1, 2, 2]}))
    assert table_digest(pa.table({"x": [1, 2, 1, 2]})) != table_digest(one)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.array([None], pa.float64()), pa.array([math.nan], pa.float64())),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([None], pa.string()), pa.array([""], pa.string())),
        (pa.array([None], pa.list_(pa.int64())), pa.array([[]], pa.list_(pa.int64()))),
        (pa.array([[None]], pa.list_(pa.int64())), pa.array([[]], pa.list_(pa.int64()))),
        (pa.array([[1, 2]]), pa.array([[2, 1]])),
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array([2**53, None]), pa.array([2**53 + 1, None])),
        (pa.array([], pa.int64()), pa.array([], pa.string())),
        (pa.array([Decimal("1.10")]), pa.array([Decimal("1.11")])),
    ],
)
def test_look_alikes_differ(left: pa.Array, right: pa.Array) -> None:
    assert table_digest(pa.table({"x": left})) != table_digest(pa.table({"x": right}))


def test_a_value_in_another_column_or_row_is_another_table() -> None:
    assert table_digest(pa.table({"a": [1], "b": [2]})) != table_digest(pa.table({"a": [2], "b": [1]}))
    assert table_digest(pa.table({"a": [1]})) != table_digest(pa.table({"b": [1]}))
    crossed = pa.table({"a": [1, 2], "b": [20, 10]})
    assert table_digest(crossed) != table_digest(pa.table({"a": [1, 2], "b": [10, 20]}))


def test_every_nan_is_the_same() -> None:
    import numpy as np

    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    assert table_digest(pa.table({"x": odd})) == table_digest(pa.table({"x": [math.nan, math.nan]}))


def test_a_timestamp_finer_than_a_microsecond_is_refused_by_name() -> None:
    fine = pa.table({"when": pa.array([1], pa.timestamp("ns", tz="UTC"))})
    with pytest.raises(ValueError, match="column when"):
        table_digest(fine)


def test_pieces_with_other_columns_are_refused() -> None:
    digest = TableDigest()
    digest.add(pa.table({"x": [1]}))
    with pytest.raises(ValueError, match="differ in their columns"):
        digest.add(pa.table({"x": ["1"]}))


def test_a_type_without_a_digest_is_named() -> None:
    with pytest.raises(ValueError, match="map<string, int64>"):
        table_digest(pa.table({"x": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}))


def test_a_million_cells_hash_to_a_million_numbers() -> None:
    """Neither small numbers nor short texts run into each other."""
    import numpy as np

    from nightshift.storage.digest import _cells

    numbers = pa.array(np.arange(-200_000, 200_000))
    texts = pa.array([f"N{number}" for number in range(200_000)])
    vectors = pa.array([[float(i), float(j)] for i in range(400) for j in range(400)], pa.list_(pa.float32()))
    for column in (numbers, texts, vectors):
        assert len(np.unique(_cells(column))) == len(column)


def test_the_digest_stays_the_same_over_releases() -> None:
    """A changed digest would make every stored key a miss: change it on purpose only."""
    fixed = pa.table(
        {
            "n": pa.array([1, None, -3], pa.int64()),
            "f": pa.array([0.5, math.nan, None]),
            "s": pa.array(["a", "", None]),
            "t": pa.array([datetime(2013, 7, 14, tzinfo=UTC) + timedelta(hours=h) for h in range(3)]),
            "v": pa.array([[1.0], [], None], pa.list_(pa.float32())),
        }
    )
    assert table_digest(fixed) == "8431832d992b0eba75dc77968fc1cf8386b2b484e76bea18783fdc76dd9729b1"
