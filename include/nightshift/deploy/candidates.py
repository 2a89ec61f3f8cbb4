"""Versions that passed their gates and wait for a person: who is next, and whom a newer one has overtaken."""

from __future__ import annotations

from nightshift.ledger import Candidate, Ledger, reigns
from nightshift.ledger.entries import BY_HAND, Entry
from nightshift.ledger.registered import candidate_of, registrations
from nightshift.storage import Manifest


def answer_key(candidate: Candidate) -> str:
    """Run key of the ledger entry that a person's answer makes: a version is approved or rejected once."""
    return f"{BY_HAND}answer about v{candidate.model_version}"


def is_accepted(registration: Manifest) -> bool:
    """Whether the version passed its gates."""
    return registration.result.get("standing") == "accepted"


def newest_candidate(ledger: Ledger, *, interval: str | None = None) -> Manifest | None:
    """The newest registration that passed its gates, or None.

    Args:
        ledger: The model's ledger.
        interval: Key of the only interval to look at; None for all.

    Raises:
        IntegrityError: A registration is damaged.
        StorageError: The store failed.
    """
    found = (one for one in registrations(ledger.store) if interval in (None, one.interval))
    return next((one for one in found if is_accepted(one)), None)


def newer_candidate(ledger: Ledger, candidate: Candidate) -> Candidate | None:
    """A version of a newer night, or made later for the same, that passed its gates and was not rejected or retired.

    Raises:
        IntegrityError: A registration or the ledger is damaged.
        StorageError: The store failed.
    """
    for registration in registrations(ledger.store):
        if registration.interval < candidate.interval.key:
            return None
        other = candidate_of(registration)
        if other.model_version == candidate.model_version:
            return None
        if is_accepted(registration) and not _is_rejected(ledger, other):
            return other
    return None


def superseded(newer: Candidate) -> str:
    """Why a version is not asked for, or not promoted, any more."""
    return f"Superseded: v{newer.model_version} of the newer night {newer.interval.night} has passed its gates too."


def answered(ledger: Ledger, candidate: Candidate) -> Entry | None:
    """The entry that has settled what becomes of a version: a promotion, or a person's rejection; None if none has."""
    for entry in reversed(ledger.entries()):
        about = entry.candidate
        settles = entry.kind == "promotion" or (entry.kind == "refusal" and entry.by_a_person)
        if settles and about is not None and about.model_version == candidate.model_version:
            return entry
    return None


def _is_rejected(ledger: Ledger, candidate: Candidate) -> bool:
    if candidate.model_version in reigns.retired(ledger.entries()):
        return True
    found = answered(ledger, candidate)
    return found is not None and found.kind == "refusal"
