"""Housekeeping: the words of ``dags/housekeeping.py``, and the operators behind them.

They run in the task's own process: they ask the store for names and delete some, and need neither data in memory
nor an ML library. Only who needs MLflow is a process of its own. Killed anywhere, they can be run again.
"""

from __future__ import annotations

import json
import logging
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowFailException

from nightshift.emr_settings import is_configured
from nightshift.errors import NightshiftError, SettingsError, StorageError
from nightshift.settings import Settings
from nightshift_airflow.describe import DAY, START
from nightshift_airflow.notifiers import explain_failure, explain_retry, notify_reaper_failure

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift.storage import RetentionReport

log = logging.getLogger(__name__)

RECONCILE_S = 900
ABOUT = """\
Removes what costs money and helps nobody, for every model that has a spec.

* **remove_s3_leftovers**: on S3 and MinIO, parts of uploads that a killed writer began, and the empty folder markers
  of Hadoop.
* **apply_retention**: versions, attempts and plans that no manifest, night or champion needs any more; the same as
  `nightshift retention MODEL`. Champions stay until somebody retires them. A version that goes is retired in the
  ledger first.
* **reconcile_roles**: MLflow's aliases say what each ledger says, also where MLflow was down when a champion was
  moved. An alias that somebody moved by hand is put back, and named in the log.

Safe beside running nights. To see first what would go, trigger it with *dry run*.
"""
SCHEDULE: dict[str, Any] = {
    "dag_id": "nightshift__housekeeping",
    "description": "Delete what broken uploads left and what no night or champion needs any more.",
    "doc_md": ABOUT,
    "schedule": CronTriggerTimetable("30 5 * * *", timezone="UTC", interval=DAY),
    "start_date": START,
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["housekeeping", "nightshift"],
    "params": {
        "keep_days": Param(90, type="integer", minimum=0, title="Days of history that stay"),
        "keep_versions": Param(3, type="integer", minimum=1, title="Versions of each interval that stay"),
        "garbage_hours": Param(
            24, type="number", minimum=0, title="Hours that files stay which no version names: somebody may use them"
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Only say what would be deleted."),
    },
    "default_args": {
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": [explain_failure],
        "on_retry_callback": [explain_retry],
    },
}

REAPING = """\
Ends EMR clusters that belong to this environment of Nightshift, by their tags, and that nobody looks after any more:
their run has ended, or their deadline has passed. There should never be one: each is said loudly, in the log and to the
model's webhook. If it cannot do its work, it says that to the webhooks of all models on EMR. Clusters without
Nightshift's tags are never touched.

Without `NIGHTSHIFT_EMR_…` in the environment there is nothing to reap, and no schedule.
"""
REAPER: dict[str, Any] = {
    **SCHEDULE,
    "dag_id": "nightshift__reaper",
    "description": "End clusters that were left behind.",
    "doc_md": REAPING,
    "schedule": "*/30 * * * *" if is_configured() else None,
    "params": {"dry_run": SCHEDULE["params"]["dry_run"]},
    # A net that somebody has to put up first catches nothing.
    "is_paused_upon_creation": False,
}


def reap_clusters() -> BaseOperator:
    """End clusters that were left behind."""
    from nightshift_airflow.compute.emr.reaper import ReaperOperator

    return ReaperOperator(
        task_id="reap_clusters",
        execution_timeout=timedelta(minutes=20),
        on_failure_callback=[notify_reaper_failure, explain_failure],
    )


def remove_s3_leftovers() -> BaseOperator:
    """Abort old uploads in parts, delete old folder markers."""
    return S3LeftoversOperator(task_id="remove_s3_leftovers")


def apply_retention() -> BaseOperator:
    """Apply retention to every model."""
    return RetentionOperator(task_id="apply_retention")


def reconcile_roles() -> BaseOperator:
    """Make MLflow's aliases say what the ledgers say."""
    return ReconcileOperator(task_id="reconcile_roles")


class S3LeftoversOperator(BaseOperator):
    """Removes what only S3 itself can see, below this environment's part of the storage root."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives the numbers of what was removed.

        Raises:
            AirflowFailException: boto3 is missing.
            StorageError: The store failed, or does not allow it.
        """
        from nightshift.storage.s3_leftovers import remove_s3_leftovers

        settings, params = Settings.from_environment(), context["params"]
        root = f"{settings.storage.rstrip('/')}/{settings.env}"
        before = datetime.now(UTC) - timedelta(hours=params["garbage_hours"])
        try:
            found = remove_s3_leftovers(root, before=before, dry_run=params["dry_run"])
        except SettingsError as error:
            raise AirflowFailException(str(error)) from None
        verb = "would remove" if params["dry_run"] else "removed"
        log.info(
            "%s: %s %d uploads (%d bytes) and %d folder markers",
            root, verb, len(found.uploads), found.upload_bytes, found.markers,
        )  # fmt: skip
        return {"uploads": len(found.uploads), "upload_bytes": found.upload_bytes, "markers": found.markers}


class RetentionOperator(BaseOperator):
    """Applies retention to every model that has a spec, whether it can be read or not."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives what was deleted, by model. A model that cannot be looked after keeps no other from it.

        Raises:
            AirflowFailException: There was such a model, and trying again cannot help.
            StorageError: There was such a model, and it may.
        """
        settings, params = Settings.from_environment(), context["params"]
        done: dict[str, Any] = {}
        errors: dict[str, NightshiftError] = {}
        for model in settings.model_names():
            try:
                report = _retain(settings, model, **params)
            except NightshiftError as error:
                log.error("%s: %s", model, error)
                errors[model] = error
            else:
                log.info("%s: %s", model, report)
                done[model] = {
                    "versions": len(report.versions),
                    "retired": list(report.retired),
                    "freed_bytes": report.freed_bytes,
                }
        log.info("freed %d bytes in all", sum(about["freed_bytes"] for about in done.values()))
        if errors:
            text = "\n".join(f"{model}: {error}" for model, error in errors.items())
            if any(error.retryable for error in errors.values()):
                raise StorageError(text)
            raise AirflowFailException(text)
        return done


def _retain(
    settings: Settings, model: str, *, keep_days: int, keep_versions: int, garbage_hours: float, dry_run: bool
) -> RetentionReport:
    from nightshift.ledger.retention import retain
    from nightshift.storage import Store

    return retain(
        Store.open(settings.storage, env=settings.env, model=model),
        keep_versions=keep_versions,
        keep_days=keep_days,
        garbage_hours=garbage_hours,
        dry_run=dry_run,
    )


class ReconcileOperator(BaseOperator):
    """Makes MLflow's aliases say what the ledgers say: ``nightshift.deploy.reconcile``, by the jobs' interpreter."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Gives what was changed, by model.

        Raises:
            AirflowFailException: A ledger is damaged, or the jobs' interpreter cannot be used.
            StorageError: The store or MLflow does not answer.
        """
        if context["params"]["dry_run"]:
            log.info("a dry run leaves the aliases as they are")
            return {}
        command = [Settings.from_environment().python, "-m", "nightshift.deploy.reconcile"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RECONCILE_S)
        for line in done.stderr.splitlines():
            log.info("%s", line)
        try:
            told = json.loads(done.stdout)
        except ValueError:
            raise AirflowFailException(f"{' '.join(command)} ended with exit code {done.returncode}") from None
        for model, about in told["models"].items():
            for alias in about["before"]:
                was, now = (
                    f"v{one}" if one else "nothing" for one in (about["before"][alias], about["aliases"][alias])
                )
                why = " (it had been moved by hand)" if alias in about["by_hand"] else ""
                log.warning("%s: the alias %s was %s and is %s%s", model, alias, was, now, why)
            for alias, version in about["missing"].items():
                log.warning("%s: MLflow has no v%d; the alias %s is left as it is", model, version, alias)
        if told["errors"]:
            text = "\n".join(f"{model}: {error}" for model, error in told["errors"].items())
            if done.returncode == StorageError.exit_code:
                raise StorageError(text)
            raise AirflowFailException(text)
        return {model: about["before"] for model, about in told["models"].items() if about["before"]}
