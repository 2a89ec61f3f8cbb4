"""The words of ``dags/``: one function per stage, each taking what the stage before gave."""

from __future__ import annotations

from typing import Any

from airflow.sdk import XComArg

from nightshift.spec.models import ModelSpec
from nightshift_airflow.assets import candidates, champion
from nightshift_airflow.operators import StageOperator


def ingest(spec: ModelSpec) -> XComArg:
    """Read the source's missing days, each once."""
    return StageOperator(task_id="ingest", spec=spec).output


def validate(raw: XComArg) -> XComArg:
    """Judge the raw rows; set aside the few bad ones, stop at many."""
    return _after(raw, "validate")


def preprocess(clean: XComArg) -> XComArg:
    """Prepare and transform: training set, holdout and probe."""
    return _after(clean, "preprocess")


def train(dataset: XComArg) -> XComArg:
    """Fit the challenger."""
    return _after(dataset, "train")


def evaluate(challenger: XComArg) -> XComArg:
    """Compare the challenger with baselines and the champion; the verdict may be a refusal."""
    return _after(challenger, "evaluate")


def register(evaluation: XComArg) -> XComArg:
    """Record the version, refused or not, in MLflow; where a person approves, announce it if it may ship."""
    spec = _spec_of(evaluation)
    return _after(evaluation, "register", outlets=[candidates(spec)] if spec.approval == "manual" else None)


def deploy(version: XComArg) -> XComArg:
    """Make the challenger the champion if it may be; otherwise skipped, with the reason."""
    spec = _spec_of(version)
    return _after(version, "deploy", outlets=[champion(spec)])


def _after(given: XComArg, stage: str, **kwargs: Any) -> XComArg:
    return StageOperator(task_id=stage, spec=_spec_of(given), upstream=given, **kwargs).output


def _spec_of(given: XComArg) -> ModelSpec:
    operator: Any = next(iter(given.iter_references()))[0]
    spec: ModelSpec = operator.spec
    return spec
