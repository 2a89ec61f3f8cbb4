"""``python -m nightshift.deploy.reconcile``: make MLflow's aliases say what every model's ledger says.

Prints one JSON object: what was done, by model, and what went wrong. MLflow is imported here and not in the
process that asks, which may be Airflow's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from nightshift.deploy.roles import Reconciliation, apply_roles
from nightshift.errors import NightshiftError
from nightshift.ledger import Ledger
from nightshift.ledger.areas import models_with_ledger
from nightshift.registry import registered_name
from nightshift.registry.aliases import Aliases
from nightshift.settings import Settings
from nightshift.storage import Store


def reconcile(settings: Settings, model: str) -> Reconciliation:
    """Make one model's aliases say what its ledger says.

    Raises:
        IntegrityError: The ledger is damaged.
        StorageError: The store or MLflow does not answer.
    """
    ledger = Ledger(Store.open(settings.storage, env=settings.env, model=model))
    if not ledger.entries():
        return Reconciliation(0, {}, {}, ())
    return apply_roles(ledger, Aliases(settings.mlflow_uri, registered_name(env=settings.env, model=model)))


def main() -> int:
    """Every model that has a spec, readable or not, or a ledger; one that fails keeps no other from it.

    Gives the exit code of an error that another try may mend, else of the first.
    """
    settings = Settings.from_environment()
    done: dict[str, Any] = {}
    errors: dict[str, NightshiftError] = {}
    models = set(settings.model_names())
    try:
        models.update(models_with_ledger(settings.storage, env=settings.env))
    except NightshiftError as error:
        errors["storage"] = error
    for model in sorted(models):
        try:
            done[model] = reconcile(settings, model).to_dict()
        except NightshiftError as error:
            errors[model] = error
    json.dump({"models": done, "errors": {model: str(error) for model, error in errors.items()}}, sys.stdout)
    ordered = sorted(errors.values(), key=lambda error: not error.retryable)
    return ordered[0].exit_code if ordered else 0


if __name__ == "__main__":
    sys.exit(main())
