"""Processes that move a champion and are killed on the way: ``python roles_child.py COMMAND …``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fakes.blessed import a_candidate, bless
from tests.fakes.shipped_nights import WIDE, night_of
from tests.fakes.trained_night import small_plan, small_spec
from tests.integration.storage_child import meet

from nightshift import deploy
from nightshift.ledger import Entry, Ledger
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


def command_race(root: str, meeting: str, who: str, everybody: str, rounds: str) -> None:
    """Each round is a night of its own: promote another version of it than the others do, and say who won."""
    store = Store.open(root, env="test", model="demo")
    ledger = Ledger(store)
    for number in range(1, int(rounds) + 1):
        champion = ledger.champion()
        candidate = a_candidate(store, 10 * number + int(who), day=number)
        blessed = bless(store, candidate, opponent=champion and champion.model_version)
        meet(Path(meeting) / str(number), who, int(everybody))
        entry = ledger.promote(blessed, reason="race", by=who, run_key=f"{number} {who}")
        print(number, "won" if isinstance(entry, Entry) else entry.kind)
        meet(Path(meeting) / f"{number} over", who, int(everybody))


if __name__ == "__main__":
    {"deploy": command_deploy, "race": command_race}[sys.argv[1]](*sys.argv[2:])
