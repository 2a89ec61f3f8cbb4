"""Aliases projected from the ledger: what is reported is what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.fakes.blessed import promote

from nightshift.deploy.roles import apply_roles
from nightshift.ledger import Ledger
from nightshift.registry.aliases import Applied
from nightshift.storage import Store


class Keeper:
    """A registry that has some of the versions only."""

    def __init__(self, *versions: int) -> None:
        self.versions = versions
        self.aliases: dict[str, int] = {}

    def read(self) -> Applied:
        return Applied(dict(self.aliases), None)

    def apply(self, roles: Mapping[str, int | None], *, sequence: int) -> tuple[str, ...]:
        del sequence
        self.aliases |= {alias: version for alias, version in roles.items() if version in self.versions}
        return tuple(alias for alias, version in roles.items() if version is not None and version not in self.versions)

    def tag_retired(self, versions: Mapping[int, str]) -> None:
        raise AssertionError(versions)


def ledger_of(root: Path) -> Ledger:
    """v1 promoted, then v2."""
    ledger = Ledger(Store.open(root.as_uri(), env="test", model="demo"))
    promote(ledger, 1, 14)
    promote(ledger, 2, 15)
    return ledger


def test_an_alias_that_cannot_be_set_is_not_reported_as_set(tmp_path: Path) -> None:
    found = apply_roles(ledger_of(tmp_path), Keeper())
    assert found.aliases == {"champion": None, "challenger": None, "previous": None}
    assert (found.missing, found.before, found.by_hand) == ({"champion": 2, "previous": 1}, {}, ())


def test_what_could_be_set_is_reported_with_what_was_left(tmp_path: Path) -> None:
    keeper = Keeper(1)
    keeper.aliases = {"champion": 1}
    found = apply_roles(ledger_of(tmp_path), keeper)
    assert found.aliases == {"champion": 1, "challenger": None, "previous": 1}
    assert (found.missing, found.before) == ({"champion": 2}, {"previous": None})
