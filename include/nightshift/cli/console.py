"""How the commands speak: one console for results, one for everything else."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nightshift.errors import NightshiftError

MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}


def out() -> Console:
    """Standard output: results."""
    return Console(highlight=False)


def err() -> Console:
    """Standard error: progress and complaints, so that results can be piped."""
    return Console(stderr=True, highlight=False)


def show_error(error: NightshiftError) -> None:
    """A message in red, and its hint; to standard error."""
    console = err()
    console.print(f"[bold red]Error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        console.print(f"[red]Hint:[/] {escape(error.hint)}", soft_wrap=True)


def print_json(value: Any) -> None:
    """Plain JSON to standard output, for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(*columns: str | tuple[str, str], gap: int = 2) -> Table:
    """A quiet table; a column given as a pair names its justification too."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        made.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return made


def short_seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def metric(value: float | None) -> str:
    from nightshift.evaluate.wording import decimals_for

    return "–" if value is None else f"{value:,.{decimals_for(value)}f}"
