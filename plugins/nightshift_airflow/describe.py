"""How a model's spec becomes the arguments of its DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param

from nightshift.spec.engine_packages import missing_engine
from nightshift.spec.models import ModelSpec
from nightshift.spec.values import format_duration
from nightshift_airflow.assets import candidate

START = datetime(2000, 1, 1, tzinfo=UTC)  # before any night; catchup is off
DAY = timedelta(days=1)


def dag_of(spec: ModelSpec, process: str) -> dict[str, Any]:
    """Arguments of ``@dag`` for one process (``retraining``, …) of a model."""
    return {
        "dag_id": f"{spec.model}__{process}",
        "description": _description(spec) or None,
        "doc_md": documentation(spec),
        "schedule": CronTriggerTimetable(spec.schedule, timezone="UTC", interval=DAY) if spec.schedule else None,
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "tags": list(dict.fromkeys([spec.model, *spec.tags, "nightshift"])),
        "params": {"night": night()},
        "default_args": {"owner": spec.owner},
    }


def promotion_of(spec: ModelSpec) -> dict[str, Any]:
    """Arguments of ``@dag`` for the approval of a model's versions by a person."""
    waits = format_duration(spec.approval_timeout)
    return {
        **dag_of(spec, "promotion"),
        "description": f"Ask a person whether a version of {spec.model} may ship, then promote it.",
        "doc_md": PROMOTION.format(model=spec.model, waits=waits),
        "schedule": [candidate(spec)],
        "max_active_runs": 16,  # a question that nobody answers must not keep the next from being asked
        "params": {"night": night(), "approve": answer()},
    }


PROMOTION = """\
Each night of `{model}__retraining` ends with a registered version. If that has passed its gates, this DAG asks a
person: the question stands under *Required Actions*, with the numbers, and waits {waits}. Whoever may trigger this DAG
may answer.

* **candidate** finds the version; skipped if it is settled, or a newer one has come.
* **approval** waits. It holds no worker and no slot.
* **deploy** makes an approved version the champion, after the same checks as ever, in the approver's name; a rejection
  goes into the ledger, and deploy is skipped.

Triggered by hand, it asks about the newest version, or that of the night in the form.
"""


def answer() -> Param:
    return Param(
        None,
        type=["null", "boolean"],
        title="Answer of airflow dags test",
        description="Leave it empty: only airflow dags test, where nobody can be asked, takes its answer from here.",
    )


def night() -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title="Night",
        description="The night to do again, as YYYY-MM-DD: it is about the UTC day before. Empty: the run's own.",
    )


def documentation(spec: ModelSpec) -> str:
    """The DAG's page in the Airflow UI: what the model is for and the facts people ask for first."""
    facts = {
        "Owner": spec.owner,
        "Schedule": f"`{spec.schedule}` UTC" if spec.schedule else "by hand",
        "Source": _source(spec),
        "Label": f"`{spec.label.asked}`{_delay(spec)}",
        "Features": f"{len(spec.features.numeric)} numeric, {len(spec.features.categorical)} categorical",
        **_held_out(spec),
        "Ships when": f"{_bound(spec)}, and {_rule(spec)}{_approval(spec)}",
        "Serves at": f"`{spec.deploy.target}`",
    }
    rows = "\n".join(f"| {name} | {_cell(fact)} |" for name, fact in facts.items())
    missing = missing_engine(spec)
    notice = f"> **{missing.message}** {missing.hint}.\n\n" if missing else ""
    return f"{notice}{spec.description.strip()}\n\n| | |\n| --- | --- |\n{rows}\n\nSpec: `models/{spec.model}.yaml`\n"


def _description(spec: ModelSpec) -> str:
    """The line below the DAG's name: a model that cannot be trained here says so where it is listed."""
    text = " ".join(spec.description.split())
    missing = missing_engine(spec)
    return f"{missing.message} {text}".strip() if missing else text


def _delay(spec: ModelSpec) -> str:
    return "" if spec.source.static else f", known after {format_duration(spec.label.delay)}"


def _held_out(spec: ModelSpec) -> dict[str, str]:
    engine = spec.training.engine
    if spec.window is not None:
        train, holdout = format_duration(spec.window.train), format_duration(spec.window.holdout)
        return {"Training": f"{engine} on {train}", "Holdout": f"the {holdout} after that"}
    share = spec.split.holdout if spec.split is not None else 0.0
    by = ", ".join(f"`{name}`" for name in spec.key)
    return {"Training": f"{engine}, when rows, spec or code have changed", "Holdout": f"{share:.0%} by a hash of {by}"}


def _bound(spec: ModelSpec) -> str:
    return f"{spec.gates.metric} {'≥' if spec.gates.decider.higher_is_better else '≤'} {spec.gates.bound:g}"


def _rule(spec: ModelSpec) -> str:
    versus = spec.gates.versus_champion
    if versus.rule == "better":
        return "better than the champion"
    return f"not more than {spec.gates.margins.deciding:g} worse than the champion's"


def _approval(spec: ModelSpec) -> str:
    return ", and a person approves" if spec.approval == "manual" else ""


def _source(spec: ModelSpec) -> str:
    source = spec.source
    where = f"{source.package}: {source.file}" if source.kind == "package" else source.uri
    if source.static:
        return f"`{where}`, static"
    until = f", until {source.until.date()}" if source.until else ""
    return f"`{where}` by `{source.time}`{until}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
