"""The one file of this folder that Airflow executes, in every process of every component: keep it thin."""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _serves_pages() -> bool:
    """Only the API server serves pages; ``airflow plugins`` wants to list them."""
    return any("api-server" in argument or "api_server" in argument or argument == "plugins" for argument in sys.argv)


def _pages() -> list[dict[str, Any]]:
    from nightshift_airflow.ui.app import app

    return [{"app": app, "url_prefix": "/nightshift", "name": "Nightshift"}]


VIEWS: list[dict[str, Any]] = [
    {
        "name": "Run report",
        "href": "/nightshift/dags/{DAG_ID}/report?run_id={RUN_ID}",
        "destination": "dag_run",
        "url_route": "nightshift-report",
    }
]


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    external_views = VIEWS
    fastapi_apps = _pages() if _serves_pages() else []
