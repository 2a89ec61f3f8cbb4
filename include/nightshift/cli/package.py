"""``nightshift package``: the code archive that Spark ships to its executors."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.environment import shown


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default="dist",
    metavar="FOLDER",
    show_default=True,
    help="Where to write it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print path, digest and Python version as JSON.")
def package(folder: Path, as_json: bool) -> None:
    """Build the code archive into FOLDER: the same bytes for the same code.

    Jobs on a Spark cluster build it themselves; this is for looking into it, and for clusters that take code
    from a store.
    """
    from nightshift.jobs.archive import build, python_minor
    from nightshift.plan import package_version

    path = build(folder.absolute())
    if as_json:
        print_json({"path": str(path), "code_version": package_version(), "python": python_minor()})
        return
    size = f"{path.stat().st_size / 1024:,.0f} KiB"
    out().print(f"{escape(shown(path))}  ({size}, for Python {python_minor()})", soft_wrap=True)
