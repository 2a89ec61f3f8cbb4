"""MLflow's aliases, projected from the ledger."""

from __future__ import annotations

from typing import Protocol

from nightshift.ledger import Ledger


class RoleKeeper(Protocol):
    """What the aliases are set in."""

    def set_roles(self, *, champion: int | None, challenger: int | None = None, previous: int | None = None) -> None:
        """Make the aliases say this."""
        ...


def apply_roles(ledger: Ledger, registry: RoleKeeper) -> None:
    """Make the aliases say what the ledger says; may be repeated at any time.

    The champion is the ledger's head, previous the last other version before it. Nobody is challenger: a
    version that could still be promoted is one whose night has not ended.

    Raises:
        StorageError: MLflow does not answer; the ledger is as it was.
    """
    versions = [champion.model_version for champion in ledger.champions()]
    champion = versions[-1] if versions else None
    previous = next((version for version in reversed(versions) if version != champion), None)
    registry.set_roles(champion=champion, previous=previous)
