"""``nightshift retention``: delete what nothing refers to any more."""

from __future__ import annotations

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.settings import Settings


@click.command()
@click.argument("model")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--keep-days", default=90, show_default=True, type=click.IntRange(0), help="Days of history that stay.")
@click.option(
    "--keep-versions", default=3, show_default=True, type=click.IntRange(1), help="Versions of each interval that stay."
)
@click.option(
    "--garbage-hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    help="How long files stay that no version names, for those who may still be reading or writing them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retention(
    *, model: str, dry_run: bool, keep_days: int, keep_versions: int, garbage_hours: float, as_json: bool
) -> None:
    """Delete what no manifest, night or champion of MODEL needs any more.

    Champions stay until somebody retires them, with everything they were made from. A version that goes is retired in
    the ledger first: it can neither be promoted nor rolled back to any more. Safe beside running nights.
    """
    from nightshift.ledger.retention import retain

    report = retain(
        store_of(Settings.from_environment(), model),
        keep_versions=keep_versions,
        keep_days=keep_days,
        garbage_hours=garbage_hours,
        dry_run=dry_run,
    )
    if as_json:
        print_json(report.to_dict())
        return
    out().print(f"{model}: {escape(str(report))}.", soft_wrap=True)
    if dry_run:
        for ref in report.versions:
            out().print(f"  {escape(str(ref))}")
