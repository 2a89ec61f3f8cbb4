"""Which models an environment's storage has a ledger of, with a spec or without."""

from __future__ import annotations

from nightshift.ledger.ledger import FOLDER
from nightshift.storage.objects import Objects


def models_with_ledger(root: str, *, env: str) -> list[str]:
    """Names of the models, in order.

    Args:
        root: Storage root.
        env: The environment.

    Raises:
        StorageError: The store failed.
    """
    area = Objects(f"{root.rstrip('/')}/{env}")
    return [model for model in area.names("")[0] if area.names(f"{model}/{FOLDER}")[1]]
