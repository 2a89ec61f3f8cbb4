"""Content digests of tables: independent of row order, file layout and attempt, exact for every value.

Every row gets a 64-bit hash of its cells; the digest is made of sums over those hashes, so that order does
not matter but the number of equal rows does. Two tables that differ have the same digest with a chance of
about 2^-64. That guards against accidents and stale results, not against an adversary: files are guarded
by sha256.

What counts as the same: row order, column order, chunks and files, dictionary encoding, the unit of a
timestamp, the zone a UTC instant is shown in, the width of string and list offsets, the bits of a NaN.
What does not: null and NaN, 0.0 and -0.0, a null and an empty string or list, int32 and int64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.plan import digest_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Hashes = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
_NULL = 0xA0761D6478BD642F
_STEP = 0x9E3779B97F4A7C15
# Rows per step: an array of their hashes, 256 KiB, stays in the processor's cache.
_ROWS = 32_768


class TableDigest:
    """Digest of a table that is given in pieces, in any order.

    Raises:
        ValueError: A piece has other columns or types than the first, or a value that cannot be taken
            exactly (a timestamp finer than a microsecond).
    """

    def __init__(self) -> None:
        self.rows = 0
        self._total = 0
        self._mixed = 0
        self._schema: dict[str, str] | None = None

    @property
    def schema(self) -> dict[str, str]:
        """Column names and Arrow types, in their normal form, by name."""
        return dict(self._schema or {})

    def add(self, table: pa.Table) -> None:
        schema = schema_of(table)
        if self._schema is None:
            self._schema = schema
        elif schema != self._schema:
            raise ValueError(f"the pieces of a table differ in their columns: {schema} and {self._schema}")
        for batch in normalised(table).to_batches(max_chunksize=_ROWS):
            hashes = _rows(batch)
            self._total = (self._total + _sum(hashes)) & _MASK
            # A second sum, of mixed hashes: one changed row cannot be made up for by another.
            self._mixed = (self._mixed + _sum(_mix(hashes * _u64(_STEP)))) & _MASK
        self.rows += table.num_rows

    def result(self) -> str:
        return digest_of([f"{self._total:016x}", f"{self._mixed:016x}", self.rows, self.schema])


def table_digest(table: pa.Table) -> str:
    """Digest of rows as a multiset, with their count and the schema.

    Raises:
        ValueError: A value cannot be taken exactly, or a type has no digest.
    """
    digest = TableDigest()
    digest.add(table)
    return digest.result()


def schema_of(table: pa.Table) -> dict[str, str]:
    """Column names and Arrow types, in their normal form, by name."""
    return {name: _type_name(_plain(table.schema.field(name).type)) for name in sorted(table.column_names)}


def normalised(table: pa.Table) -> pa.Table:
    """The same values in one physical form: microsecond UTC timestamps, plain strings, columns by name.

    Raises:
        ValueError: A timestamp is finer than a microsecond.
    """
    import pyarrow as pa

    columns = {}
    for name in sorted(table.column_names):
        column = table.column(name)
        plain = _plain(column.type)
        try:
            columns[name] = column if plain == column.type else column.cast(plain)
        except pa.ArrowInvalid as error:
            raise ValueError(f"column {name}: {error}") from error
    # Without columns the number of rows would be lost.
    return pa.table(columns) if columns else table


def _plain(kind: pa.DataType, *, nested: bool = False) -> pa.DataType:
    """The physical form in which a type is hashed. A column's dictionary stays: its values are hashed once."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        value = _plain(kind.value_type, nested=True)
        return kind if value == kind.value_type and not nested else value
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _plain(kind.value_type, nested=True)
        return kind if types.is_list(kind) and inner == kind.value_type else pa.list_(inner)
    if types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type, nested=True)) for field in kind])
    return _plain_value(kind)


