"""``nightshift champion``: who serves, who served at a moment, and whose a night was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from datetime import time as day_time
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.errors import ModelError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.ledger import Champion, Entry


class Moment(click.ParamType[datetime]):
    """An ISO date or time; without a zone it is UTC, and a date alone is its last moment."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if len(value) <= len("2013-07-14"):
                return datetime.combine(date.fromisoformat(value), day_time.max, UTC)
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write for example 2013-07-14 or 2013-07-14T09:30+02:00", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Day(click.ParamType[date]):
    """An ISO date."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day; write for example 2013-07-14", param, ctx)


@click.command()
@click.argument("model")
@click.option("--at", "moment", type=Moment(), help="Who served at this moment. Without a zone it is UTC.")
@click.option("--interval", "day", type=Day(), help="Who was champion when the data ended with this day.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def champion(*, model: str, moment: datetime | None, day: date | None, as_json: bool) -> None:
    """Show the champion of MODEL: now, at a moment, or as of a day of data.

    --at goes by the clock: what answered requests then. --interval goes by the data: nights that were run late or
    again count as if they had run on time.
    """
    from nightshift.ledger import Ledger, reigns
    from nightshift.plan import Interval

    if moment is not None and day is not None:
        raise click.UsageError("--at asks by the clock and --interval by the data: give one of them.")
    ledger = Ledger(store_of(Settings.from_environment(), model))
    entries = ledger.entries()
    if day is not None:
        found = reigns.opponent(entries, Interval.of_day(day), None, with_retired=True)
        when = f"for data up to {day}"
    elif moment is not None:
        found, when = reigns.champion_at(entries, moment), f"at {moment.isoformat(timespec='seconds')}"
    else:
        found, when = ledger.champion(), "yet"
    if found is None:
        raise _nobody(model, entries, moment, when)
    told = _told(entries, found)
    if as_json:
        print_json(told)
    else:
        _show(told)


def _nobody(model: str, entries: Sequence[Entry], moment: datetime | None, when: str) -> ModelError:
    if when == "yet":
        return ModelError(f"{model} has no champion yet.")
    from nightshift.ledger import reigns

    line = reigns.champions(entries)
    hint = f"its first one came at {line[0].promoted_at}, by the clock" if moment is not None and line else None
    if hint is not None and moment is not None:
        hint += f"; for the champion of a day of data: nightshift champion {model} --interval {moment.date()}"
    return ModelError(f"{model} had no champion {when}.", hint=hint)


def _told(entries: Sequence[Entry], found: Champion) -> dict[str, Any]:
    from nightshift.ledger import reigns

    roles, held, move = reigns.roles(entries), reigns.hold(entries), entries[found.sequence - 1]
    gone = reigns.retired(entries).get(found.model_version)
    return {
        "version": found.model_version,
        "digest": found.model_digest,
        "night": str(found.interval.night),
        "since": found.promoted_at,
        "entry": found.sequence,
        "how": found.how,
        "by": move.by,
        "reason": move.reason,
        "train": str(found.train),
        "is_champion_now": roles.champion == found.model_version,
        "previous": roles.previous,
        "retired": gone.to_dict() if gone else None,
        "on_hold": held.to_dict() if held else None,
    }


def _show(told: dict[str, Any]) -> None:
    lines = [
        f"[bold]v{told['version']}[/] of night {told['night']}, sha256 {told['digest']}",
        f"champion since {told['since']}: {told['how']} by {escape(told['by'])}, ledger entry {told['entry']}",
        f"because: {escape(told['reason'])}",
    ]
    if not told["is_champion_now"]:
        lines.append("It is not the champion now.")
    if (gone := told["retired"]) is not None:
        lines.append(f"Retired on {gone['at']} by {escape(gone['by'])}: {escape(gone['reason'])}")
    if told["is_champion_now"]:
        previous = told["previous"]
        lines.append("A rollback has nowhere to go." if previous is None else f"A rollback goes to v{previous}.")
    if (held := told["on_hold"]) is not None:
        lines.append(f"[yellow]On hold[/] since {held['at']} by {escape(held['by'])}: {escape(held['reason'])}")
    for line in lines:
        out().print(line, soft_wrap=True)
