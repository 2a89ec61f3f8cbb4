"""``nightshift explain-prediction`` on real small models of every task, and on one that is neither trees nor linear."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.asked_night import CLASSES, asked_night
from tests.fakes.published_night import PublishedNight, plan_of
from tests.fakes.trained_night import FIRST, Night, promote, trained_night
from tests.unit.cli.conftest import Call
from tests.unit.cli.test_cli_predict import tiny_graph

from nightshift.cli.explain_prediction import explain
from nightshift.errors import ModelError
from nightshift.ledger import Champion, Ledger
from nightshift.model.attributions import TOLERANCE

pytestmark = pytest.mark.thorough

ROW: dict[str, Any] = {"weight": 1.25, "distance": None, "lane": "sea"}


@pytest.fixture
def parcels(site: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A champion of the small model in the site's storage."""
    monkeypatch.setenv("NIGHTSHIFT_ENV", "test")
    (site / "dags" / "models" / "parcels.yaml").write_text("")
    night = trained_night(site)
    promote(night, 1)
    return night


def champion_of(night: Night) -> Champion:
    found = Ledger(night.store).champion()
    assert found is not None
    return found


def require_sum(told: dict[str, Any]) -> None:
    adds = [column["adds"] for column in told["columns"]]
    assert abs(told["base"] + sum(adds) - told["score"]) <= TOLERANCE * max(1, abs(told["base"]) + sum(map(abs, adds)))
    assert sorted(map(abs, adds), reverse=True) == list(map(abs, adds))


def test_a_row_is_told_column_by_column(call: Call, parcels: Night) -> None:
    called = call("explain-prediction", "parcels", json.dumps(ROW), "--json")
    assert (called.code, called.err) == (0, "")
    told = json.loads(called.out)
    require_sum(told)
    assert (told["method"], told["unit"], told["adds_up"]) == ("tree_shap", "log-odds", True)
    assert told["columns"][0]["column"] == "weight"
    assert {one["column"]: one["value"] for one in told["columns"]} == ROW
    assert told["background"] == {"rows": 100, "of": str(parcels.io.upstream["preprocess"]), "seed": 0}
    said = json.loads(call("predict", "parcels", json.dumps(ROW)).out)
    assert told["prediction"] == {name: said[name] for name in ("probability", "label")}


def test_people_read_the_same(call: Call, parcels: Night) -> None:
    told = json.loads(call("explain-prediction", "parcels", json.dumps(ROW), "--json").out)
    shown = " ".join(call("explain-prediction", "parcels", "-", stdin=json.dumps(ROW)).out.split())
    for expected in (
        f"parcels v1 of night {FIRST}: probability 0.",
        f"Log-odds of the positive class: {told['score']:.4f}; over the background {told['base']:.4f}.",
        f"weight 1.25 +{told['columns'][0]['adds']:.4f} ████████████████████",
        "distance missing",
        "lane sea",
        "SHAP values of the trees, exact; base and columns add up to the score.",
        "Compared with 100 rows drawn from the training window, preprocess/",
    ):
        assert expected in shown, expected


def test_an_example_can_be_explained(call: Call, parcels: Night) -> None:
    example = call("explain-prediction", "parcels", "--example").out
    assert call("explain-prediction", "parcels", example).code == 0


@pytest.mark.parametrize(("task", "unit"), [("regression", "value"), ("multiclass", "margin")])
def test_other_tasks(tmp_path: Path, task: str, unit: str) -> None:
    night = asked_night(tmp_path, task)
    promote(night, 1)
    told = explain(night.store, champion_of(night), ROW)
    require_sum(told)
    assert (told["method"], told["unit"]) == ("tree_shap", unit)
    if task == "regression":
        assert told["score"] == pytest.approx(told["prediction"]["days_late"], rel=1e-5)
        return
    assert told["explained"] == told["prediction"]["label"]
    other = explain(night.store, champion_of(night), ROW, "early")
    assert (other["explained"], other["score"] < told["score"]) == ("early", True)
    with pytest.raises(ModelError, match="there is no class 'lost'") as refused:
        explain(night.store, champion_of(night), ROW, "lost")
    assert refused.value.hint == f"the classes are {', '.join(CLASSES)}"


class Opaque(PublishedNight):
    """A night whose model is neither trees nor linear."""

    def _preprocess(self, champion: int | None) -> Any:
        from nightshift.transforms import Transforms
        from nightshift.transforms.columns import CategoricalColumn, NumericColumn

        transforms = Transforms(
            (NumericColumn("dep_delay"),), (CategoricalColumn("carrier", "one_hot", 9, ("AA", "DL", "UA")),)
        )
        files, result, reads = super()._preprocess(champion)
        return {**files, "transforms.json": transforms.to_json()}, result, reads


