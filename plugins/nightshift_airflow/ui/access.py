"""Airflow's own authentication and authorisation, which plugin pages must ask for themselves.

What is imported here is not a public interface of Airflow; no other module touches it.
"""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.dagrun import DagRun
from fastapi import Depends, HTTPException
from sqlalchemy import select

SIGNED_IN = Depends(get_user)
MAY_READ_RUNS = Depends(requires_access_dag("GET", DagAccessEntity.RUN))  # of the path's dag_id


def run_of(dag_id: str, run_id: str, session: SessionDep) -> DagRun:
    """The run that a path names, or 404."""
    run: DagRun | None = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if run is None:
        raise HTTPException(404, f"DAG {dag_id} has no run {run_id}")
    return run
