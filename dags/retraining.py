"""Nightly retraining of every model in ``models/``: one Airflow DAG per spec, all of this shape."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import dag

from nightshift.spec.loader import load_specs
from nightshift.spec.models import ModelSpec
from nightshift_airflow.describe import dag_of
from nightshift_airflow.lifecycle import compute, deploy, evaluate, ingest, preprocess, register, train, validate


def retraining(spec: ModelSpec) -> None:
    @dag(**dag_of(spec, "retraining"))
    def nightly() -> None:
        with compute(spec):
            raw = ingest(spec)
            clean = validate(raw)
            dataset = preprocess(clean)
            challenger = train(dataset)
            evaluation = evaluate(challenger)
        version = register(evaluation)
        if spec.approval == "auto":
            deploy(version)  # where a person approves, promotion.py does

    nightly()


for spec in load_specs(Path(__file__).parent / "models", check_sql=False).specs:
    retraining(spec)
