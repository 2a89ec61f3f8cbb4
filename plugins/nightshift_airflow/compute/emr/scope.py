"""The tasks around the stages of a night on EMR, and how they hang together."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from nightshift.spec.models import ModelSpec
from nightshift_airflow.compute.emr.operators import (
    CREATE,
    END_LIMIT,
    START_LIMIT,
    ClusterOperator,
    EmrStageOperator,
    PreflightOperator,
    ReleaseOperator,
)

LITTLE = timedelta(minutes=10)


class ClusterScope:
    """Preflight, cluster and release of a night, and the stages between them.

    Every stage precedes ``release`` itself: so whichever of them a person clears, Airflow clears the tasks that
    create and end the cluster with it.

    Args:
        spec: The model's spec.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        preflight = PreflightOperator(task_id="preflight", spec=spec, execution_timeout=LITTLE)
        self._cluster = ClusterOperator(task_id=CREATE, spec=spec, execution_timeout=START_LIMIT + LITTLE)
        self._release = ReleaseOperator(
            task_id="release", spec=spec, retries=max(3, spec.retries), execution_timeout=END_LIMIT + LITTLE
        )
        self._release.as_teardown(setups=[preflight, self._cluster], on_failure_fail_dagrun=True)
        preflight >> self._cluster

    def takes_all(self) -> bool:
        """Whether register and deploy run on the cluster too."""
        return (self._spec.compute.emr.stages or os.environ.get("NIGHTSHIFT_EMR_STAGES")) == "all"

    def stage(self, **kwargs: Any) -> EmrStageOperator:
        """A stage between cluster and release."""
        operator = EmrStageOperator(**kwargs)
        operator.scope = self
        if not operator.upstream_task_ids:
            self._cluster >> operator
        operator >> self._release
        return operator
