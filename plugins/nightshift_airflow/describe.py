"""How a model's spec becomes the arguments of its DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param

from nightshift.spec.models import ModelSpec
from nightshift.spec.values import format_duration

START = datetime(2000, 1, 1, tzinfo=UTC)  # before any night; catchup is off
DAY = timedelta(days=1)


def dag_of(spec: ModelSpec, process: str) -> dict[str, Any]:
    """Arguments of ``@dag`` for one process (``retraining``, …) of a model."""
    return {
        "dag_id": f"{spec.model}__{process}",
        "description": " ".join(spec.description.split()) or None,
        "doc_md": documentation(spec),
        "schedule": CronTriggerTimetable(spec.schedule, timezone="UTC", interval=DAY) if spec.schedule else None,
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "tags": list(dict.fromkeys([spec.model, *spec.tags, "nightshift"])),
        "params": {"night": night()},
        "default_args": {"owner": spec.owner},
    }


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
        "Label": f"`{spec.label.column} {spec.label.positive}`, known after {format_duration(spec.label.delay)}",
        "Features": f"{len(spec.features.numeric)} numeric, {len(spec.features.categorical)} categorical",
        "Training": f"{spec.training.engine} on {format_duration(spec.window.train)}",
        "Holdout": f"the {format_duration(spec.window.holdout)} after that",
        "Ships when": (f"{spec.gates.metric} ≥ {spec.gates.minimum:g}, and {_rule(spec)}"),
        "Serves at": f"`{spec.deploy.target}`",
    }
    rows = "\n".join(f"| {name} | {_cell(fact)} |" for name, fact in facts.items())
    return f"{spec.description.strip()}\n\n| | |\n| --- | --- |\n{rows}\n\nSpec: `models/{spec.model}.yaml`\n"


def _rule(spec: ModelSpec) -> str:
    versus = spec.gates.versus_champion
    if versus.rule == "better":
        return "better than the champion"
    return f"not more than {versus.margin:g} below the champion's"


def _source(spec: ModelSpec) -> str:
    source = spec.source
    where = f"{source.package}: {source.file}" if source.kind == "package" else source.uri
    until = f", until {source.until.date()}" if source.until else ""
    return f"`{where}` by `{source.time}`{until}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
