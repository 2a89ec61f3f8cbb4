"""The trials of a search as runs of MLflow, nested below the run that describes their version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
TRIAL = "nightshift.trial"
PAGE = 1000


@dataclass(frozen=True)
class TrialRun:
    """One trial, described.

    Attributes:
        number: Its number in the search; with the parent, what makes its run idempotent.
        params, tags: What the run says.
        metrics: The metric of each fold, oldest first, by name.
        failed: Whether it ended with an error.
    """

    number: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, Sequence[float]]
    failed: bool


def log_trials(
    client: MlflowClient, experiment_id: str, parent_id: str, trials: Sequence[TrialRun], timestamp: int
) -> None:
    """Make sure that every trial has one whole run below the parent.

    Args:
        client: The client.
        experiment_id: Experiment of the parent.
        parent_id: The run that describes the version.
        trials: All trials of its search.
        timestamp: Milliseconds since 1970 that every metric has, so that logging twice adds nothing.

    Raises:
        MlflowException: MLflow failed; another call finishes.
    """
    if not trials:
        return
    there = {run.data.tags.get(TRIAL): run for run in _children(client, experiment_id, parent_id)}
    for trial in trials:
        run = there.get(str(trial.number))
        if run is None:
            tags = {**trial.tags, PARENT: parent_id, TRIAL: str(trial.number)}
            run = client.create_run(experiment_id, run_name=f"trial {trial.number}", tags=tags)
        if run.info.status == "RUNNING":
            _finish(client, run.info.run_id, trial, timestamp)


def _children(client: MlflowClient, experiment_id: str, parent_id: str) -> list[Run]:
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], filter_string=f"tags.`{PARENT}` = '{parent_id}'", max_results=PAGE, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def _finish(client: MlflowClient, run_id: str, trial: TrialRun, timestamp: int) -> None:
    from mlflow.entities import Metric, Param

    client.log_batch(
        run_id,
        metrics=[
            Metric(name, value, timestamp, step)
            for name, values in trial.metrics.items()
            for step, value in enumerate(values)
        ],
        params=[Param(name, str(value)) for name, value in trial.params.items()],
    )
    client.set_terminated(run_id, status="FAILED" if trial.failed else "FINISHED")
