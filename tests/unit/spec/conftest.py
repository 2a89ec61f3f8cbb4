"""A small good spec on disk, to be broken in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec

ORDERS_SQL = """SELECT o.order_id, o.ordered_at, o.late, o.price, o.country, s.distance
FROM source AS o
LEFT JOIN shops AS s ON s.shop = o.shop
"""
ORDERS = """version: 1
model: orders
owner: orders@example.com
schedule: "0 2 * * *"
source: {kind: files, uri: data/orders/%F.csv, time: ordered_at}
key: [order_id]
tables:
  shops: {kind: files, uri: data/shops.csv}
prepare: orders.sql
expectations:
  - {column: price, between: [0, 10000]}
  - {column: country, in_set: [de, fr]}
label: {column: late, positive: "== yes", delay: 2d}
features:
  numeric: [price, distance]
  categorical: [country]
  forbidden: [delivered_at]
window: {train: 30d, holdout: 14d}
training:
  engine: xgboost
  params: {n_estimators: 50}
gates:
  minimum: 0.7
"""


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``orders.yaml`` and its SQL in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.sql").write_text(ORDERS_SQL)
    path = tmp_path / "orders.yaml"
    path.write_text(ORDERS)
    return path


@pytest.fixture
def load(orders: Path) -> Callable[..., ModelSpec]:
    """Load the good spec with some of its text replaced."""

    def change(*replacements: tuple[str, str]) -> ModelSpec:
        text = ORDERS
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        orders.write_text(text)
        return load_spec(orders)

    return change
