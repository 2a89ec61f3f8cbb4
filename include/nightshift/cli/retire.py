"""``nightshift retire``: a version never serves again."""

from __future__ import annotations

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.cli.moves import VersionNumber, mirror, signed
from nightshift.settings import Settings


@click.command()
@click.argument("model")
@click.argument("version", type=VersionNumber())
@signed("Why it must never serve again, for the ledger.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retire(*, model: str, version: int, reason: str, by: str, as_json: bool) -> None:
    """Retire VERSION of MODEL for good: it can neither be promoted nor rolled back to any more.

    Nothing is deleted now, but retention no longer keeps its files. The champion, and the version that a rollback
    goes to, cannot be retired. This cannot be undone; its night, run again with other code or another spec, makes
    a new version.
    """
    from nightshift.deploy.by_hand import retire as retired
    from nightshift.ledger import Ledger

    settings = Settings.from_environment()
    ledger = Ledger(store_of(settings, model))
    before = len(ledger.entries())
    entry = retired(ledger, version, reason=reason, by=by)
    fresh = entry.sequence > before
    if not as_json:
        again = "" if fresh else " already"
        out().print(
            f"{escape(model)}: v{version} is retired{again}, since {entry.at} by {escape(entry.by)}, ledger entry "
            f"{entry.sequence}: {escape(entry.reason)}",
            soft_wrap=True,
        )
    mirrored = mirror(settings, model, ledger)
    if as_json:
        print_json({"entry": entry.to_dict(), "already": not fresh, "mlflow": mirrored})
