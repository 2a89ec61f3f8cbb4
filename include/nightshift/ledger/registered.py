"""Registered versions, as their nights published them."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.errors import IntegrityError
from nightshift.ledger.entries import Candidate
from nightshift.plan import Interval
from nightshift.storage import Manifest, Store

REGISTER = "register"


def registrations(store: Store) -> Iterator[Manifest]:
    """What the stage register published that can still be read, newest first.

    Raises:
        IntegrityError: One is damaged.
        StorageError: The store failed.
    """
    for interval in reversed(store.intervals(REGISTER)):
        for slot in reversed(store.versions(REGISTER, interval)):
            yield store.manifest(REGISTER, interval, slot)


def candidate_of(registration: Manifest) -> Candidate:
    """The version that was registered.

    Raises:
        IntegrityError: The registration does not say which version it is.
    """
    told = registration.result
    try:
        return Candidate(
            model_version=int(told["model_version"]),
            model_digest=told["model_digest"],
            interval=Interval.of_key(registration.interval),
            train=registration.inputs["train"],
            mlflow_run_id=told["mlflow_run_id"],
        )
    except KeyError as error:
        raise IntegrityError(f"{registration.ref} does not say its {error.args[0]}.") from error
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{registration.ref} does not say which version it is: {error}.") from error
