"""Airflow's side of Nightshift: DAG building, operators, compute targets, notifications, pages."""
