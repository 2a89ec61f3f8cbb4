"""One night's ingest on small files: what is published, what is read again, what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from nightshift.errors import DataError, SourceError

DAYS = ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"]
Text = Callable[..., str]


def test_the_first_night_fills_the_window_and_the_next_adds_one_day(lab, four_days: Text):
    lab.write("rides.csv", four_days(days=(1, 2, 3, 4, 5)))

    first = lab.ingest("2024-03-05")
    second = lab.ingest("2024-03-06")

    assert first.summary == {
        "rows_in": 8, "rows_out": 8, "quarantined": 0, "days": 4, "days_added": 4, "days_changed": 0,
    }  # fmt: skip
    assert second.summary["days_added"] == 1
    assert second.summary["days_changed"] == 0
    manifest = lab.store.resolve(second.ref)
    assert sorted(manifest.inputs) == [f"raw/2024-03-0{day}" for day in (2, 3, 4, 5)]


def test_a_second_run_with_unchanged_files_reads_nothing(lab, four_days: Text, monkeypatch: pytest.MonkeyPatch):
    lab.write("rides.csv", four_days())
    first = lab.ingest("2024-03-05")
    published = lab.published()
    monkeypatch.setattr("nightshift.ingest.sources.files.Files.read", lambda *_: pytest.fail("read again"))

    again = lab.ingest("2024-03-05")

    assert again.reused
    assert again.ref == first.ref
    assert lab.published() == published


def test_rows_keep_all_columns_and_their_order(lab, four_days: Text):
    lab.write("rides.csv", four_days())
    lab.ingest("2024-03-05")
    rows = lab.rows("2024-03-02")
    assert [list(row) for row in rows] == [["id", "at", "km", "city", "late"]] * 2
    assert [(row["id"], row["km"], row["city"], row["late"]) for row in rows] == [
        ("2a", 2.5, "Bonn", 1),
        ("2b", 7.0, "NA", 0),
    ]
    assert rows[0]["at"].isoformat() == "2024-03-02T06:00:00+00:00"


def test_rows_that_name_no_day_are_booked_to_the_nights_own_day_once(lab, four_days: Text):
    bad = ("9a,not a time,1,Bonn,1", "9b,,1,Bonn,1", "9c,2024-03-02T00:00:00Z,1", "9d,2024-02-30T00:00:00Z,1,Bonn,0")
    lab.write("rides.csv", four_days(*bad, days=(1, 2, 3, 4, 5)))

    lab.ingest("2024-03-05")
    lab.ingest("2024-03-06")

    rows = [(row["source_row"], row["reason"]) for row in lab.quarantine("2024-03-04")]
    assert rows == [
        (14, "has 3 fields, not 5"),
        (13, "at is empty"),
        (12, "at is no moment in time"),
        (15, "at is no moment in time"),
    ]
    assert json.loads(lab.quarantine("2024-03-04")[0]["raw"]) == bad[2]
    assert json.loads(lab.quarantine("2024-03-04")[2]["raw"]) == {
        "id": "9a", "at": "not a time", "km": "1", "city": "Bonn", "late": "1",
    }  # fmt: skip
    assert lab.quarantine("2024-03-05") == []
    assert lab.raw("2024-03-04").result["rows_in"] == 2 + 4


def test_sources_json_accounts_for_every_row_of_every_file(lab, four_days: Text):
    lab.write("rides.csv", four_days("9a,gestern,1,Bonn,1", days=(1, 2, 3, 4, 7)))
    result = lab.ingest("2024-03-05")
    files = json.loads(lab.store.read(lab.store.resolve(result.ref), "sources.json"))["source"]
    assert [
        {name: file[name] for name in ("name", "rows_in", "rows_out", "outside", "quarantined")} for file in files
    ] == [{"name": "data/rides.csv", "rows_in": 11, "rows_out": 8, "outside": 2, "quarantined": 1}]


def test_the_days_of_a_night_account_for_every_row(lab, four_days: Text):
    lab.write("rides.csv", four_days("9a,gestern,1,Bonn,1", "9b,2024-03-02"))
    lab.ingest("2024-03-05")
    for manifest in map(lab.raw, DAYS):
        assert manifest.result["rows_out"] == manifest.outputs["rows"].rows
        assert manifest.result["quarantined"] == manifest.outputs["quarantine"].rows
        assert manifest.result["rows_in"] == manifest.result["rows_out"] + manifest.result["quarantined"]
    assert sum(lab.raw(day).result["rows_in"] for day in DAYS) == 10


def test_too_many_unusable_rows_stop_the_night(lab, four_days: Text):
    lab.spec["quarantine"] = {"max_fraction": 0.1}
    lab.write("rides.csv", four_days("9a,soon,1,Bonn,1", "9b,2024"))
    with pytest.raises(SourceError) as caught:
        lab.ingest("2024-03-05")
    assert caught.value.message == (
        "data/rides.csv: 2 of 10 rows cannot be used (20.00%; quarantine.max_fraction allows 10.00%): "
        "1 × at is no moment in time (first: row 10, value 'soon'); "
        "1 × wrong number of fields (first: row 11 has 2, there are 5 columns)."
    )
    assert lab.published() == []


def test_an_empty_day_stops_the_night_before_anything_is_published(lab, four_days: Text):
    lab.write("rides.csv", four_days(days=(1, 2, 4)))
    with pytest.raises(DataError) as caught:
        lab.ingest("2024-03-05")
    assert "no rows for 2024-03-03; looked in data/rides.csv" in caught.value.message
    assert "source.since" in str(caught.value.hint)
    assert lab.published() == []


def test_a_day_is_read_again_when_its_file_changed(lab):
    lab.source(uri="data/%Y-%m-%d.csv")
    for day in DAYS:
        lab.write(f"{day}.csv", f"id,at,km,late\n1,{day}T01:00:00Z,1.5,0\n")
    lab.ingest("2024-03-05")
    lab.write("2024-03-03.csv", "id,at,km,late\n1,2024-03-03T01:00:00Z,2.5,0\n2,2024-03-03T02:00:00Z,2.5,1\n")

    again = lab.ingest("2024-03-05")

    assert again.summary["days_changed"] == 1
    assert lab.raw("2024-03-03").version == 2
    assert lab.raw("2024-03-02").version == 1
    assert [row["km"] for row in lab.rows("2024-03-03")] == [2.5, 2.5]


def test_a_day_is_looked_at_again_once_its_labels_are_known(lab, four_days: Text):
    """Same content, same digest, newer as_of: nothing downstream has to be repeated."""
    lab.write("rides.csv", four_days(days=(1, 2, 3, 4, 5)))
    lab.ingest("2024-03-05")
    early = lab.raw("2024-03-04")
    assert early.result["as_of"] == "2024-03-05T00:00:00+00:00"  # known from 2024-03-06 on

    lab.ingest("2024-03-06")

    late = lab.raw("2024-03-04")
    assert late.version == 2
    assert late.result["as_of"] == "2024-03-06T00:00:00+00:00"
    assert late.digest == early.digest
    assert lab.raw("2024-03-03").version == 1


def test_labels_that_arrive_later_make_a_new_version(lab):
    lab.source(uri="data/%Y-%m-%d.csv")
    for day in [*DAYS, "2024-03-05"]:
        lab.write(f"{day}.csv", f"id,at,km,late\n1,{day}T01:00:00Z,1.5,{'' if day == '2024-03-04' else 0}\n")
    lab.ingest("2024-03-05")
    assert lab.rows("2024-03-04")[0]["late"] is None
    lab.write("2024-03-04.csv", "id,at,km,late\n1,2024-03-04T01:00:00Z,1.5,1\n")

    result = lab.ingest("2024-03-06")

    assert lab.rows("2024-03-04")[0]["late"] == 1
    assert lab.store.resolve(result.ref).inputs["raw/2024-03-04"].version == 2


def test_a_file_that_grows_leaves_the_other_days_alone(lab, four_days: Text):
    lab.write("rides.csv", four_days())
    lab.ingest("2024-03-05")
    lab.write("rides.csv", four_days("5a,2024-03-05T01:00:00Z,1,Bonn,1"))

    result = lab.ingest("2024-03-06")

    assert result.summary["days_added"] == 1
    assert result.summary["days_changed"] == 0
    assert lab.raw("2024-03-02").version == 1


def test_a_column_keeps_its_type_on_days_of_nulls_and_of_whole_numbers(lab):
    lab.source(uri="data/%Y-%m-%d.csv")
    values = {"2024-03-01": "1.5", "2024-03-02": "", "2024-03-03": "2", "2024-03-04": "NA", "2024-03-05": "3"}
    for day, value in values.items():
        lab.write(f"{day}.csv", f"id,at,km,late\n007,{day}T01:00:00Z,{value},0\n")
    lab.ingest("2024-03-05")
    lab.ingest("2024-03-06")
    for day, km in zip(values, (1.5, None, 2.0, None, 3.0), strict=True):
        assert lab.raw(day).outputs["rows"].schema["km"] == "double"
        assert lab.rows(day)[0]["km"] == km
        assert lab.rows(day)[0]["id"] == "007"


def test_stored_days_are_restated_when_a_column_turns_out_to_be_wider(lab):
    lab.source(uri="data/%Y-%m-%d.csv")
    for day in DAYS:
        lab.write(f"{day}.csv", f"id,at,km,note,late\n1,{day}T01:00:00Z,2,,0\n")
    lab.ingest("2024-03-05")
    assert lab.raw("2024-03-02").outputs["rows"].schema["km"] == "int64"
    lab.write("2024-03-05.csv", "id,at,km,note,late\n1,2024-03-05T01:00:00Z,2.5,wet,0\n")

    lab.ingest("2024-03-06")

    for day in [*DAYS[1:], "2024-03-05"]:
        schema = lab.raw(day).outputs["rows"].schema
        assert (schema["km"], schema["note"]) == ("double", "string")
    assert lab.rows("2024-03-02")[0]["km"] == 2.0


def test_rows_outside_the_day_of_their_file_are_quarantined(lab):
    lab.source(uri="data/%Y/%j/part-*.csv.gz")
    for number, day in enumerate(DAYS, start=61):
        rows = f"1,{day}T01:00:00Z,1.5,0\n2,2024-07-01T00:00:00Z,1.5,0\n"
        lab.write(f"2024/{number:03d}/part-0.csv.gz", gzip.compress(f"id,at,km,late\n{rows}".encode()))
    lab.write("2024/061/_SUCCESS", b"")
    lab.ingest("2024-03-05")
    for day in DAYS:
        assert [row["id"] for row in lab.rows(day)] == [1]
        (row,) = lab.quarantine(day)
        assert row["reason"] == "at lies on 2024-07-01, which is not a day of this file"
        assert row["source_row"] == 3


def test_a_missing_file_names_the_day_and_what_was_looked_for(lab):
    lab.source(uri="data/%Y-%m-%d/*.csv")
    for day in DAYS[:3]:
        lab.write(f"{day}/a.csv", f"id,at,km,late\n1,{day}T01:00:00Z,1.5,0\n")
    with pytest.raises(SourceError, match=r"no file for 2024-03-04; looked for data/2024-03-04/\*\.csv"):
        lab.ingest("2024-03-05")
    assert lab.published() == []


def test_a_day_whose_file_was_archived_meanwhile_stays(lab):
    lab.source(uri="data/%Y-%m-%d.csv")
    for day in [*DAYS, "2024-03-05"]:
        lab.write(f"{day}.csv", f"id,at,km,late\n1,{day}T01:00:00Z,1.5,0\n")
    lab.ingest("2024-03-05")
    (lab.folder / "data" / "2024-03-02.csv").unlink()
    assert lab.ingest("2024-03-06").summary["days"] == 4


def test_since_and_until_bound_the_days(lab, four_days: Text):
    lab.source(since="2024-03-03")
    lab.write("rides.csv", four_days())
    assert lab.ingest("2024-03-05").summary["days"] == 2
    with pytest.raises(DataError, match="2024-03-01 lies outside the source"):
        lab.ingest("2024-03-02")


@pytest.mark.parametrize("column", ["id", "at", "late"])
def test_a_missing_column_lists_what_is_there(lab, four_days: Text, column: str):
    lab.write("rides.csv", four_days().replace(column, f"{column}_x", 1))
    with pytest.raises(SourceError) as caught:
        lab.ingest("2024-03-05")
    assert f"data/rides.csv has no column {column}, which" in caught.value.message
    assert f"{column}_x" in caught.value.message
    assert lab.published() == []


def test_files_of_one_day_must_have_the_same_columns(lab, four_days: Text):
    lab.source(uri="data/*.csv")
    lab.write("a.csv", four_days())
    lab.write("b.csv", "id,at,late\n1,2024-03-02T01:00:00Z,0\n")
    with pytest.raises(SourceError, match=r"data/b\.csv has no column km, city, which data/a\.csv has"):
        lab.ingest("2024-03-05")


def test_bad_bytes_stop_the_night_and_publish_nothing(lab, four_days: Text):
    good = four_days().encode()
    for name, content, place in (
        ("rides.csv", good + b"9,2024-03-02T01:00:00Z,1,K\xf6ln,1\n", r"data/rides\.csv, line 10: byte 0xf6 at offset \d+ is not UTF-8"),
        ("rides.csv.gz", gzip.compress(good)[:-20], r"data/rides\.csv\.gz is cut off or damaged"),
        ("rides.csv", good.splitlines()[0] + b"\n", r"data/rides\.csv has a header but no rows"),
        ("rides.csv", b"", r"data/rides\.csv is empty: 0 bytes"),
    ):  # fmt: skip
        lab.write(name, content)
        lab.source(uri=f"data/{name}")
        with pytest.raises(SourceError, match=place):
            lab.ingest("2024-03-05")
        assert lab.published() == []


def test_a_side_table_gets_a_new_version_only_when_its_content_changed(lab, four_days: Text):
    lab.spec["tables"] = {"cities": {"kind": "files", "uri": "data/cities-*.csv"}}
    lab.write("rides.csv", four_days(days=(1, 2, 3, 4, 5, 6)))
    lab.write("cities-a.csv", "city,people\nBonn,300\n")
    lab.write("cities-b.csv", "city,people\nKöln,1.5\n")
    first = lab.ingest("2024-03-05")
    lab.write("cities-a.csv", "city,people\nBonn,300\n")
    second = lab.ingest("2024-03-06")
    lab.write("cities-a.csv", "city,people\nBonn,301\n")
    third = lab.ingest("2024-03-07")

    versions = [lab.store.resolve(result.ref).inputs["table.cities"].version for result in (first, second, third)]
    assert versions == [1, 1, 2]
    table = lab.store.read_table(lab.store.latest("table.cities", "all"), "rows").to_pylist()
    assert table == [{"city": "Bonn", "people": 301.0}, {"city": "Köln", "people": 1.5}]


def test_a_missing_side_table_is_named(lab, four_days: Text):
    lab.write("rides.csv", four_days())
    lab.spec["tables"] = {"cities": {"kind": "files", "uri": "data/cities.csv"}}
    with pytest.raises(SourceError, match=r"table cities has no file; looked for data/cities\.csv"):
        lab.ingest("2024-03-05")
