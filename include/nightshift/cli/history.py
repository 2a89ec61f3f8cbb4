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
    from nightshift.ledger import Entry
    from nightshift.report.nights import Night

WIDE = 140
COLOURS = {
    "promoted": "green",
    "refused": "yellow",
    "kept": "cyan",
    "waiting": "magenta",
    "failed": "red",
    "skipped": "dim",
    "unfinished": "dim",
}


@click.command()
@click.argument("model")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1), help="How many nights, newest last.")
@click.option("--ledger", "of_ledger", is_flag=True, help="Show the entries of the ledger instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(*, model: str, limit: int, of_ledger: bool, as_json: bool) -> None:
    """Show the nights of MODEL: rows, metric of challenger and champion, verdict, seconds by stage.

    Rows are those of the whole window that a night used. Seconds are of the attempt that made a result;
    a reused result keeps its first seconds. Below stand the reasons of nights that promoted nothing, and
    what people did: rollbacks, holds, waivers, retirements, promotions by hand.
    """
    from nightshift.ledger import Ledger
    from nightshift.report.nights import metrics_of, nights

    store = store_of(Settings.from_environment(), model)
    if of_ledger:
        entries = Ledger(store).entries()[-limit:]
        if as_json:
            print_json([entry.to_dict() for entry in entries])
        else:
            out().print(_moves(entries) if entries else f"The ledger of {escape(model)} is empty.")
        return
    found = nights(store, limit=limit)
    if as_json:
        print_json([night.to_dict() for night in found])
    elif not found:
        out().print(f"{escape(model)} has no nights yet. Run one: nightshift run {escape(model)} --night YYYY-MM-DD")
    else:
        show_nights(out(), found)
        for told in metrics_of(found):
            out().print(f"Challenger and champion: {told.words}; {told.better}.")
        _show_reasons(out(), found)
        by_people = [entry for entry in Ledger(store).entries()[-limit:] if entry.by_a_person]
        if by_people:
            out().print("\n[bold]By people[/]")
            out().print(_moves(by_people))


def _show_reasons(console: Console, found: Sequence[Night]) -> None:
    told = [night for night in found if night.verdict != "promoted" and night.reason]
    if told:
        console.print("\n[bold]Reasons[/]")
    for night in told:
        console.print(f"  {night.night} {_verdict(night)}: {escape(night.reason or '')}")


def _moves(entries: Sequence[Entry]) -> Table:
    made = table(("entry", "right"), "at", "what", "champion", "by", "reason")
    for entry in entries:
        names = ["none" if one is None else f"v{one}" for one in (entry.from_version, entry.to_version)]
        moved = " -> ".join(names) if names[0] != names[1] else f"{names[0]} stays"
        what: str = entry.kind
        if entry.waiver is not None:
            what = entry.waiver.told
        elif entry.kind == "refusal":
            what = f"refusal of v{entry.about.model_version}"
        elif entry.kind == "retirement":
            what = f"retirement of v{entry.about.model_version}"
        made.add_row(str(entry.sequence), entry.at, escape(what), moved, escape(entry.by), escape(entry.reason))
    return made


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
    ("challenger", "right", lambda night: metric(night.challenger)),
    ("champion", "right", lambda night: metric(night.champion)),
    ("verdict", "left", _verdict),
]
SECONDS: list[Column] = [_seconds(stage) for stage in STAGES]
TOTAL: Column = ("all", "right", lambda night: short_seconds(sum(night.seconds.values())))


def _table(found: Sequence[Night], columns: Sequence[Column], *, gap: int = 2) -> Table:
    made = table(*((name, justify) for name, justify, _ in columns), gap=gap)
    for night in found:
        made.add_row(*(show(night) for _, _, show in columns))
    return made
