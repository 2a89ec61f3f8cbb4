"""Processes that move a champion and are killed on the way: ``python roles_child.py COMMAND …``."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from tests.fakes.blessed import a_candidate, bless
from tests.fakes.shipped_nights import REGISTERED, WIDE, night_of
from tests.fakes.trained_night import small_plan, small_spec
from tests.integration.storage_child import meet

from nightshift import deploy
from nightshift.deploy.roles import apply_roles
from nightshift.errors import StorageError
from nightshift.ledger import Entry, Ledger, reigns
from nightshift.ledger.retention import retain
from nightshift.registry.aliases import Aliases
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store


def command_deploy(root: str, number: str) -> None:
    """Deploy the night with this number, which has been registered."""
    plan = small_plan(Path(root), night_of(int(number)), trigger="manual", spec=small_spec(gates=WIDE))
    upstream = json.loads((Path(root) / f"night-{number}.json").read_text())
    scratch = Path(root) / "scratch" / plan.interval.key
    scratch.mkdir(parents=True, exist_ok=True)
    io = StageIO(Store.of(plan), {stage: Ref(**ref) for stage, ref in upstream.items()}, scratch)
    print(deploy.run(plan, io).summary)


def command_race(root: str, mlflow: str, meeting: str, who: str, everybody: str, rounds: str) -> None:
    """Each round is a night of its own: promote another version of it than the others do, and say who won.

    Everybody sets the aliases at once, and nobody minds if MLflow's database is locked; then one reconciles.
    """
    store = Store.open(root, env="test", model="demo")
    ledger, aliases = Ledger(store), Aliases(mlflow, REGISTERED)
    for number in range(1, int(rounds) + 1):
        champion = ledger.champion()
        candidate = a_candidate(store, version_of(number, who), day=number)
        blessed = bless(store, candidate, opponent=champion and champion.model_version)
        meet(Path(meeting) / str(number), who, int(everybody))
        entry = ledger.promote(blessed, reason="race", by=who, run_key=f"{number} {who}")
        with suppress(StorageError):
            apply_roles(ledger, aliases)
        print(number, "won" if isinstance(entry, Entry) else entry.kind)
        meet(Path(meeting) / f"{number} over", who, int(everybody))
        if who == "0":
            told = apply_roles(ledger, aliases)
            roles = reigns.roles(ledger.entries())
            there = aliases.read().aliases
            agree = (there.get("champion"), there.get("previous")) == (roles.champion, roles.previous)
            print(number, "agree" if agree and not told.by_hand else f"differ: {there}, {roles}, {told}")
        meet(Path(meeting) / f"{number} reconciled", who, int(everybody))


def version_of(number: int, who: str) -> int:
    """Two versions a round, as MLflow counts them."""
    return 2 * number - 1 + int(who)


def command_retain(root: str) -> None:
    """Apply retention to the area ``demo``: everything old and unprotected goes."""
    store = Store.open(root, env="test", model="demo")
    print(retain(store, keep_days=0, keep_versions=1, garbage_hours=0.0))


if __name__ == "__main__":
    {"deploy": command_deploy, "race": command_race, "retain": command_retain}[sys.argv[1]](*sys.argv[2:])
