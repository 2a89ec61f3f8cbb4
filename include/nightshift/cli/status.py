"""``nightshift status``: every model at a glance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, out, print_json, table
from nightshift.cli.models import spec_names, store_of
from nightshift.errors import NightshiftError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.ledger import Champion
    from nightshift.report.measure import Measure
    from nightshift.storage import Store


@dataclass(frozen=True)
class ModelStatus:
    """One line of the table.

    Attributes:
        model: Its name.
        spec_ok: Whether its spec can be used.
        champion_version: Who serves; None before the first promotion.
        champion_night: The night it was built on.
        metric: The metric that decided about it.
        champion: Its value on that night's holdout.
        age: Nights between the champion's night and the newest one.
        last_night: The newest night.
        last_verdict: How that ended.
        on_hold: Whether a rollback or hold keeps nights from promoting.
        problem: Why storage or ledger could not be read, or None.
    """

    model: str
    spec_ok: bool
    champion_version: int | None = None
    champion_night: str | None = None
    metric: str | None = None
    champion: float | None = None
    age: int | None = None
    last_night: str | None = None
    last_verdict: str | None = None
    on_hold: bool = False
    problem: str | None = None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show every model: its spec, its champion, how old that is, and how the last night ended."""
    settings = Settings.from_environment()
    found = [_status(settings, model) for model in spec_names(settings)]
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        out().print(f"There are no model specs in {escape(str(settings.models))}.")
        return
    made = table(
        "", "model", "champion", "of night", ("metric", "right"), ("nights old", "right"), "last night", "verdict"
    )
    for one in found:
        made.add_row(
            MARKS["ok" if one.spec_ok and one.problem is None else "error"],
            one.model,
            _champion(one),
            one.champion_night or "–",
            _measured(one),
            "–" if one.age is None else str(one.age),
            one.last_night or "–",
            escape(one.problem or one.last_verdict or "–"),
        )
    out().print(made)
    if not all(one.spec_ok for one in found):
        out().print("Some specs cannot be used; run: nightshift validate")


def _champion(one: ModelStatus) -> str:
    name = "none yet" if one.champion_version is None else f"v{one.champion_version}"
    return f"{name}, on hold" if one.on_hold else name


def _status(settings: Settings, model: str) -> ModelStatus:
    from nightshift.ledger import Ledger
    from nightshift.report.nights import nights

    usable = _usable(settings, model)
    try:
        store = store_of(settings, model)
        ledger = Ledger(store)
        champion, held = ledger.champion(), ledger.hold()
        newest = nights(store, limit=1)
        measure = _measure(store, champion)
    except NightshiftError as error:
        return ModelStatus(model, usable, problem=error.message)
    last = newest[-1] if newest else None
    built = champion.interval.night if champion else None
    return ModelStatus(
        model=model,
        spec_ok=usable,
        champion_version=champion.model_version if champion else None,
        champion_night=str(built) if built else None,
        metric=measure.metric.name if measure else None,
        champion=measure.challenger if measure else None,
        age=(date.fromisoformat(last.night) - built).days if last and built else None,
        last_night=last.night if last else None,
        last_verdict=last.verdict if last else None,
        on_hold=held is not None,
    )


def _usable(settings: Settings, model: str) -> bool:
    from nightshift.spec.loader import load_spec

    try:
        load_spec(settings.models / f"{model}.yaml")
    except NightshiftError:
        return False
    return True


def _measured(one: ModelStatus) -> str:
    from nightshift.report.measure import plain, short_name
    from nightshift.spec.gate_metrics import METRICS

    if one.metric is None or one.champion is None:
        return "–"
    return f"{short_name(METRICS[one.metric])} {plain(one.champion)}"


def _measure(store: Store, champion: Champion | None) -> Measure | None:
    """What the champion reached on the holdout of its own night."""
    from nightshift.report.measure import Measure

    if champion is None:
        return None
    for version in reversed(store.versions("evaluate", champion.interval.key)):
        manifest = store.manifest("evaluate", champion.interval.key, version)
        if champion.train.same_content_as(manifest.inputs.get("train")):
            return Measure.of(manifest.result)
    return None
