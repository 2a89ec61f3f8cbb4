"""Housekeeping for all models: what broken uploads left, what nothing refers to any more, roles; lost clusters."""

from __future__ import annotations

from airflow.sdk import dag

from nightshift_airflow.housekeeping import (
    REAPER,
    SCHEDULE,
    apply_retention,
    reap_clusters,
    reconcile_roles,
    remove_s3_leftovers,
)


@dag(**SCHEDULE)
def housekeeping() -> None:
    remove_s3_leftovers()
    apply_retention()
    reconcile_roles()


@dag(**REAPER)
def reaper() -> None:
    reap_clusters()


housekeeping()
reaper()
