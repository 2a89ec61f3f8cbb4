"""``nightshift validate`` and ``nightshift schema``: model specs, before anything runs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, err, out
from nightshift.cli.environment import shown
from nightshift.cli.models import require_name, spec_names
from nightshift.errors import SpecError
from nightshift.settings import Settings


@click.command()
@click.argument("specs", nargs=-1, metavar="[MODEL|FILE]…")
@click.pass_context
def validate(ctx: click.Context, specs: tuple[str, ...]) -> None:
    """Check model specs: all of them, or those of some models or files.

    Every error names file, line and key, what is allowed, and what to do. Exit code 64 if any spec cannot
    be used. A good spec whose engine is not installed here is a warning.
    """
    settings = Settings.from_environment()
    paths = [_path_of(settings, name) for name in specs or spec_names(settings)]
    if not paths:
        out().print(f"There are no model specs in {escape(shown(settings.models))}.")
        return
    broken = sum(not _check(path) for path in paths)
    if broken:
        err().print(f"[red]{broken} of {len(paths)} model specs cannot be used.[/]")
        ctx.exit(SpecError.exit_code)


def _path_of(settings: Settings, name: str) -> Path:
    """A file as it was given, or the spec of a model of that name."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    require_name(settings, name)
    return settings.models / f"{name}.yaml"


def _check(path: Path) -> bool:
    from nightshift.spec.engine_packages import missing_engine
    from nightshift.spec.loader import load_spec

    console = out()
    try:
        spec = load_spec(path)
    except SpecError as error:
        console.print(f"{MARKS['error']} {escape(shown(path.absolute()))}")
        for line in str(error).splitlines():
            console.print(f"    {escape(line)}", soft_wrap=True)
        return False
    told = f"{len(spec.features.numeric) + len(spec.features.categorical)} features, {spec.training.engine}"
    missing = missing_engine(spec)
    mark = MARKS["warning" if missing else "ok"]
    console.print(f"{mark} {escape(shown(path.absolute()))}  [dim]{spec.model}: {told}[/]", soft_wrap=True)
    for line in str(missing).splitlines() if missing else ():
        console.print(f"    {escape(line)}", soft_wrap=True)
    return True


@click.command()
def schema() -> None:
    """Print the JSON Schema of a model spec.

    Editors complete and check specs with it: write it to a file and name that in the editor's YAML settings.
    """
    from nightshift.spec.schema import schema_text

    click.echo(schema_text(), nl=False)
