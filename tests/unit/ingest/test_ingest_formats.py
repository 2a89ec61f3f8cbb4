"""Bytes into rows: every record is counted, and bad bytes are named with their place."""

from __future__ import annotations

import csv
import gzip
import io
import stat
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import SourceError
from nightshift.ingest.formats import archives, read_rows
from nightshift.ingest.formats.csv_file import read_csv


def zipped(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True, compression="none", use_dictionary=False)
    return sink.getvalue()


def name_of_case(value: object) -> str | None:
    """Compressed bytes hold the time of day, and a test's name must not."""
    return "data" if isinstance(value, bytes) else None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"x,y\n1,2\n"),
        ("a.csv", b"\xef\xbb\xbfx,y\r\n1,2\r\n"),
        ("a.CSV.GZ", gzip.compress(b"x,y\n1,") + gzip.compress(b"2\n")),
        ("a.csv.zip", zipped(**{"inside.csv": b"x,y\n1,2\n"})),
    ],
    ids=["plain", "BOM and CRLF", "gzip of two members", "zip"],
)
def test_csv_in_every_wrapping(name: str, data: bytes):
    rows = read_rows(data, name)
    assert rows.table.to_pylist() == [{"x": "1", "y": "2"}]
    assert rows.numbers.to_pylist() == [2]


def test_fields_are_text_and_empty_ones_are_null():
    table = read_csv(b'x,y\n01,NA\n"",\n', "a.csv").table
    assert table.to_pylist() == [{"x": "01", "y": "NA"}, {"x": None, "y": None}]


def test_quotes_may_span_lines_and_another_delimiter_may_be_used():
    assert read_csv(b'x;y\n"a\n;b";2\n', "a.csv", delimiter=";").table.to_pylist() == [{"x": "a\n;b", "y": "2"}]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.text(st.sampled_from('ab ,"\né'), max_size=4), min_size=1, max_size=4), max_size=20),
    st.integers(64, 400),
)
def test_every_record_is_a_row_or_is_ragged_with_its_number(records: list[list[str]], block: int):
    """The same records as Python's csv module finds, for any block size of the reader."""
    records = [record for record in records if record != [""]]
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows([["h1", "h2"], *records])

    rows = read_csv(sink.getvalue().encode(), "a.csv", block=block)

    numbered = list(enumerate(records, start=2))
    assert rows.numbers.to_pylist() == [number for number, record in numbered if len(record) == 2]
    assert [(row.number, row.fields) for row in rows.ragged] == [
        (number, len(record)) for number, record in numbered if len(record) != 2
    ]
    assert rows.table.to_pylist() == [
        {"h1": record[0] or None, "h2": record[1] or None} for _, record in numbered if len(record) == 2
    ]
    assert rows.count == len(records)


def damaged_zip() -> bytes:
    data = bytearray(zipped(**{"a.csv": bytes(range(48, 58)) * 500}))
    data[60] ^= 0xFF
    return bytes(data)


def zip_with_link() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        link = zipfile.ZipInfo("a.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return sink.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


NUMBERS = parquet(pa.table({"x": list(range(100))}))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"x,y\n1,ok\n2,K\xf6ln\n", r"a\.csv, line 3: byte 0xf6 at offset 12 is not UTF-8 \(after '2,K'\)"),
        ("a.csv", b"x\n" + b"a\n" * (1 << 23) + b"\xc3", r"line 8388610: byte 0xc3 at offset 16,777,218 is not UTF-8"),
        ("a.csv", b"x,y\n1,\x00\n", r"a\.csv, line 2: NUL byte at offset 6"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), r"a\.csv, line 1: byte 0xff at offset 0 is not UTF-8"),
        ("a.csv", b"", r"a\.csv is empty: 0 bytes"),
        ("a.csv", b"\n\n", r"a\.csv holds no header line"),
        ("a.csv", b"x,,z\n1,2,3\n", r"column 2 of 3 has no name"),
        ("a.csv", b"x,Origin,origin\n1,2,3\n", r"columns Origin and origin, which Spark cannot tell apart"),
        ("a.csv", b'x,y\n1,"' + b"a" * (34 << 20), r"has a record longer than 16,777,216 bytes"),
        ("a.txt", b"x\n1\n", r"a\.txt has a name that does not tell its format"),
        ("a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 1000)[:-10], r"a\.csv\.gz is cut off or damaged: after"),
        ("a.csv.gz", b"x,y\n1,2\n", r"a\.csv\.gz is cut off or damaged: .*[Nn]ot a gzipped file"),
        ("a.csv.gz", gzip.compress(b""), r"a\.csv\.gz is empty: it expands to 0 bytes"),
        ("a.csv.zip", zipped(a=b"x\n")[:-5], r"a\.csv\.zip is not a readable zip file"),
        ("a.csv.zip", damaged_zip(), r"a\.csv\.zip!a\.csv is cut off or damaged"),
        ("a.csv.zip", zipped(a=b"x\n", b=b"x\n"), r"must hold exactly one file, but holds 2: a, b"),
        ("a.csv.zip", zipped(**{"..__..__etc__x.csv": b"x\n"}), r"unsafe member '\.\./\.\./etc/x\.csv'"),
        ("a.csv.zip", zipped(**{"__etc__x.csv": b"x\n"}), r"unsafe member '/etc/x\.csv': a path that leads outside"),
        ("a.csv.zip", zip_with_link(), r"unsafe member 'a\.csv': a link"),
        ("a.parquet", b"PAR1", r"a\.parquet is not a readable parquet file"),
        ("a.parquet", b"not parquet at all", r"a\.parquet is not a readable parquet file"),
        ("a.parquet", NUMBERS[: len(NUMBERS) // 2], r"a\.parquet is not a readable parquet file"),
        ("a.parquet", flipped(NUMBERS, 200), r"a\.parquet is not a readable parquet file .*[Cc]"),
        ("a.parquet", parquet(pa.table({"x": [[1]]})), r"column x has type list<.*>, which cannot be used"),
        ("a.parquet", parquet(pa.table({"x": pa.array([2**63], pa.uint64())})), r"column x of type uint64 does not fit int64"),
    ],
    ids=name_of_case,
)  # fmt: skip
def test_bad_files_are_named_with_the_place(name: str, data: bytes, says: str):
    with pytest.raises(SourceError, match=says):
        read_rows(data, name)


@pytest.mark.parametrize("wrap", ["gz", "zip"])
def test_a_decompression_bomb_is_not_read_to_its_end(wrap: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "FREE_EXPANDED", 1 << 20)
    bomb = b"0" * (32 << 20)
    data = gzip.compress(bomb) if wrap == "gz" else zipped(a=bomb)
    with pytest.raises(SourceError, match=r"expands from [\d,]+ bytes to more than"):
        read_rows(data, f"a.csv.{wrap}")


def test_parquet_types_become_a_few():
    table = pa.table(
        {
            "whole": pa.array([1, None], pa.int16()),
            "real": pa.array([1.5, float("nan")], pa.float32()),
            "text": pa.array(["a", None]).dictionary_encode(),
            "naive": pa.array([0, 1], pa.timestamp("ns")),
            "day": pa.array([0, 1], pa.date32()),
        }
    )
    rows = read_rows(parquet(table), "a.parquet")
    assert [str(kind) for kind in rows.table.schema.types] == [
        "int64", "double", "string", "timestamp[us, tz=UTC]", "date32[day]",
    ]  # fmt: skip
    assert rows.table.column("real").to_pylist() == [1.5, None]
    assert rows.numbers.to_pylist() == [1, 2]
