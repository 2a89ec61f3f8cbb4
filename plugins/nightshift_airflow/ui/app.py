"""The tab "Run report" of a run: the page that its last job rendered, read from storage."""

from __future__ import annotations

import re
from html import escape
from typing import Annotated

from airflow.models.dagrun import DagRun
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from nightshift.errors import NightshiftError
from nightshift.plan import Interval
from nightshift.report.approval import Question
from nightshift.report.nights import PAGE, page_of
from nightshift.settings import Settings
from nightshift.storage import Store
from nightshift_airflow.runs import interval_of
from nightshift_airflow.ui.access import MAY_READ_RUNS, SIGNED_IN, run_of

REPORTED = re.compile(r"([a-z][a-z0-9_]{0,62})__(retraining|promotion)")
# A report shows values that came with the data: nothing in it may run, and nothing may be fetched.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

app = FastAPI(title="Nightshift", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[SIGNED_IN])


@app.get("/dags/{dag_id}/report", response_class=HTMLResponse, dependencies=[MAY_READ_RUNS])
def report(dag_id: str, run: Annotated[DagRun, Depends(run_of)]) -> HTMLResponse:
    """The report of one run of one model."""
    model = REPORTED.fullmatch(dag_id)
    if model is None:
        return _note("This DAG has no run reports: it is no retraining and no promotion of Nightshift.")
    try:
        settings = Settings.from_environment()
        store = Store.open(settings.storage, env=settings.env, model=model[1])
        interval = _asked_about(run, store, model[1]) if model[2] == "promotion" else None
        interval = interval or interval_of(run, night=(run.conf or {}).get("night"))
        found = page_of(store, interval.key, run.run_id)
        if found is None:
            return _note(
                f"Night {interval.night} has no report yet. It appears when the last stage has run, or when a stage "
                "fails; a night without data has none."
            )
        return HTMLResponse(store.read(found, PAGE), headers=HEADERS)
    except NightshiftError as error:
        return _note(str(error))


def _asked_about(run: DagRun, store: Store, model: str) -> Interval | None:
    """The night whose version a promotion is about, where its run does not say it by its form."""
    if (run.conf or {}).get("night"):
        return None
    nights = [event.extra["night"] for event in run.consumed_asset_events if "night" in (event.extra or {})]
    if nights:
        return interval_of(run, night=max(nights))
    question = Question.find(store, model, None)
    return question.candidate.interval if question else None


def _note(text: str) -> HTMLResponse:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        "<title>Run report</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;"
        f"margin:4rem auto;padding:0 1rem;white-space:pre-line}}</style><p>{escape(text)}</p></html>"
    )
    return HTMLResponse(page, headers=HEADERS)
