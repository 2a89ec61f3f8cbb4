"""Pages inside Airflow's UI; imported by the API server only."""
