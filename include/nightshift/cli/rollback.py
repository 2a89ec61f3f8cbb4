"""``nightshift rollback``: an earlier champion serves again, at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.cli.moves import VersionNumber, load_mlflow_meanwhile, mirror, signed
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.deploy.target import InfraCheck
    from nightshift.ledger import Entry


@click.command()
@click.argument("model")
@click.option("--to", type=VersionNumber(), help="A version that was champion once; default: the one before.")
@signed("Why, for the ledger.", usually="rolled back by hand")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rollback(*, model: str, to: int | None, reason: str, by: str, as_json: bool) -> None:
    """Make an earlier champion of MODEL the champion again, and hold automatic promotion.

    Needs storage only: MLflow may be down, its aliases follow later. Before anything moves, the version's blessings
    and bytes are checked, and a fresh process reproduces its golden rows. Nothing is promoted by a night from then
    on, until somebody runs nightshift resume MODEL.
    """
    from nightshift.deploy.by_hand import roll_back
    from nightshift.ledger import Ledger

    settings = Settings.from_environment()
    ledger = Ledger(store_of(settings, model))
    with ThreadPoolExecutor(max_workers=1) as pool, TemporaryDirectory(prefix="nightshift-") as scratch:
        pool.submit(load_mlflow_meanwhile)
        entry, check = roll_back(ledger, to=to, reason=reason, by=by, scratch=Path(scratch))
        if not as_json:
            _tell(model, entry, check)
    mirrored = mirror(settings, model, ledger)
    if as_json:
        print_json({"entry": entry.to_dict(), "golden_rows": check.rows, "mlflow": mirrored})


def _tell(model: str, entry: Entry, check: InfraCheck) -> None:
    """Said at once: what MLflow makes of it may take longer."""
    out().print(
        f"{escape(model)}: champion v{entry.from_version} -> [bold]v{entry.to_version}[/], ledger entry "
        f"{entry.sequence}; a fresh process reproduced its {check.rows} golden rows.\n"
        f"Automatic promotion is on hold. When nights may promote again: nightshift resume {escape(model)}\n"
        f"To undo: nightshift rollback {escape(model)} --to {entry.from_version}",
        soft_wrap=True,
    )
