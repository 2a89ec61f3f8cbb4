"""``nightshift waive``: a person takes responsibility for a failed blessing of one night."""

from __future__ import annotations

from datetime import UTC, date, datetime

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.cli.moves import signed
from nightshift.plan import resolve_interval
from nightshift.settings import Settings


@click.command()
@click.argument("model")
@click.option("--night", required=True, metavar="YYYY-MM-DD", help="The night whose blessing is waived.")
@click.option("--blessing", "kind", required=True, type=click.Choice(["data", "quality"]), help="Which blessing.")
@click.option("--reason", required=True, help="Why this night may ship all the same.")
@click.option(
    "--expires",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The last day, in UTC, on which the waiver counts.",
)
@signed
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def waive(*, model: str, night: str, kind: str, reason: str, expires: datetime, by: str, as_json: bool) -> None:
    """Let one night of MODEL ship in spite of a failed data or quality blessing.

    The waiver has a name, a reason and a last day, and stands in the ledger for ever. The night's gate honours it
    when the night runs, or runs again: its blessing then says waived, by whom, and why. Infra cannot be waived.
    """
    from nightshift.ledger import Ledger, Waiver

    now = datetime.now(UTC)
    interval = resolve_interval(now=now, night=night)
    last = _last_day(expires.date(), now.date())
    if not reason.strip():
        raise click.BadParameter("a waiver says why", param_hint="--reason")
    ledger = Ledger(store_of(Settings.from_environment(), model))
    waiver = Waiver(interval.key, "data" if kind == "data" else "quality", last.isoformat())
    entry = ledger.waive(waiver, reason=reason, by=by)
    if as_json:
        print_json({"entry": entry.to_dict()})
        return
    out().print(
        f"The {kind} blessing of {escape(model)}'s night {interval.night} is waived by {escape(by)} up to {last}, "
        f"ledger entry {entry.sequence}.\nIt counts when the night runs: nightshift run {escape(model)} --night "
        f"{interval.night}, or clear it in Airflow.",
        soft_wrap=True,
    )


def _last_day(expires: date, today: date) -> date:
    if expires < today:
        raise click.BadParameter(f"{expires} is past; today is {today} in UTC", param_hint="--expires")
    return expires
