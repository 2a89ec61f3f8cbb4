"""A small trained model: two numbers with gaps, one category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from tests.fakes.booster_graph import booster_graph

from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn, NumericColumn
from nightshift.transforms.numeric import Clip

LEVELS = ("AA", "B6", "UA")


@dataclass(frozen=True)
class SmallModel:
    transforms: Transforms
    booster: xgboost.Booster
    requests: pa.Table
    features: np.ndarray
    data: bytes
    threshold: float


def requests_of(rng: np.random.Generator, rows: int) -> tuple[pa.Table, np.ndarray]:
    """Request rows and their vectors, written by hand."""
    delay = np.round(rng.normal(10, 20, rows)).astype(np.float32)
    distance = np.round(rng.uniform(0, 9, rows)).astype(np.float32)
    delay[rng.random(rows) < 0.2] = np.nan
    carriers = np.array([*LEVELS, "ZZ", "", None], object)[rng.integers(6, size=rows)]
    table = pa.table(
        {"delay": pa.array(delay, from_pandas=True), "distance": distance, "carrier": pa.array(carriers, pa.string())}
    )
    one_hot = np.array([[carrier == level for level in LEVELS] for carrier in carriers], np.float32).reshape(-1, 3)
    return table, np.column_stack([np.clip(delay, -5, 60), distance, one_hot]).astype(np.float32)


def small_model(rows: int = 3000, **params: object) -> SmallModel:
    rng = np.random.default_rng(3)
    requests, features = requests_of(rng, rows)
    odds = np.nan_to_num(features[:, 0], nan=25) / 12 - features[:, 1] / 4 + 2 * features[:, 2] - 2
    labels = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "seed": 0, "nthread": 1, "verbosity": 0, **params},
        xgboost.QuantileDMatrix(features, labels),
        num_boost_round=15,
    )
    transforms = Transforms(
        (NumericColumn("delay", (Clip(-5.0, 60.0),)), NumericColumn("distance")),
        (CategoricalColumn("carrier", "one_hot", 9, LEVELS),),
    )
    threshold = 0.4
    data = booster_graph(transforms, booster, threshold=threshold)
    return SmallModel(transforms, booster, requests, features, data, threshold)


@pytest.fixture(scope="session")
def model() -> SmallModel:
    return small_model()


@pytest.fixture(scope="session")
def build() -> object:
    return small_model
