"""A person's approval for the models in ``models/`` with ``approval: manual``; begins when a candidate is announced."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import dag

from nightshift.spec.loader import load_specs
from nightshift.spec.models import ModelSpec
from nightshift_airflow.describe import promotion_of
from nightshift_airflow.lifecycle import deploy
from nightshift_airflow.promotion import approval, candidate


def promotion(spec: ModelSpec) -> None:
    @dag(**promotion_of(spec))
    def approved_by_a_person() -> None:
        version = candidate(spec)
        answer = approval(version)
        deploy(answer)

    approved_by_a_person()


for spec in load_specs(Path(__file__).parent / "models", check_sql=False).specs:
    if spec.approval == "manual":
        promotion(spec)
