"""Failures and refusals, told to the webhook that a spec names; and the reason as a log's last lines."""

from __future__ import annotations

import atexit
import base64
import json
import logging
import sys
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from nightshift.spec.models import ModelSpec
from nightshift_airflow.runs import NightFailed, is_dags_test

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from nightshift.settings import Settings
    from nightshift.stage import StageResult

log = logging.getLogger(__name__)

TIMEOUT = 10  # seconds


class FailureNotifier:
    """Task callback: tell the webhook that a stage failed for good; each failure once.

    Args:
        spec: The model's spec.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def __call__(self, context: Context) -> None:
        if isinstance(context.get("exception"), NightFailed):
            return
        stage = context["ti"].task_id
        reason = str(context.get("exception") or "the task was ended from outside")
        headline = f"{self.spec.model}: {stage} failed; the champion stays."
        _send(self.spec, {"event": "failure", "text": f"{headline}\n{reason}", "reason": reason}, context)


def notify_refusal(context: Context, spec: ModelSpec, refused: StageResult, *, night: str) -> None:
    """Tell the webhook that a challenger was refused."""
    headline = f"{spec.model}: the challenger of night {night} was refused; the champion stays."
    body = {"event": "refusal", "night": night, "text": f"{headline}\n{refused.reason}", "reason": refused.reason}
    _send(spec, body, context)


def notify_question(context: Context, spec: ModelSpec, *, subject: str, link: str) -> None:
    """Tell the webhook that a version waits for a person, and where to answer."""
    _send(spec, {"event": "approval", "text": f"{subject}\n{link}", "link": link}, context)


def notify_leak(context: Context, model: str, settings: Settings, reason: str) -> None:
    """Tell the webhook of a model that a cluster of it was left behind, if the model has a spec that names one."""
    from nightshift.spec.loader import load_specs

    for spec in load_specs(settings.models, check_sql=False).specs:
        if spec.model == model:
            _send(spec, {"event": "leak", "text": f"{model}: {reason}", "reason": reason}, context)


def notify_reaper_failure(context: Context) -> None:
    """Task callback: tell the webhooks of all models on EMR, each once, that clusters may be left behind."""
    from nightshift.settings import Settings
    from nightshift.spec.loader import load_specs

    settings = Settings.from_environment()
    specs = load_specs(settings.models, check_sql=False).specs
    on_emr = [spec for spec in specs if settings.compute_of(spec.compute.target) == "emr"]
    reason = str(context.get("exception") or "it was ended from outside")
    text = f"the reaper failed: clusters that cost money may have been left behind.\n{reason}"
    for spec in {spec.notify.connection: spec for spec in on_emr if spec.notify is not None}.values():
        _send(spec, {"event": "reaper", "text": text, "reason": reason}, context)


def explain_retry(context: Context) -> None:
    """Task callback, to be the last one: repeat the reason below the traceback, where people look."""
    log.error("%s failed and will be tried again.\n%s", context["ti"].task_id, context.get("exception"))


def explain_failure(context: Context) -> None:
    """Task callback, to be the last one: repeat the reason below the traceback, where people look."""
    reason = f"{context['ti'].task_id} failed.\n{context.get('exception') or 'It was ended from outside.'}"
    log.error("%s", reason)
    if is_dags_test(context["dag_run"]):
        # Airflow goes on to mark every task downstream; what people want to read would scroll away.
        atexit.register(sys.stderr.write, f"\n{reason}\n")


def _send(spec: ModelSpec, body: dict[str, Any], context: Context) -> None:
    """Tell the spec's webhook, if it has one; not being heard is a warning, never a failure."""
    if spec.notify is None:
        return
    ti = context["ti"]
    about = {"model": spec.model, "dag_id": ti.dag_id, "run_id": ti.run_id, "stage": ti.task_id}
    try:
        post(spec.notify.connection, {**about, **body})
    except (AirflowException, AirflowRuntimeError, HTTPException, OSError, TypeError, ValueError) as error:
        log.warning("connection %s was not notified: %s", spec.notify.connection, error)


def post(connection: str, body: dict[str, Any]) -> None:
    """POST a JSON object to the webhook that a connection of Airflow describes.

    Host, schema and port make the URL; a host may be a whole URL with a path. Login and password become
    basic authentication, a password alone a bearer token; ``headers`` in the extra are sent along. Not by
    Airflow's own HttpHook: it logs URLs, and with Slack and its like the path of the URL is the secret.

    Raises:
        AirflowException: There is no such connection.
        OSError: The webhook cannot be reached or answers with an error.
        ValueError: The connection does not describe a URL.
    """
    from airflow.sdk import BaseHook

    hook = BaseHook.get_connection(connection)
    request = Request(_url(hook), json.dumps(body).encode(), method="POST")  # noqa: S310 (http and https only)
    request.add_header("Content-Type", "application/json")
    if hook.login and hook.password:
        pair = base64.b64encode(f"{hook.login}:{hook.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    elif hook.password:
        request.add_header("Authorization", f"Bearer {hook.password}")
    for name, value in dict(hook.extra_dejson.get("headers", {})).items():
        request.add_header(name, value)
    with urlopen(request, timeout=TIMEOUT):  # noqa: S310 (http and https only)
        log.info("connection %s was notified", connection)


def _url(hook: Connection) -> str:
    host = hook.host or ""
    url = host if "://" in host else f"{hook.schema or 'https'}://{host}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it needs a host, and http or https")
    if hook.port:
        url = parts._replace(netloc=f"{parts.hostname}:{hook.port}").geturl()
    return url
