"""Daily housekeeping for all models: what broken uploads left, and what nothing refers to any more, roles."""

from __future__ import annotations

from airflow.sdk import dag

from nightshift_airflow.housekeeping import SCHEDULE, apply_retention, reconcile_roles, remove_s3_leftovers


@dag(**SCHEDULE)
def housekeeping() -> None:
    remove_s3_leftovers()
    apply_retention()
    reconcile_roles()


housekeeping()
