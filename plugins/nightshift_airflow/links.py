"""Links that a task shows in Airflow's UI.

The task's process knows where they lead and writes it to XCom, so the API server needs nothing of this module:
it reads the key that the serialized DAG names.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class SparkLink(BaseOperatorLink):
    """From a task on a Spark cluster to its application on the master's page."""

    @property
    def name(self) -> str:
        return "Spark UI"

    @property
    def xcom_key(self) -> str:
        return "spark_ui"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Where it leads: asked by Airflow when the task has ended, in the task's own process."""
        return operator.spark_ui or ""


class ClusterLink(BaseOperatorLink):
    """From a task to its EMR cluster in the AWS console."""

    @property
    def name(self) -> str:
        return "EMR cluster"

    @property
    def xcom_key(self) -> str:
        return "emr_cluster"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Where it leads: asked by Airflow when the task has ended, in the task's own process."""
        return operator.console or ""


def show_while_running(context: Context, url: str, link: SparkLink | ClusterLink | None = None) -> None:
    """Make the link work while the task runs; one that cannot be shown is no reason to fail."""
    shown = link or SparkLink()
    try:
        context["ti"].xcom_push(key=shown.xcom_key, value=url)
    except Exception:
        log.warning("the link %s appears only when the task has ended", shown.name, exc_info=True)
