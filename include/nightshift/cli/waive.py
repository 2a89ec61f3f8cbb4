"""``nightshift waive``: a person takes responsibility for checks of one night that fail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import store_of
from nightshift.cli.moves import signed
from nightshift.errors import ModelError
from nightshift.plan import resolve_interval
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.plan import Interval
    from nightshift.storage import Store

USUAL_DAYS = 7
MOST_DAYS = 30


@click.command()
@click.argument("model")
@click.option("--night", required=True, metavar="YYYY-MM-DD", help="The night whose blessing is waived.")
@click.option("--blessing", "kind", required=True, type=click.Choice(["data", "quality"]), help="Which blessing.")
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help="A check that may fail, as nightshift explain names it; may be repeated. Default: those that fail now.",
)
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help=f"The last day, in UTC, on which the waiver counts; default: in {USUAL_DAYS} days, at most {MOST_DAYS}.",
)
@signed("Why this night may ship all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def waive(
    *,
    model: str,
    night: str,
    kind: Literal["data", "quality"],
    checks: tuple[str, ...],
    reason: str,
    expires: datetime | None,
    by: str,
    as_json: bool,
) -> None:
    """Let one night of MODEL ship although checks of its data or quality blessing fail.

    The waiver names those checks, and has a name, a reason and a last day; it stands in the ledger for ever. The
    night's gate honours it when the night runs again, if no other check fails: its blessing then says waived, by
    whom, and why. Infra cannot be waived.
    """
    from nightshift.ledger import Ledger, Waiver

    now = datetime.now(UTC)
    interval = resolve_interval(now=now, night=night)
    last = _last_day(expires.date() if expires else None, now.date())
    store = store_of(Settings.from_environment(), model)
    named = _checks(store, model, interval, kind, checks)
    entry = Ledger(store).waive(Waiver(interval.key, kind, last.isoformat(), named), reason=reason, by=by)
    if as_json:
        print_json({"entry": entry.to_dict()})
        return
    told = (
        f"In the {kind} blessing of {model}'s night {interval.night} may fail, up to {last}: {', '.join(named)}. "
        f"Waived by {by}, ledger entry {entry.sequence}.\nIt counts when the night runs: "
        f"nightshift run {model} --night {interval.night}, or clear it in Airflow. "
        "If another check fails then, it does not count."
    )
    out().print(escape(told), soft_wrap=True)


def _last_day(expires: date | None, today: date) -> date:
    latest = today + timedelta(days=MOST_DAYS)
    if expires is None:
        return today + timedelta(days=USUAL_DAYS)
    if expires < today:
        raise click.BadParameter(f"{expires} is past; today is {today} in UTC", param_hint="--expires")
    if expires > latest:
        raise click.BadParameter(
            f"{expires} is more than {MOST_DAYS} days ahead; the last day there can be is {latest}",
            param_hint="--expires",
        )
    return expires


def _checks(
    store: Store, model: str, interval: Interval, kind: Literal["data", "quality"], named: Sequence[str]
) -> tuple[str, ...]:
    """The checks to waive: those that are named, else those that fail.

    Raises:
        ModelError: Nothing fails, nobody knows what does, or one that is named holds; nothing is to be written.
    """
    from nightshift.report.nights import lineage
    from nightshift.report.verdicts import names_of_failed

    failed = names_of_failed(store, interval.key, lineage(store, interval.key), kind)
    about = f"the {kind} blessing of {model}'s night {interval.night}"
    if failed is None:
        if named:
            return tuple(dict.fromkeys(named))
        raise ModelError(
            f"{about} was not judged yet, so nobody knows what fails: nothing was written.",
            hint=f"name what may fail: --check NAME; or run the night: nightshift run {model} --night {interval.night}",
        )
    if not failed:
        raise ModelError(f"every check of {about} holds, so there is nothing to waive: nothing was written.")
    others = [name for name in named if name not in failed]
    if others:
        raise ModelError(
            f"{', '.join(others)} does not fail in {about}: nothing was written.",
            hint=f"what fails: {', '.join(failed)}",
        )
    return tuple(dict.fromkeys(named)) or failed
