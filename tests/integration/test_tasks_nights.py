"""Whole nights of other questions than yes and no, each stage a real job: which digit is it, how many minutes?"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from sklearn.datasets import load_digits

from nightshift.cli.explain_prediction import explain
from nightshift.cli.predict import example_row, score
from nightshift.deploy.infra import DATASET
from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.ledger import Ledger
from nightshift.plan import STAGES, Interval
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.stage import StageResult
from nightshift.storage import Store

pytestmark = [pytest.mark.jvm, pytest.mark.long]

FIRST, DAYS = date(2024, 3, 1), 14
NIGHT = FIRST + timedelta(days=DAYS)
PIXELS = [f"p{number:02d}" for number in range(16)]
CLASSES = [str(digit) for digit in range(10)]

EXAMPLE = Path(__file__).parents[2] / "dags" / "models" / "flight_air_time.yaml"

DIGITS = f"""\
version: 1
model: digits
owner: tests@example.com
source: {{kind: files, uri: "DATA/%Y-%m-%d.csv", time: seen_at, since: {FIRST}}}
key: [scan]
prepare: digits.sql
quarantine: {{max_fraction: 0.05}}
label: {{column: digit, task: multiclass, classes: [{", ".join(CLASSES)}]}}
features: {{numeric: [{", ".join(PIXELS)}], categorical: [pen]}}
window: {{train: 11d, holdout: 3d}}
training: {{engine: xgboost, params: {{n_estimators: 40, max_depth: 4, learning_rate: 0.3}}}}
gates:
  metric: accuracy
  minimum: 0.8
  versus_champion: {{margin: 0.05, least: {{days: 3, rows: 300, of_each_class: 20}}}}
deploy: {{latency: {{budget: 10s, versus_champion: 1000}}}}  # the machine of a test may be busy
retries: 0
"""
DIGITS_SQL = f"SELECT scan, seen_at, digit, pen, {', '.join(PIXELS)} FROM source\n"


class Site:
    """A folder with a spec, storage and an MLflow database of its own."""

    def __init__(self, root: Path, model: str, spec: str, sql: str) -> None:
        self.path = root / "models" / f"{model}.yaml"
        self.path.parent.mkdir(parents=True)
        self.path.write_text(spec.replace("DATA", str(root / "data")))
        self.path.with_suffix(".sql").write_text(sql)
        home = {"NIGHTSHIFT_MODELS": str(self.path.parent), "NIGHTSHIFT_HOME": str(root / "home")}
        self.settings = Settings.from_environment(home)
        self.store = Store.open(self.settings.storage, env=self.settings.env, model=model)
        self.lines: list[str] = []

    def run(self, night: date) -> dict[str, StageResult]:
        interval = Interval.of_day(night - timedelta(days=1))
        spec = load_spec(self.path)
        plan = publish(make_plan(spec, interval, self.settings, run_id=f"test-{night}", trigger="test"))
        results: dict[str, StageResult] = {}
        for stage in STAGES:
            refs = {name: result.ref for name, result in results.items() if result.ref}
            results[stage] = run_job(Job(stage, plan, refs), on_line=self.lines.append)
        return results

    def evidence(self, result: StageResult, path: str) -> Any:
        assert result.ref is not None
        return json.loads(self.store.read(self.store.resolve(result.ref), path))


def write_digits(folder: Path) -> None:
    """The scans of scikit-learn, as many on each day; a few are without a label, and one is an eleven."""
    folder.mkdir()
    images, digits = load_digits(return_X_y=True)
    chance = np.random.default_rng(5)
    order = chance.permutation(len(digits))
    small = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    for number, rows in enumerate(np.array_split(order, DAYS)):
        start = datetime.combine(FIRST + timedelta(days=number), datetime.min.time(), UTC)
        labels: list[int | None] = digits[rows].tolist()
        labels[3] = None
        labels[7] = 11 if number == 4 else labels[7]
        table = pa.table(
            {
                "scan": rows,
                "seen_at": [(start + timedelta(minutes=10 * place)).isoformat() for place in range(len(rows))],
                "digit": pa.array(labels, pa.int64()),
                "pen": chance.choice(["ink", "lead"], len(rows)),
                **{name: small[rows, place] for place, name in enumerate(PIXELS)},
            }
        )
        csv.write_csv(table, folder / f"{start.date()}.csv")


def test_a_night_of_several_classes(tmp_path: Path) -> None:
    site = Site(tmp_path, "digits", DIGITS, DIGITS_SQL)
    write_digits(tmp_path / "data")

    night = site.run(NIGHT)

    assert (night["validate"].summary["quarantined"], night["validate"].summary["unlabelled"]) == (1, DAYS)
    assert set(night["preprocess"].summary["train_classes"]) == set(CLASSES)
    assert night["register"].summary["standing"] == "accepted", night["evaluate"].summary["sentence"]
    assert night["deploy"].status == "succeeded"
    evaluation = site.evidence(night["evaluate"], "evaluation.json")
    assert (evaluation["metric"], evaluation["challenger"]["metrics"]["accuracy"] > 0.8) == ("accuracy", True)
    assert site.evidence(night["train"], "model.json")["threshold"] is None
    champion = Ledger(site.store).champion()
    assert champion is not None
    infra = site.store.latest(DATASET, champion.interval.key)
    assert infra is not None
    assert json.loads(site.store.read(infra, "infra_check.json"))["rows"] == 50
    told = score(site.store, champion, example_row(site.store, champion))
    assert isinstance(told, dict)
    assert list(told["probabilities"]) == CLASSES
    assert told["label"] == max(told["probabilities"], key=told["probabilities"].__getitem__)
    why = explain(site.store, champion, example_row(site.store, champion))
    assert (why["method"], why["unit"], why["explained"]) == ("tree_shap", "margin", told["label"])
    assert why["base"] + sum(one["adds"] for one in why["columns"]) == pytest.approx(why["score"])
    assert [one["column"] for one in evaluation["explanation"]["columns"]][-1] == "pen"


@pytest.mark.timeout(900)
def test_two_nights_of_the_example_in_minutes(tmp_path: Path) -> None:
    site = Site(tmp_path, "flight_air_time", EXAMPLE.read_text(), EXAMPLE.with_suffix(".sql").read_text())

    first, second = site.run(date(2013, 7, 15)), site.run(date(2013, 7, 16))

    assert first["deploy"].status == "succeeded", first["evaluate"].summary["sentence"]
    evaluation = site.evidence(second["evaluate"], "evaluation.json")
    assert evaluation["metric"] == "rmse"
    against = evaluation["champion"]
    ours, theirs = against["challenger_on_same_rows"]["rmse"], against["metrics"]["rmse"]
    assert min(ours, theirs) > 5
    assert max(ours, theirs) < 13
    assert evaluation["verdict"] in ("better", "not_worse"), second["evaluate"].summary["sentence"]
    champion = Ledger(site.store).champion()
    assert champion is not None
    assert champion.model_version == second["register"].summary["model_version"]
    told = score(site.store, champion, example_row(site.store, champion))
    assert isinstance(told, dict)
    assert 15 < told["air_time"] < 800
