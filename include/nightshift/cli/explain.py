"""``nightshift explain``: one night, from its data to its decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, out, print_json, short_seconds, table
from nightshift.cli.models import store_of
from nightshift.errors import DataError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.report.explanation import Explanation

KINDS = ("data", "quality", "infra")
SHORT = 12


@click.command()
@click.argument("model")
@click.argument("run", required=False)
@click.option("--night", metavar="YYYY-MM-DD", help="The night; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(*, model: str, run: str | None, night: str | None, as_json: bool) -> None:
    """Explain a night of MODEL: how it ended and why, how to undo it, and what it was made of.

    RUN is a run id of Airflow, as in its grid; or give --night. Also said: where the report lies, every check of every
    blessing, failed ones first, what changed since the night before, and what the night used.
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
    found = explained(store, model, interval, run_id=run)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(model, found)


def _interval(night: str) -> str:
    from datetime import UTC, datetime

    from nightshift.plan import resolve_interval

    return resolve_interval(now=datetime.now(UTC), night=night).key


def _show(model: str, found: Explanation) -> None:
    """What a person woken by a night needs first comes first: what happened, how to take it back, why."""
    night = found.night
    version = "" if night.model_version is None else f", v{night.model_version}"
    _say(f"[bold]{escape(model)}, night {night.night}[/]: {night.verdict}{version}")
    for line in (found.note, night.reason, found.undo):
        if line:
            _say(escape(line))
    if found.run_id:
        _say(f"\nRun {escape(found.run_id)}.")
    _say(f"Report: {escape(found.report)}" if found.report else "No report was rendered.")
    _show_blessings(found)
    if found.before is not None:
        _say(f"\n[bold]Since the night of {found.before}[/]")
        for change in found.changes or ("nothing changed",):
            _say(f"  {escape(change)}")
    _show_lineage(found)
    if found.entries:
        _say("\n[bold]Ledger[/]")
    for entry in found.entries:
        what = entry.kind if entry.waiver is None else entry.waiver.told
        _say(f"  {entry.sequence}. {entry.at} {escape(what)} by {escape(entry.by)}: {escape(entry.reason)}")


def _say(text: str) -> None:
    out().print(text, soft_wrap=True)


def _show_blessings(found: Explanation) -> None:
    for kind, blessing in found.blessings.items():
        waived = blessing["waived_by"]
        by = f" by {waived['by']}, {_waived(waived)}: {waived['reason']}" if waived else ""
        _say(f"\n[bold]{kind} blessing[/]: {blessing['verdict']}{escape(by)}")
        for check in sorted(blessing["checks"], key=lambda check: bool(check["passed"])):
            mark = MARKS["ok" if check["passed"] else "error"]
            _say(f"  {mark} {check['name']}: {escape(check['text'])}")
    missing = [kind for kind in KINDS if kind not in found.blessings]
    if missing:
        _say(f"\nNot judged: {', '.join(missing)}.")


def _waived(by: Mapping[str, Any]) -> str:
    checks = "every check" if by["checks"] is None else ", ".join(by["checks"])
    return f"ledger entry {by['entry']}, up to {by['expires']}, for {checks}"


def _show_lineage(found: Explanation) -> None:
    _say("\n[bold]Lineage[/]")
    made = table("stage", "version", "code", "made from", ("seconds", "right"))
    for stage, about in found.lineage.items():
        inputs = ", ".join(f"{value}" for value in about["inputs"].values())
        made.add_row(
            stage, escape(about["version"]), about["code"][:SHORT], escape(inputs), short_seconds(about["seconds"])
        )
    out().print(made)
    if found.spec_digest:
        _say(f"spec {found.spec_digest[:SHORT]}")
    cost = found.cost
    used = (
        "" if cost.core_seconds is None else f", {cost.core_seconds:,.1f} core-seconds ({cost.threads} threads a job)"
    )
    _say(f"cost: {cost.seconds:,.1f} s of jobs{used}; no price is known, so none is given")
