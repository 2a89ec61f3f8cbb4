"""Which columns a model goes by: of which rows, how many, and what the numbers are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.cli.test_cli_predict import tiny_graph
from tests.unit.model.conftest import SmallModel, small_model
from tests.unit.model.test_model_attributions import network
from tests.unit.model.test_model_tasks import TRANSFORMS, training_rows

from nightshift.evaluate import explanations
from nightshift.evaluate.explanations import Explained, explain
from nightshift.evaluate.slices import slices_of
from nightshift.evaluate.tasks import Binary, Regression
from nightshift.model.attributions import background_of, explainer_of
from nightshift.model.session import Scorer
from nightshift.plan import canonical_json
from nightshift.spec.gate_metrics import METRICS

pytestmark = pytest.mark.thorough

PLACES = TRANSFORMS.columns_of_features


@pytest.fixture(scope="module")
def model() -> SmallModel:
    return small_model()


def about(table: pa.Table, scores: np.ndarray, *slices: str) -> Explained:
    labels = (np.random.default_rng(4).random(len(table)) < scores).astype(np.int8)
    return Explained(table, labels, scores.astype(float), slices_of(table, slices), Binary(), METRICS["roc_auc"])


def explained(model: SmallModel, *slices: str) -> dict[str, Any]:
    scorer = Scorer.load(model.data)
    of = about(model.requests, scorer.score(model.requests), *slices)
    return explain(model.data, scorer, PLACES, background_of(model.requests), of)


def test_the_mean_size_of_the_shap_values_of_a_sample(model: SmallModel) -> None:
    found = explained(model)
    assert (found["method"], found["unit"]) == ("tree_shap", "log-odds")
    assert (found["rows"], found["background_rows"], found["seed"]) == (500, 100, 0)
    assert sum(one["share"] for one in found["columns"]) == pytest.approx(1)
    all_rows = explainer_of(model.data, PLACES, background_of(model.requests)).explain(model.requests)
    truth = dict(zip(all_rows.columns, np.abs(all_rows.values[:, :, 0]).mean(axis=0), strict=True))
    assert [one["column"] for one in found["columns"]] == sorted(truth, key=truth.__getitem__, reverse=True)
    for one in found["columns"]:
        assert one["value"] == pytest.approx(truth[one["column"]], rel=0.15)


def test_a_slice_is_told_by_its_own_rows_if_it_is_large(model: SmallModel) -> None:
    found = explained(model, "carrier")
    rows = {one["value"]: one["rows"] for one in found["slices"]}
    sizes = {one.value: len(one.places) for one in slices_of(model.requests, ["carrier"])}
    assert rows.keys() == {value for value, size in sizes.items() if size >= 500}
    assert set(rows.values()) == {50}
    by_slice = {one["value"]: {of["column"]: of["value"] for of in one["columns"]} for one in found["slices"]}
    # To be AA raises the odds, and nobody else's; whoever is not AA loses little by it.
    assert by_slice["AA"]["carrier"] > 2 * max(told["carrier"] for value, told in by_slice.items() if value != "AA")
    assert found["columns"] == explained(model)["columns"], "slices change nothing of the whole"


def test_the_same_rows_say_the_same(model: SmallModel) -> None:
    assert explained(model, "carrier") == explained(model, "carrier")


def test_many_leaves_are_explained_on_fewer_rows(model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = explainer_of(model.data, PLACES, background_of(model.requests)).cost
    monkeypatch.setattr(explanations, "LEAVES", cost / 2)
    found = explained(model, "carrier")
    assert (found["rows"], {one["rows"] for one in found["slices"]}) == (250, {25})
    monkeypatch.setattr(explanations, "LEAVES", 1)
    found = explained(model, "carrier")
    assert (found["rows"], found["slices"]) == (50, [])


def test_the_twenty_largest_slices_in_their_order() -> None:
    rows = [f"p{number % 25:02d}" for number in range(25 * 500)] + [f"p{number:02d}" for number in range(5, 24)]
    of = about(pa.table({"port": rows, "all": ["x"] * len(rows)}), np.full(len(rows), 0.5), "port", "all")
    assert [one.value for one in of.large_slices] == [*(f"p{number:02d}" for number in range(5, 24)), "x"]


class TestPermutation:
    """For what is neither trees nor linear."""

    def test_what_the_metric_loses(self) -> None:
        random = np.random.default_rng(8)
        table = pa.table(
            {"dep_delay": random.normal(size=8000), "carrier": random.choice(["AA", "UA"], 8000, p=[0.9, 0.1])}
        )
        scorer = Scorer.load(tiny_graph())
        of = about(table, scorer.score(table), "carrier")
        found = explain(tiny_graph(), scorer, ["dep_delay"], table.slice(0, 50), of)
        assert (found["method"], found["unit"], found["rows"], found["repeats"]) == ("permutation", "roc_auc", 5000, 3)
        auc = Binary().value("roc_auc", of.labels, of.scores)
        assert found["columns"] == [
            {"column": "dep_delay", "value": pytest.approx(auc - 0.5, abs=0.02), "share": 1},
            {"column": "carrier", "value": 0, "share": 0},
        ]
        # Of the 5,000 rows drawn, about 500 are UA's: as many as a slice needs, or a few less.
        assert [one["value"] for one in found["slices"]][:1] == ["AA"]
        assert found["slices"][0]["columns"][0]["value"] == pytest.approx(auc - 0.5, abs=0.02)

    def test_an_error_that_grows_is_a_loss(self) -> None:
        table = training_rows()[0]
        scorer = Scorer.load(network("regression"))
        scores = scorer.score(table).astype(float)
        of = Explained(table, scores + 0.1, scores, [], Regression(), METRICS["rmse"])
        found = explain(network("regression"), scorer, PLACES, background_of(table), of)
        assert found["unit"] == "rmse"
        assert all(one["value"] > 0.01 for one in found["columns"])

    def test_a_class_with_hardly_any_rows_is_asked_about_all_the_same(self) -> None:
        """A sample of the few would have none of them, and ROC AUC would be no number."""
        random = np.random.default_rng(8)
        table = pa.table({"dep_delay": random.normal(size=60_000), "carrier": ["AA"] * 60_000})
        scorer = Scorer.load(tiny_graph())
        scores = scorer.score(table).astype(float)
        labels = np.zeros(60_000, np.int8)
        labels[np.argsort(scores)[-4:]] = 1
        of = Explained(table, labels, scores, [], Binary(), METRICS["roc_auc"])
        found = explain(tiny_graph(), scorer, ["dep_delay"], table.slice(0, 50), of)
        assert 5000 < found["rows"] <= 5004
        assert found["columns"][0]["value"] == pytest.approx(0.5, abs=0.35)
        assert canonical_json(found)
