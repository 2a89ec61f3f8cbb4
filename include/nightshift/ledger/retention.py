"""Retention with what the ledger still needs out of its reach: the one way to apply it to a model."""

from __future__ import annotations

from datetime import UTC, datetime

from nightshift.ledger.ledger import Ledger
from nightshift.storage import RetentionReport, Store, apply_retention


def retain(
    store: Store, *, keep_days: int, keep_versions: int, garbage_hours: float, dry_run: bool = False
) -> RetentionReport:
    """Delete what no manifest, night or champion needs any more; for the arguments see ``apply_retention``.

    Raises:
        IntegrityError: The ledger is damaged, so nobody can tell what it needs; nothing was deleted.
        StorageError: The store failed; another try goes on.
    """
    return apply_retention(
        store,
        keep_versions=keep_versions,
        keep_days=keep_days,
        garbage_hours=garbage_hours,
        protected=Ledger(store).protected(),
        now=datetime.now(UTC),
        dry_run=dry_run,
    )
