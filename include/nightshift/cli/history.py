"""``nightshift history``: a model's nights as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nightshift.cli.console import count, metric, out, print_json, short_seconds, table
from nightshift.cli.models import store_of
from nightshift.plan import STAGES
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.report.nights import Night

WIDE = 140
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
        show_nights(out(), found)


def show_nights(console: Console, found: Sequence[Night]) -> None:
    """Nights, one line each; the seconds in a table of their own where the screen is too narrow for both."""
    if console.width >= WIDE:
        console.print(_table(found, [*EVIDENCE, *SECONDS]))
    else:
        console.print(_table(found, EVIDENCE))
        console.print("\n[bold]Seconds by stage[/]")
        console.print(_table(found, [EVIDENCE[0], *SECONDS, TOTAL], gap=1))


Column = tuple[str, str, Callable[["Night"], str]]


def _verdict(night: Night) -> str:
    version = "" if night.model_version is None else f" v{night.model_version}"
    return f"[{COLOURS[night.verdict]}]{night.verdict}[/]{version}"


def _seconds(stage: str) -> Column:
    return stage, "right", lambda night: short_seconds(night.seconds[stage]) if stage in night.seconds else "–"


EVIDENCE: list[Column] = [
    ("night", "left", lambda night: night.night),
    ("rows in", "right", lambda night: count(night.rows_in)),
    ("quarantined", "right", lambda night: count(night.quarantined)),
    ("unlabelled", "right", lambda night: count(night.unlabelled)),
    ("challenger", "right", lambda night: metric(night.challenger_auc)),
    ("champion", "right", lambda night: metric(night.champion_auc)),
    ("verdict", "left", _verdict),
]
SECONDS: list[Column] = [_seconds(stage) for stage in STAGES]
TOTAL: Column = ("all", "right", lambda night: short_seconds(sum(night.seconds.values())))


def _table(found: Sequence[Night], columns: Sequence[Column], *, gap: int = 2) -> Table:
    made = table(*((name, justify) for name, justify, _ in columns), gap=gap)
    for night in found:
        made.add_row(*(show(night) for _, _, show in columns))
    return made
