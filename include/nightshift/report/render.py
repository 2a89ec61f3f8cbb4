"""Renders a run's report and puts it where people find it."""

from __future__ import annotations

import logging
from pathlib import Path

from nightshift.errors import NightshiftError, Overtaken
from nightshift.ledger.entries import REPORT
from nightshift.plan import Plan, code_digest, digest_of
from nightshift.report.evidence import Evidence
from nightshift.report.nights import PAGE, page_uri
from nightshift.report.outcome import Results
from nightshift.report.page import html
from nightshift.settings import Settings
from nightshift.storage import Manifest, Store

log = logging.getLogger(__name__)


def render_run(plan: Plan, store: Store, results: Results) -> Path | str:
    """Render the report of a run.

    Publishes it as dataset ``report`` of the night, copies it to ``<home>/reports/<model>/<night>.html``
    where storage is on local disk, and logs it to the MLflow run if there is one.

    Args:
        plan: The run's plan.
        store: The model's area in storage.
        results: What each stage gave, or the error that it ended with, by stage.

    Returns:
        The copy on local disk, or the URI of the published page.

    Raises:
        IntegrityError: Something that the run published is damaged.
        StorageError: The store failed.
    """
    evidence = Evidence.collect(plan, store, results)
    page = html(evidence).encode()
    key = digest_of({"dataset": REPORT, "interval": plan.interval.key, "page": page.decode()})
    manifest = store.find(REPORT, plan.interval.key, key)
    if manifest is None:
        # First MLflow, then our own: a page that is published has been logged too.
        _log_to_mlflow(evidence, page)
        manifest = _publish(plan, store, evidence, page, key)
    if not store.objects.is_local:
        return page_uri(store, manifest)
    return _copy(plan, page)


def _publish(plan: Plan, store: Store, evidence: Evidence, page: bytes, key: str) -> Manifest:
    """The page as a version of its own."""
    outcome = evidence.outcome
    inputs = {stage: manifest.ref for stage, manifest in evidence.manifests.items()}
    attempt = store.attempt(REPORT, plan.interval.key)
    attempt.put(PAGE, page)
    result = {
        "run_id": plan.run_id,
        "kind": outcome.kind,
        "sentence": outcome.sentence,
        "reason": outcome.error.message if outcome.error is not None else outcome.why,
        "stage": outcome.failed_stage,
    }
    try:
        return attempt.publish(stage_key=key, code=code_digest(("report",)), inputs=inputs, result=result)
    except Overtaken:
        newest = store.latest(REPORT, plan.interval.key)
        assert newest is not None, "somebody has just published it"
        return newest


def _copy(plan: Plan, page: bytes) -> Path:
    path = report_path(Settings.from_environment(), plan.model, plan.interval.night.isoformat())
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(page)
    fresh.replace(path)
    return path


def report_path(settings: Settings, model: str, night: str) -> Path:
    """Where the local copy of a night's report is."""
    return settings.home / "reports" / model / f"{night}.html"


def _log_to_mlflow(evidence: Evidence, page: bytes) -> None:
    """Keep the page with the registered version too; MLflow being away is no reason to fail."""
    run_id = evidence.summary("register").get("mlflow_run_id")
    if not run_id:
        return
    from tempfile import TemporaryDirectory

    from nightshift.registry.mlflow_registry import Registry

    with TemporaryDirectory(prefix="nightshift-report-") as folder:
        path = Path(folder) / PAGE
        path.write_bytes(page)
        try:
            Registry(evidence.plan.mlflow_uri, evidence.plan.model).log_artifact(run_id, path)
        except NightshiftError as error:
            log.warning("the report could not be logged to MLflow: %s", error.message)
