"""``nightshift explain``: one night, from its data to its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, out, print_json, short_seconds, table
from nightshift.cli.models import store_of
from nightshift.errors import DataError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.report.explanation import Explanation

SHORT = 12


@click.command()
@click.argument("model")
@click.argument("run", required=False)
@click.option("--night", metavar="YYYY-MM-DD", help="The night; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(*, model: str, run: str | None, night: str | None, as_json: bool) -> None:
    """Explain a night of MODEL: what it was made of, why it ended as it did, and how to undo it.

    RUN is a run id of Airflow, as in its grid; or give --night. Also said: what changed since the night before.
    """
    from nightshift.report.explanation import explain as explained
    from nightshift.report.explanation import interval_of_run

    if run is not None and night is not None:
        raise click.UsageError("give a run id or --night, not both.")
    store = store_of(Settings.from_environment(), model)
    interval = None
    if run is not None:
        interval = interval_of_run(store, run)
        if interval is None:
            raise DataError(
                f"{model} has no run {run!r} in storage.", hint="run ids are in Airflow's grid; or use --night"
            )
    elif night is not None:
        interval = _interval(night)
    found = explained(store, model, interval)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(model, found)


def _interval(night: str) -> str:
    from datetime import UTC, datetime

    from nightshift.plan import resolve_interval

    return resolve_interval(now=datetime.now(UTC), night=night).key


def _show(model: str, found: Explanation) -> None:
    console, night = out(), found.night
    version = "" if night.model_version is None else f", v{night.model_version}"
    console.print(f"[bold]{escape(model)}, night {night.night}[/]: {night.verdict}{version}", soft_wrap=True)
    for line in (night.reason, found.run_id and f"Run {found.run_id}."):
        if line:
            console.print(escape(line), soft_wrap=True)
    for kind, blessing in found.blessings.items():
        waived = blessing["waived_by"]
        by = f" by {waived['by']} up to {waived['expires']}: {waived['reason']}" if waived else ""
        console.print(f"\n[bold]{kind} blessing[/]: {blessing['verdict']}{escape(by)}", soft_wrap=True)
        for check in blessing["checks"]:
            mark = MARKS["ok" if check["passed"] else "error"]
            console.print(f"  {mark} {check['name']}: {escape(check['text'])}", soft_wrap=True)
    console.print("\n[bold]Lineage[/]")
    made = table("stage", "version", "code", "made from", ("seconds", "right"))
    for stage, about in found.lineage.items():
        inputs = ", ".join(f"{value}" for value in about["inputs"].values())
        made.add_row(
            stage, escape(about["version"]), about["code"][:SHORT], escape(inputs), short_seconds(about["seconds"])
        )
    console.print(made)
    if found.spec_digest:
        console.print(f"spec {found.spec_digest[:SHORT]}")
    _show_ledger(found)


def _show_ledger(found: Explanation) -> None:
    console = out()
    if found.entries:
        console.print("\n[bold]Ledger[/]")
    for entry in found.entries:
        console.print(
            f"  {entry.sequence}. {entry.at} {entry.kind} by {escape(entry.by)}: {escape(entry.reason)}", soft_wrap=True
        )
    if found.before is not None:
        console.print(f"\n[bold]Since the night of {found.before}[/]")
        for change in found.changes or ("nothing changed",):
            console.print(f"  {escape(change)}", soft_wrap=True)
    console.print(f"\n{escape(found.undo)}", soft_wrap=True)
