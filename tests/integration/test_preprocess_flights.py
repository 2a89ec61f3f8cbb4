"""The demo model's own SQL over its real rows: 14 days to train on, 6 to judge by, through ingest and validate."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from nightshift.errors import DataNotBlessed
from nightshift.ingest import run as ingest
from nightshift.ledger import Ledger, Waiver, blessings
from nightshift.plan import Interval, Plan
from nightshift.preprocess import run as preprocess
from nightshift.spec.loader import load_spec
from nightshift.spec.models import Window
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Store
from nightshift.transforms import Transforms
from nightshift.validate import run as validate

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

SPEC = Path(__file__).parents[2] / "dags" / "models" / "flight_delays.yaml"


@pytest.fixture(scope="module")
def night(spark: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan, dict[str, StageResult]]:
    root = tmp_path_factory.mktemp("flights")
    spec = load_spec(SPEC)
    window = Window(train=timedelta(days=14), holdout=timedelta(days=6))
    plan = Plan(
        spec=spec.model_copy(update={"window": window}),
        interval=Interval.of_day(date(2013, 6, 24)),
        storage=(root / "store").as_uri(),
        env="dev",
        mlflow_uri="sqlite://",
        run_id="test",
        trigger="test",
        threads=2,
        code_version="x",
    )
    store = Store.of(plan)
    results: dict[str, StageResult] = {}
    for name, stage in (("ingest", ingest), ("validate", validate), ("preprocess", preprocess)):
        scratch = root / name
        scratch.mkdir()
        upstream = {before: result.ref for before, result in results.items() if result.ref is not None}
        results[name] = stage(plan, StageIO(store, upstream, scratch))
    return store, plan, results


def test_every_validated_row_is_accounted_for(night: tuple[Store, Plan, dict[str, StageResult]]) -> None:
    store, plan, results = night
    summary = results["preprocess"].summary
    days = [*plan.windows.train.days(), *plan.windows.holdout.days()]
    inputs = store.resolve(results["validate"].ref).inputs  # type: ignore[arg-type]
    valid = [store.read_table(store.resolve(inputs[f"valid/{day.key}"]), "rows") for day in days]

    assert summary["rows_in"] == sum(rows.num_rows for rows in valid) > 15_000
    assert summary["filtered"] == summary["outside"] == 0
    assert summary["unlabelled"] == sum(rows["arr_delay"].null_count for rows in valid) > 0
    assert summary["train_rows"] + summary["holdout_rows"] + summary["unlabelled"] == summary["rows_in"]


def test_weather_is_that_of_the_hour_before(night: tuple[Store, Plan, dict[str, StageResult]]) -> None:
    store, _, results = night
    manifest = store.resolve(results["preprocess"].ref)  # type: ignore[arg-type]
    flight = store.read_table(manifest, "holdout").slice(100, 1).to_pylist()[0]
    weather = store.read_table(store.resolve(manifest.inputs["table.weather"]), "rows")
    there = weather.filter(
        pc.and_(
            pc.equal(weather["origin"], flight["origin"]),
            pc.equal(weather["time_hour"], flight["time_hour"] - timedelta(hours=1)),
        )
    )

    assert [flight["temp"], flight["wind_speed"]] == [there["temp"][0].as_py(), there["wind_speed"][0].as_py()]


def test_vectors_are_the_request_in_the_order_of_the_feature_names(
    night: tuple[Store, Plan, dict[str, StageResult]],
) -> None:
    store, plan, results = night
    manifest = store.resolve(results["preprocess"].ref)  # type: ignore[arg-type]
    transforms = Transforms.from_json(store.read(manifest, "transforms.json"))
    train = store.read_table(manifest, "train")
    vectors = np.array(train["__features"].to_pylist(), dtype=np.float32)

    assert vectors.shape == (train.num_rows, len(transforms.feature_names))
    for place, name in enumerate(plan.spec.features.numeric):
        np.testing.assert_array_equal(vectors[:, place], train[name].to_numpy().astype(np.float32))
    carrier = transforms.feature_names.index("carrier=UA")
    np.testing.assert_array_equal(vectors[:, carrier], pc.equal(train["carrier"], "UA").to_numpy().astype(np.float32))
    assert train["local_departure"].type == "double"
    assert 0 < np.mean(train["__label"]) < 0.5


def test_the_night_is_blessed_with_the_numbers_for_the_nights_to_come(
    night: tuple[Store, Plan, dict[str, StageResult]],
) -> None:
    store, _, results = night
    published = store.resolve(results["preprocess"].ref)  # type: ignore[arg-type]
    blessing = blessings.read(store, published)
    assert blessing.verdict == results["preprocess"].summary["blessing"] == "passed"
    names = {check.name for check in blessing.checks}
    assert {"validation", "overlap", "leakage", "label_shift", "unit_shift", "sentinel", "nulls"} <= names
    assert "stats.json" in {entry.path for entry in published.files}


def leaking(plan: Plan) -> Plan:
    """The outcome, thinly disguised, under a harmless name."""
    features = plan.spec.features
    numeric = (*features.numeric, "taxi_score")
    changes = {
        "prepare_sql": plan.spec.prepare_sql.replace("    s.distance,", "    s.distance,\n    s.arr_delay / 60.0 - 2 AS taxi_score,"),
        "features": features.model_copy(update={"numeric": numeric, "forbidden": ()}),
    }  # fmt: skip
    return replace(plan, spec=plan.spec.model_copy(update=changes))


def test_a_leaked_label_fails_the_night_at_preprocess_until_a_person_waives_it(
    night: tuple[Store, Plan, dict[str, StageResult]], tmp_path: Path
) -> None:
    store, plan, results = night
    upstream = {"validate": results["validate"].ref}
    before = store.versions("preprocess", plan.interval.key)
    with pytest.raises(DataNotBlessed) as caught:
        preprocess(leaking(plan), StageIO(store, upstream, tmp_path))  # type: ignore[arg-type]
    assert caught.value.message.splitlines() == [
        "night 2013-06-25: the data is not blessed, 1 check fails, and nothing was published:",
        "  leakage.taxi_score: taxi_score: alone it has an AUC of 1.000 (0.8 may be): does it hold what is known only after "
        "the prediction? Leave it out, or, if you know why it is that strong, write features.known_strong: [taxi_score]",
    ]  # fmt: skip
    assert store.versions("preprocess", plan.interval.key) == before

    waiver = Waiver(plan.interval.key, "data", "2999-12-31", ("leakage.taxi_score",))
    Ledger(store).waive(waiver, reason="the column is about to be dropped", by="ana@example.com")
    waived = preprocess(leaking(plan), StageIO(store, upstream, tmp_path))  # type: ignore[arg-type]
    assert (waived.summary["blessing"], waived.summary["checks_failed"]) == ("waived", 1)
    assert waived.summary["checks_waived"] == ["leakage.taxi_score"]
    published = store.resolve(waived.ref)  # type: ignore[arg-type]
    assert blessings.read(store, published).waived_by.by == "ana@example.com"  # type: ignore[union-attr]
