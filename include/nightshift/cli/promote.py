"""``nightshift promote``: a version that no night promoted, by a person."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from nightshift.cli.console import out, print_json
from nightshift.cli.models import load, store_of
from nightshift.cli.moves import VersionNumber, mirror, signed
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.deploy.by_hand import Version
    from nightshift.ledger import Ledger


@click.command()
@click.argument("model")
@click.option("--version", "number", required=True, type=VersionNumber(), help="The version, as in nightshift history.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would happen; move nothing.")
@signed("Why, for the ledger.", usually="promoted by hand")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def promote(*, model: str, number: int, reason: str, dry_run: bool, by: str, as_json: bool) -> None:
    """Make a version of MODEL the champion.

    It needs its data and quality blessings, passed or waived; the infra blessing is made here, by the same check as
    in deploy. Works during a hold, and leaves it. An older night's version never replaces a newer one's: that is
    nightshift rollback. --dry-run ends with the error, and exit code, that the promotion would end with.
    """
    from nightshift.deploy import by_hand
    from nightshift.ledger import Ledger
    from nightshift.report.undo import way_back

    settings = Settings.from_environment()
    spec = load(settings, model)
    ledger = Ledger(store_of(settings, model))
    version = by_hand.Version.find(ledger.store, number)
    told = _before(ledger, version)
    with TemporaryDirectory(prefix="nightshift-") as scratch:
        entry, check = by_hand.promote(
            ledger,
            version,
            bounds=spec.deploy,
            reason=reason,
            by=by,
            scratch=Path(scratch),
            dry_run=dry_run,
        )
    told |= {"dry_run": dry_run, "golden_rows": check.rows, "entry": entry.to_dict() if entry else None}
    if entry is not None:
        told["undo"] = way_back(ledger.entries(), model)
        told["mlflow"] = mirror(settings, model, ledger)
    if as_json:
        print_json(told)
    else:
        _show(model, told)


def _before(ledger: Ledger, version: Version) -> dict[str, Any]:
    """How things stand before the promotion."""
    champion = ledger.champion()
    blessings = version.blessings(ledger.store)
    return {
        "from": champion and champion.model_version,
        "to": version.candidate.model_version,
        "night": str(version.candidate.interval.night),
        "judged_against": version.opponent,
        "blessings": {one.kind: [one.verdict, *(check.text for check in one.checks)] for one in blessings},
        "on_hold": ledger.hold() is not None,
    }


def _show(model: str, told: dict[str, Any]) -> None:
    def name(version: int | None) -> str:
        return "no champion" if version is None else f"v{version}"

    entry = told["entry"]
    verb = "would move" if entry is None else "moved"
    lines = [f"{model}: champion {verb}: {name(told['from'])} -> v{told['to']} of night {told['night']}"]
    for kind, (verdict, *texts) in told["blessings"].items():
        lines += [f"  {kind}: {verdict}", *(f"    {text}" for text in texts)]
    lines.append(f"  infra: passed\n    A fresh process reproduced its {told['golden_rows']} golden rows.")
    if told["judged_against"] != told["from"]:
        lines.append(f"It was judged against {name(told['judged_against'])}, not against today's champion.")
    if told["on_hold"]:
        lines.append(f"Nights stay on hold until: nightshift resume {model}")
    if entry is None:
        lines.append("Nothing was moved: this was a dry run.")
    else:
        lines.append(f"Ledger entry {entry['sequence']}. {told['undo']}")
    for line in lines:
        out().print(escape(line), soft_wrap=True)
