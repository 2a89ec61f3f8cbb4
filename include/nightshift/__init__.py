"""Nightshift: retrain models while people sleep, ship only what proved fit. This package never imports Airflow."""

__version__ = "0.1.0"
