"""A static source: one snapshot of all rows, digests for keys, and nights that have nothing to do."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import NightSkipped, SourceError
from nightshift.ingest.formats.csv_file import read_csv
from nightshift.ingest.whole import row_digests
from nightshift.jobs.planning import make_plan
from nightshift.plan import EVER, Interval
from nightshift.settings import Settings
from nightshift.stage import CONCLUDES, OUTCOME

ROWS = "5,7,0\n6,8,1\n7,9,0\n"
CELL = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


@pytest.fixture
def scans(lab: Any) -> Any:
    """The lab with a static source of three rows without a header."""
    lab.spec["source"] = {"kind": "files", "uri": "data/scans.csv.gz", "static": True, "row_digest": "row"}
    lab.spec["source"]["columns"] = ["km", "size", "late"]
    lab.spec |= {"key": ["row"], "split": {"holdout": 0.5}, "label": {"column": "late", "positive": ">= 1"}}
    del lab.spec["window"]
    lab.spec["gates"] = {"minimum": 0.5}
    lab.write("scans.csv.gz", gzip.compress(ROWS.encode()))
    return lab


def conclude(lab: Any, night: str) -> None:
    """What the last stage of a night leaves behind."""
    plan = lab.plan(night)
    ingest = lab.store.latest("ingest", plan.interval.key)
    attempt = lab.store.attempt("deploy", plan.interval.key)
    attempt.publish(stage_key="k", code="c", result={CONCLUDES: ingest.result[OUTCOME]})


def test_all_rows_are_one_snapshot_with_a_digest_for_each(scans: Any) -> None:
    result = scans.ingest("2024-03-05")

    assert list(scans.store.resolve(result.ref).inputs) == ["raw/all"]
    assert (result.summary["rows_in"], result.summary["days"]) == (3, 1)
    rows = scans.rows("all")
    assert [(row["km"], row["size"], row["late"]) for row in rows] == [(5, 7, 0), (6, 8, 1), (7, 9, 0)]
    told = hashlib.sha256(b"1:5,1:0,1:7,").hexdigest()  # km, late, size: in the order of their names
    assert rows[0]["row"] == told[:32]
    assert scans.raw("all").interval == EVER.key


def test_a_snapshot_is_new_only_where_its_rows_are(scans: Any) -> None:
    scans.ingest("2024-03-05")
    scans.write("scans.csv.gz", gzip.compress(ROWS.encode(), compresslevel=1))
    scans.ingest("2024-03-06")
    assert scans.store.versions("raw", "all") == [1]

    scans.write("scans.csv.gz", gzip.compress(f"{ROWS}8,9,1\n".encode()))
    third = scans.ingest("2024-03-07")

    assert scans.store.versions("raw", "all") == [1, 2]
    assert third.status == "succeeded"


def test_a_night_after_a_decision_about_the_same_is_skipped_with_the_reason(scans: Any) -> None:
    scans.ingest("2024-03-05")
    undecided = scans.ingest("2024-03-06")  # the night before failed, or a hold kept its version back
    conclude(scans, "2024-03-06")

    skipped = scans.ingest("2024-03-07")
    again = scans.ingest("2024-03-07")
    own = scans.ingest("2024-03-06")

    assert (undecided.status, skipped.status) == ("succeeded", "skipped")
    assert skipped.reason == (
        "Nothing has changed since night 2024-03-06: the same rows, spec, code and libraries make the same model, "
        "and that was decided on then."
    )
    assert (again.reused, again.status) == (True, "skipped")
    assert (own.reused, own.status) == (True, "succeeded")  # run again, it is the night that it was


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("training", {"engine": "xgboost", "seed": 7}),
        ("split", {"holdout": 0.4}),
        ("gates", {"minimum": 0.6}),
        ("expectations", [{"column": "km", "between": [0, 9]}]),
    ],
)
def test_a_changed_spec_makes_an_ordinary_night(scans: Any, section: str, value: Any) -> None:
    scans.ingest("2024-03-05")
    conclude(scans, "2024-03-05")
    assert scans.ingest("2024-03-06").status == "skipped"
    scans.spec[section] = value
    assert scans.ingest("2024-03-06").status == "succeeded"
    assert scans.ingest("2024-03-07").status == "succeeded"


def test_rows_that_come_back_are_a_change_too(scans: Any) -> None:
    scans.ingest("2024-03-05")
    conclude(scans, "2024-03-05")
    scans.write("scans.csv.gz", gzip.compress(f"{ROWS}8,9,1\n".encode()))
    scans.ingest("2024-03-06")
    conclude(scans, "2024-03-06")
    scans.write("scans.csv.gz", gzip.compress(ROWS.encode()))
    assert scans.ingest("2024-03-07").status == "succeeded"


def test_records_of_another_width_are_set_aside_with_their_numbers(scans: Any) -> None:
    scans.write("scans.csv.gz", gzip.compress(f"{ROWS}8,9\n9,9,1\n".encode()))

    result = scans.ingest("2024-03-05")

    assert (result.summary["rows_in"], result.summary["rows_out"], result.summary["quarantined"]) == (5, 4, 1)
    [aside] = scans.quarantine("all")
    assert (aside["source_row"], aside["reason"]) == (4, "has 2 fields, not 3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "km,size,late\n5,7,0\n",
            "line 1: km, size, late: this is a header, and columns in the spec says there is none",
        ),
        ("5,7\n6,8\n", "2 of 2 rows cannot be used"),
        ("", "is empty"),
    ],
)
def test_what_is_no_headerless_table_is_refused(scans: Any, content: str, message: str) -> None:
    scans.write("scans.csv.gz", gzip.compress(content.encode()))
    with pytest.raises(SourceError, match=message):
        scans.ingest("2024-03-05")


def test_a_source_whose_files_are_gone_is_no_quiet_night(scans: Any) -> None:
    scans.ingest("2024-03-05")
    conclude(scans, "2024-03-05")
    (scans.folder / "data" / "scans.csv.gz").unlink()
    with pytest.raises(SourceError, match=r"the source has no file; looked for data/scans.csv.gz"):
        scans.ingest("2024-03-06")


def test_a_digest_takes_no_name_of_the_file(scans: Any) -> None:
    del scans.spec["source"]["columns"]
    scans.write("scans.csv.gz", gzip.compress(b"km,late,Row\n5,0,1\n"))
    with pytest.raises(SourceError, match=r"has a column row, which is the name that source.row_digest gives"):
        scans.ingest("2024-03-05")


def test_a_backfill_of_a_static_source_says_why_it_does_nothing(scans: Any) -> None:
    spec, settings = scans.plan("2024-03-05").spec, Settings.from_environment({"NIGHTSHIFT_HOME": str(scans.folder)})
    interval = Interval.of_key("2024-03-04")
    with pytest.raises(NightSkipped, match=r"a static source has no past: .* nightshift run rides --night 2024-03-05"):
        make_plan(spec, interval, settings, run_id="r", trigger="backfill")


def test_numbers_of_rows_begin_where_the_rows_do() -> None:
    assert read_csv(b"1,2\n3\n4,5\n", "a.csv", columns=["a", "b"]).numbers.to_pylist() == [1, 3]


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), max_size=8))
def test_rows_have_the_same_digest_only_if_their_cells_are_the_same(rows: list[list[str | None]]) -> None:
    table = pa.table({name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate("ab")})
    digests = row_digests(table)
    assert digests == row_digests(table.select(["b", "a"]))
    assert len(set(digests)) == len({tuple(row) for row in rows})
