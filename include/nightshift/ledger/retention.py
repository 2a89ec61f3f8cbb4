"""Retention with what the ledger still needs out of its reach: the one way to apply it to a model.

A version that goes is retired in the ledger first, so whoever would move it from then on is told, instead of
finding half of its files gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from nightshift.errors import ModelError, Overtaken
from nightshift.ledger import reigns
from nightshift.ledger.entries import Candidate
from nightshift.ledger.ledger import Ledger
from nightshift.ledger.registered import REGISTER, candidate_of
from nightshift.storage import Manifest, RetentionReport, Store, apply_retention

BY = "retention"
AGAIN = "apply retention again"


def retain(
    store: Store, *, keep_days: int, keep_versions: int, garbage_hours: float, dry_run: bool = False
) -> RetentionReport:
    """Delete what no manifest, night or champion needs any more; for the arguments see ``apply_retention``.

    Raises:
        IntegrityError: The ledger is damaged, so nobody can tell what it needs; nothing was deleted.
        Overtaken: A version that was to go was promoted meanwhile; nothing was deleted, and another try leaves it.
        StorageError: The store failed; another try goes on.
    """
    ledger = Ledger(store)
    protected = ledger.protected()

    def farewell(going: Sequence[Manifest], staying: Sequence[Manifest]) -> list[int]:
        if ledger.protected() != protected:
            raise Overtaken("a champion came while retention looked for what can go: nothing was deleted.", hint=AGAIN)
        candidates = _versions_of(ledger, going, staying)
        if not dry_run:
            _retire(ledger, candidates, f"retention: older than {keep_days} days, or replaced, and never champion")
        return [candidate.model_version for candidate in candidates]

    return apply_retention(
        store,
        keep_versions=keep_versions,
        keep_days=keep_days,
        garbage_hours=garbage_hours,
        protected=protected,
        now=datetime.now(UTC),
        dry_run=dry_run,
        farewell=farewell,
    )


def _versions_of(ledger: Ledger, going: Sequence[Manifest], staying: Sequence[Manifest]) -> list[Candidate]:
    """The versions of which no registration stays, and that were not retired before, oldest first.

    A version that was champion is protected without its registration: a rollback does not need that.
    """
    entries = ledger.entries()
    kept = {manifest.result.get("model_version") for manifest in staying if manifest.dataset == REGISTER}
    kept |= {champion.model_version for champion in reigns.champions(entries)} | set(reigns.retired(entries))
    lost = [manifest for manifest in going if manifest.dataset == REGISTER]
    found = {
        candidate.model_version: candidate
        for candidate in (candidate_of(one) for one in lost if one.result.get("model_version") not in kept)
    }
    return [found[version] for version in sorted(found)]


def _retire(ledger: Ledger, candidates: Sequence[Candidate], reason: str) -> None:
    """Raises Overtaken: One of them was promoted meanwhile."""
    for candidate in candidates:
        try:
            ledger.retire(candidate, reason=reason, by=BY, by_hand=False)
        except ModelError as error:
            raise Overtaken(
                f"v{candidate.model_version} was promoted while retention looked for what can go: nothing was deleted.",
                hint=AGAIN,
            ) from error
