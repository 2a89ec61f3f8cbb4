"""The graph gives what the booster gives, and the same bytes every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import xgboost
from tests.fakes.booster_graph import booster_graph

from nightshift.errors import ModelError
from nightshift.model.booster import load_booster, predict
from nightshift.model.parity import compare
from nightshift.model.session import Scorer
from nightshift.transforms import Transforms
from nightshift.transforms.columns import CategoricalColumn


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"base_score": 0.5},
        {"base_score": 0.03},
        {"base_score": 0.999999, "min_child_weight": 0, "max_delta_step": 1.0, "learning_rate": 1.0},
        {"base_score": 0.99999, "min_child_weight": 0, "max_delta_step": 1.0, "learning_rate": 1.0},
        {"base_score": 1e-6, "min_child_weight": 0, "max_delta_step": 1.0, "learning_rate": 1.0},
        {"scale_pos_weight": 9.0},
        {"max_depth": 0, "max_leaves": 40, "grow_policy": "lossguide"},
        {"gamma": 1e9},  # no split at all: every tree is a lone leaf
        {"gamma": 1e9, "base_score": 0.9, "learning_rate": 1e-9},
        {"min_child_weight": 300},
    ],
    ids=str,
)
def test_graph_gives_the_boosters_probabilities(build: Any, params: dict[str, Any]) -> None:
    model = build(**params)

    parity = compare(
        predict(model.booster, model.features), Scorer.load(model.data).score(model.requests), threshold=0.4
    )

    assert parity.require().rows == 3000
    assert parity.max_diff < 1e-6


def test_label_is_the_probability_against_the_float32_threshold(model: Any) -> None:
    scorer = Scorer.load(model.data)
    probability = scorer.score(model.requests)

    assert probability.dtype == np.float32
    assert scorer.labels(model.requests).tolist() == (probability >= np.float32(model.threshold)).astype(int).tolist()

    exactly = float(probability[0])
    on_the_line = Scorer.load(booster_graph(model.transforms, model.booster, threshold=exactly))
    assert on_the_line.labels(model.requests)[0] == 1


def test_graph_has_only_known_operators_and_nothing_of_the_clock(model: Any) -> None:
    graph = onnx.load_model_from_string(model.data)

    assert {(entry.domain, entry.version) for entry in graph.opset_import} == {("", 15), ("ai.onnx.ml", 3)}
    assert (graph.producer_name, graph.producer_version, graph.graph.name) == ("nightshift", "", "nightshift")
    assert [value.name for value in graph.graph.input] == ["delay", "distance", "carrier"]
    assert [value.name for value in graph.graph.output] == ["probability", "label"]
    assert sum(node.op_type == "TreeEnsembleClassifier" for node in graph.graph.node) == 1
    assert not graph.doc_string
    assert {entry.key: entry.value for entry in graph.metadata_props} == {"nightshift.task": "binary"}


def test_the_same_model_gives_the_same_bytes(model: Any) -> None:
    reread = Transforms.from_json(model.transforms.to_json())

    again = booster_graph(reread, load_booster(bytes(model.booster.save_raw("ubj"))), threshold=model.threshold)

    assert again == model.data


def test_feature_names_of_the_booster_do_not_matter(model: Any) -> None:
    named = model.booster.copy()
    named.feature_names = ["a", "b", "c", "d", "e"]

    assert booster_graph(model.transforms, named, threshold=model.threshold) == model.data
    assert named.feature_names == ["a", "b", "c", "d", "e"]


def test_a_category_without_levels_is_still_an_input(model: Any) -> None:
    transforms = Transforms(
        model.transforms.numeric, (*model.transforms.categorical, CategoricalColumn("empty", "one_hot", 9, ()))
    )
    scorer = Scorer.load(booster_graph(transforms, model.booster, threshold=0.4))

    assert scorer.columns[-1] == ("empty", "categorical")
    requests = model.requests.append_column("empty", model.requests.column("carrier"))
    assert scorer.score(requests).tolist() == Scorer.load(model.data).score(model.requests).tolist()


def test_boosters_of_another_kind_are_refused(model: Any) -> None:
    labels = np.zeros(len(model.features))
    labels[::2] = 1
    regression = xgboost.train({"nthread": 1}, xgboost.DMatrix(model.features, labels), 2)
    narrow = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(model.features[:, :3], labels), 2
    )

    with pytest.raises(ModelError, match="not reg:squarederror and 5"):
        booster_graph(model.transforms, regression, threshold=0.5)
    with pytest.raises(ModelError, match="not binary:logistic and 3"):
        booster_graph(model.transforms, narrow, threshold=0.5)


def test_bytes_that_are_no_booster_are_refused() -> None:
    with pytest.raises(ModelError, match=r"booster\.ubj cannot be read"):
        load_booster(b"not a booster")
