"""The words of ``dags/``: one function per stage, each taking what the stage before gave."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, XComArg

from nightshift.spec.models import ModelSpec
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
    """Record the version, refused or not, in MLflow."""
    return _after(evaluation, "register")


def deploy(version: XComArg) -> XComArg:
    """Make the challenger the champion if it may be; otherwise skipped, with the reason."""
    spec = _spec_of(version)
    return _after(version, "deploy", outlets=[champion(spec)])


def champion(spec: ModelSpec) -> Asset:
    """The asset that changes when a model has a new champion."""
    # For a scheme without "x-" Airflow imports every provider's URI handler, and boto3 with them, while it parses.
    return Asset(name=f"{spec.model}_champion", uri=f"x-nightshift://{spec.model}/champion", group="nightshift")


def _after(given: XComArg, stage: str, **kwargs: Any) -> XComArg:
    return StageOperator(task_id=stage, spec=_spec_of(given), upstream=given, **kwargs).output


def _spec_of(given: XComArg) -> ModelSpec:
    operator = next(iter(given.iter_references()))[0]
    assert isinstance(operator, StageOperator), "stages follow stages"
    return operator.spec
