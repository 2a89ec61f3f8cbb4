"""The words of ``dags/``: one function per stage, each taking what the stage before gave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from airflow.sdk import XComArg

from nightshift.spec.models import ModelSpec
from nightshift_airflow.assets import candidates, champion
from nightshift_airflow.operators import StageOperator

if TYPE_CHECKING:
    from nightshift_airflow.compute.emr.scope import ClusterScope

_scope: ContextVar[ClusterScope | None] = ContextVar("scope", default=None)


@contextmanager
def compute(spec: ModelSpec) -> Iterator[ClusterScope | None]:
    """Where the stages inside run: a cluster is created for them and ended after them where the model's compute target
    has one for each night, ``emr``; elsewhere this adds no task.
    """
    if (spec.compute.target or os.environ.get("NIGHTSHIFT_COMPUTE")) != "emr":
        yield None
        return
    from nightshift_airflow.compute.emr.scope import ClusterScope

    token = _scope.set(ClusterScope(spec))
    try:
        yield _scope.get()
    finally:
        _scope.reset(token)


def ingest(spec: ModelSpec) -> XComArg:
    """Read the source's missing days, each once."""
    return _stage("ingest", spec, _scope.get()).output


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
    spec = _task_of(evaluation).spec
    return _after(evaluation, "register", outlets=[candidates(spec)] if spec.approval == "manual" else None)


def deploy(version: XComArg) -> XComArg:
    """Make the challenger the champion if it may be; otherwise skipped, with the reason."""
    spec = _task_of(version).spec
    return _after(version, "deploy", outlets=[champion(spec)])


def _after(given: XComArg, stage: str, **kwargs: Any) -> XComArg:
    before = _task_of(given)
    scope = _scope.get()
    if scope is None and isinstance(before, StageOperator) and before.scope is not None and before.scope.takes_all():
        scope = before.scope
    return _stage(stage, before.spec, scope, upstream=given, **kwargs).output


def _stage(stage: str, spec: ModelSpec, scope: ClusterScope | None, **kwargs: Any) -> StageOperator:
    if scope is None:
        return StageOperator(task_id=stage, spec=spec, **kwargs)
    return scope.stage(task_id=stage, spec=spec, **kwargs)


def _task_of(given: XComArg) -> Any:
    """The task that gives it: a stage, or a person's answer; all of them know their spec."""
    return next(iter(given.iter_references()))[0]
