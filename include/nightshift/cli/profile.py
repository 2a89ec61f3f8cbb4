"""``nightshift profile``: a draft of expectations from the days that are stored, for a person to review."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from nightshift.cli.console import err
from nightshift.cli.models import load, store_of
from nightshift.errors import DataError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from nightshift.storage import Store


@click.command()
@click.argument("model")
@click.option(
    "--days", default=30, show_default=True, type=click.IntRange(1), help="How many stored days, newest first."
)
def profile(model: str, days: int) -> None:
    """Draft expectations for MODEL from its stored days.

    The YAML goes to standard output, remarks go to standard error. It is a draft: it says what was, and a person
    knows what should be. Expectations that the spec already has are left out.
    """
    import pyarrow as pa

    from nightshift.cli.proposals import propose, strong_features

    settings = Settings.from_environment()
    spec = load(settings, model)
    store = store_of(settings, model)
    names, tables = _stored(store, days, model)
    found, rows = propose(spec, tables), pa.concat_tables(tables)
    strong = strong_features(spec, rows, _strengths(store))
    click.echo(
        f"# Drafted from {rows.num_rows:,} rows of {len(names)} days, {names[0]} to {names[-1]}. Review every line."
    )
    click.echo("expectations:" if found.lines else "expectations: []")
    for line in found.lines:
        click.echo(line)
    if strong:
        click.echo("# Under features, if you know why they are that strong; else leave them out of the features:")
        click.echo(f"# known_strong: [{', '.join([*spec.features.known_strong, *strong])}]")
    _remark(found.suspects, strong, found.known)


def _remark(suspects: Sequence[str], strong: Mapping[str, float], known: int) -> None:
    console = err()
    for suspect in suspects:
        console.print(f"[yellow]![/] {escape(suspect)}", soft_wrap=True)
    for name, value in strong.items():
        console.print(f"[yellow]![/] {escape(name)}: alone it has an AUC of {value:.3f}; a leak?", soft_wrap=True)
    if known:
        console.print(f"{known} more are in the spec already.")


def _stored(store: Store, days: int, model: str) -> tuple[list[str], list[pa.Table]]:
    """The newest stored days, and their rows in the columns that all of them have in one type.

    Raises:
        DataError: No day is stored.
    """
    import pyarrow as pa

    found = store.latest_of("raw", store.intervals("raw")[-days:])
    if not found:
        raise DataError(
            f"{model} has no stored days to look at.",
            hint=f"read some first: nightshift run {model} --night YYYY-MM-DD --stage ingest",
        )
    tables = [store.read_table(manifest, "rows") for manifest in found.values()]
    first = tables[-1].schema
    shared = [field for field in first if all(_fits(field, table.schema) for table in tables)]
    names = [field.name for field in shared]
    return list(found), [table.select(names).cast(pa.schema(shared)) for table in tables]


def _fits(field: pa.Field, schema: pa.Schema) -> bool:
    import pyarrow as pa

    at = schema.get_field_index(field.name)
    return at >= 0 and bool(schema.field(at).type == field.type or pa.types.is_null(schema.field(at).type))


def _strengths(store: Store) -> dict[str, list[float | None]]:
    """AUC of each feature alone, as the newest night found it; empty where no night got that far."""
    from nightshift.preprocess.history import STATS

    for interval in reversed(store.intervals("preprocess")):
        manifest = store.latest("preprocess", interval)
        if manifest is not None and any(entry.path == STATS for entry in manifest.files):
            found: dict[str, list[float | None]] = json.loads(store.read(manifest, STATS))["strengths"]
            return found
    return {}