def _plain_value(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa
    from pyarrow import types

    if types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind


def _type_name(kind: pa.DataType) -> str:
    """A type's name without what is only layout: dictionaries, and the names of list items."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _type_name(kind.value_type)
    if types.is_list(kind):
        return f"list<item: {_type_name(kind.value_type)}>"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_type_name(field.type)}' for field in kind)}>"
    return str(kind)


def _rows(batch: pa.RecordBatch) -> Hashes:
    """One hash per row, of all cells in order of column name."""
    import numpy as np

    hashes = np.zeros(batch.num_rows, dtype=np.uint64)
    for column in batch.columns:
        hashes ^= _cells(column)
        hashes = _mix(hashes)
    return hashes


def _cells(array: pa.Array) -> Hashes:
    """64 bits per cell that differ where the cells do."""
    import numpy as np

    if array.null_count == len(array):
        return np.full(len(array), _NULL, dtype=np.uint64)
    values = _values(array)
    if array.null_count:
        values = np.where(array.is_valid().to_numpy(zero_copy_only=False), values, _u64(_NULL))
    return values


def _values(array: pa.Array) -> Hashes:
    """As ``_cells``; where a cell is null there may be anything."""
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        return _chosen(array)
    if types.is_string(kind) or types.is_binary(kind):
        encoded = array.dictionary_encode()
        return _chosen(encoded) if len(encoded.dictionary) * 2 < len(array) else _sequences(array, _bytes_of(array))
    if types.is_list(kind):
        return _sequences(array, _cells(array.flatten()))
    if types.is_struct(kind):
        return _structs(array)
    return _fixed(array)


def _chosen(array: pa.Array) -> Hashes:
    """A dictionary array: each of its values is hashed once."""
    values = _cells(array.dictionary)
    chosen: Hashes = values[array.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return chosen


def _structs(array: pa.Array) -> Hashes:
    import numpy as np

    hashes = np.zeros(len(array), dtype=np.uint64)
    for child in array.flatten():
        hashes = _mix(hashes ^ _cells(child))
    return _mix(hashes + _u64(_STEP))


def _bytes_of(array: pa.Array) -> Hashes:
    """Every byte of all strings that are there, in order."""
    import numpy as np
    import pyarrow as pa

    if array.null_count:
        array = array.drop_null()
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2] or pa.py_buffer(b"")
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)


def _sequences(array: pa.Array, items: Hashes) -> Hashes:
    """Lists and strings: their items with their places, and how many there are."""
    import numpy as np
    import pyarrow.compute as pc
    from pyarrow import types

    length = pc.list_value_length if types.is_list(array.type) else pc.binary_length
    lengths = length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = (np.arange(len(items)) - np.repeat(starts, lengths)).astype(np.uint64)
    sums = np.zeros(len(items) + 1, dtype=np.uint64)
    np.cumsum(_mix(items + (places + _u64(1)) * _u64(_STEP)), out=sums[1:])
    return _mix((sums[ends] - sums[starts]) ^ _mix(lengths.astype(np.uint64) + _u64(1)))


def _fixed(array: pa.Array) -> Hashes:
    """Numbers, booleans and times: their own bits.

    Raises:
        ValueError: The type has no digest.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import types

    if types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    kind = array.type
    if not (types.is_primitive(kind) or types.is_decimal(kind)):
        raise ValueError(f"tables with a column of type {kind} have no content digest")
    width = kind.bit_width // 8
    words = max(1, width // 8)
    raw = np.frombuffer(array.buffers()[1], dtype=f"u{width // words}")
    raw = raw[array.offset * words : (array.offset + len(array)) * words]
    if types.is_floating(kind):
        # One NaN for all: which bits it has depends on the processor that made it.
        raw = np.where(np.isnan(raw.view(f"f{width}")), np.array(np.nan, dtype=f"f{width}").view(raw.dtype), raw)
    parts = raw.astype(np.uint64).reshape(len(array), words)
    hashes = parts[:, 0]
    for word in range(1, words):
        hashes = _mix(hashes) ^ parts[:, word]
    return hashes


def _mix(values: Hashes) -> Hashes:
    """A bijection of 64 bits that spreads every bit over all (the finaliser of SplitMix64)."""
    values = values ^ (values >> _u64(30))
    values *= _u64(0xBF58476D1CE4E5B9)
    values ^= values >> _u64(27)
    values *= _u64(0x94D049BB133111EB)
    values ^= values >> _u64(31)
    return values


def _sum(hashes: Hashes) -> int:
    import numpy as np

    return int(hashes.sum(dtype=np.uint64))


def _u64(value: int) -> Any:
    import numpy as np

    return np.uint64(value)
