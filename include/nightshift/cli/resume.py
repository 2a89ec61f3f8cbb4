"""``nightshift hold`` and ``nightshift resume``: whether nights may promote by themselves."""

from __future__ import annotations

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.cli.moves import signed
from nightshift.settings import Settings


@click.command()
@click.argument("model")
@signed("Why, for the ledger and for every night that is not promoted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def hold(*, model: str, reason: str, by: str, as_json: bool) -> None:
    """Stop the automatic promotion of MODEL: nights go on, but the champion stays until nightshift resume."""
    from nightshift.ledger import Ledger

    ledger = Ledger(store_of(Settings.from_environment(), model))
    before = len(ledger.entries())
    entry = ledger.put_on_hold(reason=reason, by=by)
    already = entry.sequence <= before
    if as_json:
        print_json({"entry": entry.to_dict(), "already": already})
        return
    told = (
        f"{model} is on hold{' already' if already else ''}, since {entry.at} by {entry.by} "
        f"({entry.kind}, ledger entry {entry.sequence}): {entry.reason}"
    )
    if already:
        told += "\nNothing was written, so your name and reason are not in the ledger."
    out().print(escape(told), soft_wrap=True)


@click.command()
@click.argument("model")
@signed("Why, for the ledger.", usually="released by hand")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resume(*, model: str, reason: str, by: str, as_json: bool) -> None:
    """Let nights of MODEL promote again, after a rollback or a hold."""
    from nightshift.ledger import Ledger

    ledger = Ledger(store_of(Settings.from_environment(), model))
    held = ledger.hold()
    entry = ledger.resume(reason=reason, by=by)
    if as_json:
        print_json({"entry": entry.to_dict() if entry else None})
    elif entry is None:
        out().print(f"{escape(model)} is not on hold; nothing to do.")
    else:
        ended = f" The hold of {held.at} by {escape(held.by)} is over." if held else ""
        name = "none yet" if entry.to_version is None else f"v{entry.to_version}"
        out().print(
            f"Nights of {escape(model)} promote again, ledger entry {entry.sequence}.{ended} Champion is {name}.",
            soft_wrap=True,
        )
