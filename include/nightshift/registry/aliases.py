"""MLflow's aliases of one registered model, and the tag of retired versions.

The ledger decides what they say; this reads and sets them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.registry.mlflow_registry import TAG_CHARACTERS, allowing, answering, open_client, shown
from nightshift.storage.crash_points import crash_point

log = logging.getLogger(__name__)

SEQUENCE = "nightshift.ledger_sequence"
RETIRED = "nightshift.retired"


@dataclass(frozen=True)
class Applied:
    """What MLflow says now.

    Attributes:
        aliases: Versions by alias.
        sequence: The ledger entry up to which Nightshift applied it last; None if it never did.
    """

    aliases: Mapping[str, int]
    sequence: int | None


class Aliases:
    """The aliases of one registered model.

    Args:
        uri: Tracking URI.
        model: Name of the registered model.

    Raises:
        StorageError: MLflow does not answer; also raised by every method.
    """

    def __init__(self, uri: str, model: str) -> None:
        self.uri = uri
        self.model = model
        with answering(uri, "open"):
            self._client = open_client(uri)

    def read(self) -> Applied:
        with answering(self.uri, f"read the aliases of {self.model}"):
            found = self._registered()
            if found is None:
                return Applied({}, None)
            aliases = {alias: int(version) for alias, version in found.aliases.items()}
            sequence = str(found.tags.get(SEQUENCE, ""))
            return Applied(aliases, int(sequence) if sequence.isdigit() else None)

    def apply(self, roles: Mapping[str, int | None], *, sequence: int) -> tuple[str, ...]:
        """Make the aliases say this; other aliases are left alone.

        An alias of a version that this registry does not have is left as it is, with a warning: the ledger is older
        than the registry, or it is another one than the nights wrote to.

        Args:
            roles: Version by alias; an alias of None is removed.
            sequence: The ledger entry up to which this is so.

        Returns:
            The aliases that were left as they were.
        """
        there = self.read()
        crash_point("before_aliases", "roles")
        left: list[str] = []
        with answering(self.uri, f"set the aliases of {self.model}"):
            for alias, version in roles.items():
                if version is None and alias in there.aliases:
                    self._client.delete_registered_model_alias(self.model, alias)
                elif version is not None and there.aliases.get(alias) != version:
                    left += [] if self._set(alias, version) else [alias]
                crash_point("mid_aliases", "roles")
            if not left and there.sequence != sequence:
                with allowing("RESOURCE_DOES_NOT_EXIST"):
                    self._client.set_registered_model_tag(self.model, SEQUENCE, str(sequence))
        crash_point("after_aliases", "roles")
        return tuple(left)

    def tag_retired(self, versions: Mapping[int, str]) -> None:
        """Tag versions with why they were retired; one that this registry does not have is passed over.

        Args:
            versions: The reasons by version.
        """
        with answering(self.uri, f"tag retired versions of {self.model}"):
            for version, reason in versions.items():
                with allowing("RESOURCE_DOES_NOT_EXIST"):
                    self._client.set_model_version_tag(self.model, str(version), RETIRED, reason[:TAG_CHARACTERS])

    def _set(self, alias: str, version: int) -> bool:
        with allowing("RESOURCE_DOES_NOT_EXIST"):
            self._client.set_registered_model_alias(self.model, alias, str(version))
            return True
        log.warning("%s has no v%d in %s; the alias %s is left as it is", self.model, version, shown(self.uri), alias)
        return False

    def _registered(self) -> Any:
        with allowing("RESOURCE_DOES_NOT_EXIST"):
            return self._client.get_registered_model(self.model)
        return None
