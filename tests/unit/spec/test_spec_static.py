"""A static source in a spec: what it takes instead of days. What it refuses is in the golden files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from jsonschema import ValidationError, validate

from nightshift.errors import SpecError
from nightshift.plan import EVER, Interval, Windows
from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec
from nightshift.spec.schema import json_schema

Load = Callable[..., ModelSpec]
SOURCE = "{kind: files, uri: data/orders/%F.csv, time: ordered_at}"
STATIC = "{kind: files, uri: data/orders.csv, static: true}"
LABEL = ('label: {column: late, positive: "== yes", delay: 2d}', 'label: {column: late, positive: "== yes"}')
SPLIT = ("window: {train: 30d, holdout: 14d}", "split: {holdout: 0.2}")


def test_a_static_source_has_a_split_and_no_windows(load: Load) -> None:
    spec = load((SOURCE, STATIC), LABEL, SPLIT)
    assert spec.source.static
    assert spec.window is None
    assert spec.split is not None
    assert spec.split.first_trained == 2_000
    windows = Windows.of(spec, Interval.of_day(date(2024, 3, 1)))
    assert (windows.ingest, windows.by_time) == (EVER, {"all": EVER})
    assert windows.named("holdout") == "the holdout side of the split"
    with pytest.raises(ValueError, match="no time column"):
        _ = spec.source.moment


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{kind: files, uri: data/orders.parquet, static: true, columns: [late]}", "a parquet file names its columns"),
        ("{kind: files, uri: data/o, format: parquet, static: true, columns: [late]}", "a parquet file names its col"),
        ("{kind: files, uri: o.csv, static: true, columns: [order_id, late, Late]}", "Late is listed twice"),
        (
            "{kind: files, uri: o.csv, static: true, row_digest: Late, columns: [order_id, late]}",
            "Late is a column of the file already",
        ),
        ("{kind: files, uri: o.csv, static: true, columns: [late, price]}", r"key\[0\]: order_id is not among"),
    ],
)
def test_columns_that_cannot_be(load: Load, source: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load((SOURCE, source), LABEL, SPLIT)


def test_columns_of_a_source_with_days_have_its_time(load: Load) -> None:
    columns = "time: ordered_at, columns: [order_id, late, ordered_on]}"
    with pytest.raises(SpecError, match=r"source.time: ordered_at is not among source.columns") as raised:
        load(("time: ordered_at}", columns))
    assert raised.value.hint == "did you mean ordered_on?"


def test_side_tables_may_have_no_header_either(load: Load) -> None:
    spec = load(("uri: data/shops.csv}", "uri: data/shops.csv, columns: [shop, distance]}"))
    assert spec.tables["shops"].columns == ("shop", "distance")


def test_editors_know_that_a_spec_has_one_of_window_and_split() -> None:
    schema, digits = json_schema(), load_spec(Path(__file__).parents[3] / "dags" / "models" / "digits.yaml")
    good = digits.model_dump(mode="json", exclude_unset=True, exclude={"prepare_sql"})
    validate(good, schema)
    for bad in ({**good, "window": {"train": "3d", "holdout": "1d"}}, {**good, "split": None}):
        with pytest.raises(ValidationError):
            validate(bad, schema)
    with pytest.raises(ValidationError):
        validate({name: section for name, section in good.items() if name != "split"}, schema)