def opaque(site: Path, night: Any, version: int) -> Opaque:
    import pyarrow as pa

    window = pa.table({"dep_delay": [-20.0, 0.0, 0.5, 3.0], "carrier": ["AA", "UA", None, "DL"]})
    made = Opaque(
        plan_of(site, night),
        graph=tiny_graph(),
        days=3,
        version=version,
        tables={"preprocess": {"train": window}},
        changes={"register": {"mlflow_run_id": "run"}},
    )
    made.publish()
    return made


def test_other_models_are_explained_by_replacement(call: Call, site: Path) -> None:
    opaque(site, FIRST, 1)
    told = json.loads(call("explain-prediction", "flight_delays", '{"dep_delay": 3, "carrier": "UA"}', "--json").out)
    assert (told["method"], told["unit"], told["adds_up"]) == ("replacement", "probability", False)
    adds = {one["column"]: one["adds"] for one in told["columns"]}
    assert adds == {"dep_delay": pytest.approx(told["score"] - told["base"]), "carrier": 0}
    shown = call("explain-prediction", "flight_delays", '{"dep_delay": 3, "carrier": "UA"}').out
    assert "so the numbers do not add up" in shown


class TestVersions:
    def test_any_version_by_number_or_night(self, call: Call, site: Path) -> None:
        row = '{"dep_delay": 3, "carrier": "UA"}'
        for number in (1, 2):
            opaque(site, FIRST + timedelta(days=number), number)
        by_number = json.loads(call("explain-prediction", "flight_delays", row, "--version", "v1", "--json").out)
        night = str(FIRST + timedelta(days=1))
        by_night = json.loads(call("explain-prediction", "flight_delays", row, "--night", night, "--json").out)
        assert by_number == by_night
        assert (by_number["model_version"], by_number["night"]) == (1, night)
        assert json.loads(call("explain-prediction", "flight_delays", row, "--json").out)["model_version"] == 2

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (("--version", "7"), 66, "there is no v7 in storage; the versions there are: v1"),
            (("--night", "2020-01-01"), 66, "the night of 2020-01-01 has no version of flight_delays"),
            (("--version", "1", "--night", "2024-03-02"), 2, "both name a version"),
            (("--class", "late"), 66, "a binary model has no classes to choose from"),
        ],
    )
    def test_what_is_not_there(self, call: Call, site: Path, options: tuple[str, ...], code: int, words: str) -> None:
        opaque(site, FIRST, 1)
        called = call("explain-prediction", "flight_delays", '{"dep_delay": 3, "carrier": "UA"}', *options)
        assert (called.code, words in called.err) == (code, True)


class TestMistakes:
    def test_no_champion_yet(self, call: Call) -> None:
        called = call("explain-prediction", "flight_delays", "{}")
        assert (called.code, "flight_delays has no champion yet" in called.err) == (66, True)

    def test_several_rows(self, call: Call, parcels: Night) -> None:
        called = call("explain-prediction", "parcels", json.dumps([ROW, ROW]))
        assert (called.code, "2 rows were given, and one is explained at a time" in called.err) == (65, True)

    def test_a_row_that_lacks_a_field(self, call: Call, parcels: Night) -> None:
        called = call("explain-prediction", "parcels", '{"weight": 1, "lane": "sea"}')
        assert (called.code, "the row lacks distance (numeric)." in called.err) == (65, True)

    def test_a_training_window_that_is_gone(self, call: Call, parcels: Night) -> None:
        store, manifest = parcels.store, parcels.io.given("preprocess")
        store.objects.delete([f"{manifest.folder}/{entry.path}" for entry in manifest.files if "train" in entry.path])
        called = call("explain-prediction", "parcels", json.dumps(ROW))
        assert called.code == 67
        assert "v1 cannot be explained: its training window, preprocess/" in called.err
        assert "nightshift run MODEL --night 2024-03-02" in called.err

    def test_a_model_that_was_changed(self, call: Call, parcels: Night) -> None:
        manifest = parcels.io.given("train")
        parcels.store.objects.write(f"{manifest.folder}/graph.onnx", b"evil")
        called = call("explain-prediction", "parcels", json.dumps(ROW))
        assert (called.code, "graph.onnx" in called.err) == (67, True)
