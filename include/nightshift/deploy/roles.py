"""MLflow's aliases, and its tags of retired versions, projected from the ledger."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from nightshift.ledger import Entry, Ledger, reigns
from nightshift.registry.aliases import Applied

log = logging.getLogger(__name__)

ROLES = ("champion", "challenger", "previous")


class RoleKeeper(Protocol):
    """What the aliases are set in."""

    def read(self) -> Applied:
        """What they say now."""
        ...

    def apply(self, roles: Mapping[str, int | None], *, sequence: int) -> tuple[str, ...]:
        """Make them say this; gives those that were left as they were, because there is no such version."""
        ...

    def tag_retired(self, versions: Mapping[int, str]) -> None:
        """Tag versions with why they were retired."""
        ...


@dataclass(frozen=True)
class Reconciliation:
    """What was done to make the aliases say what the ledger says.

    Attributes:
        sequence: The ledger's last entry.
        aliases: What they say now.
        before: What those said that were changed; None where there was no such alias.
        retired: Versions that were tagged as retired.
        by_hand: Aliases of ``before`` that said something which Nightshift had not set: somebody moved them.
        missing: Versions that MLflow lacks, by the alias that was left as it was.
    """

    sequence: int
    aliases: Mapping[str, int | None]
    before: Mapping[str, int | None]
    by_hand: tuple[str, ...]
    retired: tuple[int, ...] = ()
    missing: Mapping[str, int | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def apply_roles(ledger: Ledger, keeper: RoleKeeper) -> Reconciliation:
    """Make the aliases say what the ledger says; may be repeated, and interrupted, at any time.

    Nobody is challenger: a version that could still be promoted is one whose night has not ended. An alias that
    somebody moved by hand is put back, and named: the ledger is the truth, and who wants another champion
    says so to it.

    Raises:
        StorageError: MLflow does not answer; the ledger is as it was.
        IntegrityError: The ledger is damaged; the aliases are as they were.
    """
    entries = ledger.entries()
    if not entries:
        return Reconciliation(0, {}, {}, ())
    found = keeper.read()
    while True:
        wanted, gone = _wanted(entries), _retired_after(entries, found.sequence)
        if gone:
            # First the tags: the sequence that ``apply`` sets last says that they are there.
            keeper.tag_retired(gone)
        left = keeper.apply(wanted, sequence=len(entries))
        newer = ledger.entries()
        if len(newer) == len(entries):
            break
        # Somebody moved the champion meanwhile, and may have set the aliases before this did.
        entries = newer
    missing = {alias: wanted[alias] for alias in left}
    aliases = wanted | {alias: found.aliases.get(alias) for alias in left}
    before = {alias: found.aliases.get(alias) for alias in ROLES if found.aliases.get(alias) != aliases[alias]}
    known = {alias: _ever_set(entries, alias, found.sequence) | {wanted[alias]} for alias in before}
    by_hand = tuple(alias for alias, version in before.items() if version not in known[alias])
    for alias in by_hand:
        log.warning(
            "the alias %s had been moved by hand to %s; it is %s again, as the ledger says",
            alias, _name(before[alias]), _name(wanted[alias]),
        )  # fmt: skip
    return Reconciliation(len(entries), aliases, before, by_hand, tuple(gone), missing)


def _wanted(entries: Sequence[Entry]) -> dict[str, int | None]:
    roles = reigns.roles(entries)
    return {"champion": roles.champion, "challenger": None, "previous": roles.previous}


def _retired_after(entries: Sequence[Entry], sequence: int | None) -> dict[int, str]:
    """Why each version was retired that Nightshift has not finished tagging."""
    return {
        version: f"{entry.at} by {entry.by}, ledger entry {entry.sequence}: {entry.reason}"
        for version, entry in reigns.retired(entries).items()
        if entry.sequence > (sequence or 0)
    }


def _ever_set(entries: Sequence[Entry], alias: str, sequence: int | None) -> set[int | None]:
    """What the alias can have been set to by Nightshift since it last finished; ever, if it never did."""
    first = 0 if sequence is None else min(sequence, len(entries))
    return {_wanted(entries[:length])[alias] for length in range(first, len(entries) + 1)}


def _name(version: int | None) -> str:
    return "nothing" if version is None else f"v{version}"
