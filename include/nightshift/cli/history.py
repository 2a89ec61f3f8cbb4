"""``nightshift history``: a model's nights as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from nightshift.cli.console import count, metric, out, print_json, short_seconds, table
from nightshift.cli.models import store_of
from nightshift.plan import STAGES
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.report.nights import Night

COLOURS = {
    "promoted": "green",
    "refused": "yellow",
    "kept": "cyan",
    "failed": "red",
    "skipped": "dim",
    "unfinished": "dim",
}


@click.command()
@click.argument("model")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1), help="How many nights, newest last.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(model: str, limit: int, as_json: bool) -> None:
    """Show the nights of MODEL: rows, AUC of challenger and champion, verdict, seconds by stage.

    Rows are those of the whole window that a night used. Seconds are of the attempt that made a result;
    a reused result keeps its first seconds.
    """
    from nightshift.report.nights import nights

    settings = Settings.from_environment()
    found = nights(store_of(settings, model), limit=limit)
    if as_json:
        print_json([night.to_dict() for night in found])
    elif not found:
        out().print(f"{escape(model)} has no nights yet. Run one: nightshift run {escape(model)} --night YYYY-MM-DD")
    else:
        out().print(nights_table(found))


def nights_table(found: Sequence[Night]) -> Table:
    """Nights as a table, one line each."""
    right = "right"
    numbers = [(name, right) for name in ("rows in", "quarantined", "unlabelled", "challenger", "champion")]
    made = table("night", *numbers, "verdict", "version", *((stage, right) for stage in STAGES))
    for night in found:
        colour = COLOURS[night.verdict]
        made.add_row(
            night.night,
            count(night.rows_in),
            count(night.quarantined),
            count(night.unlabelled),
            metric(night.challenger_auc),
            metric(night.champion_auc),
            f"[{colour}]{night.verdict}[/]",
            "–" if night.model_version is None else f"v{night.model_version}",
            *(short_seconds(night.seconds[stage]) if stage in night.seconds else "–" for stage in STAGES),
        )
    return made
