"""Append-only, hash-chained objects ``ledger/<nine digits>.json`` in a model's area of storage.

Who may append is settled by conditional create: of all writers that saw the same head, one wins the next
number; the others read the new head, decide again, and try the number after it. Every read checks the
whole chain, so nothing is ever decided on a damaged ledger.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from nightshift.errors import IntegrityError, Overtaken
from nightshift.ledger.entries import GENESIS, RESTORE, Candidate, Champion, Entry, Kind
from nightshift.plan import Interval
from nightshift.storage import Store

log = logging.getLogger(__name__)

FOLDER = "ledger"
ENTRY_NAME = re.compile(r"(\d{9})\.json")
TRIES = 100
READERS = 16


def entry_name(sequence: int) -> str:
    return f"{FOLDER}/{sequence:09d}.json"


class Ledger:
    """The ledger of one model in one environment.

    Entries never change, so each is read once per instance; what other writers append is seen.
    """

    def __init__(self, store: Store) -> None:
        self._objects = store.objects
        self._known: list[Entry] = []

    # -- reading -------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All entries, oldest first, the chain checked.

        Raises:
            IntegrityError: An entry is missing, damaged, or does not follow from the one before; it is named.
            StorageError: The store failed.
        """
        _, names = self._objects.names(FOLDER)
        highest = max((int(match[1]) for name in names if (match := ENTRY_NAME.fullmatch(name))), default=0)
        # By number, not by listing: a listing taken while entries are added may show a later one and not an earlier.
        fresh = range(len(self._known) + 1, highest + 1)
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            contents = list(pool.map(lambda sequence: self._objects.read_or_none(entry_name(sequence)), fresh))
        for sequence, data in zip(fresh, contents, strict=True):
            self._known.append(self._checked(sequence, data))
        return list(self._known)

    def verify(self) -> int:
        """Read everything again and check the chain; gives the number of entries.

        Raises:
            IntegrityError: As for ``entries``.
        """
        self._known.clear()
        return len(self.entries())

    def find(self, run_key: str) -> Entry | None:
        """The entry that a run key already has, or None."""
        return with_run_key(self.entries(), run_key)

    def champions(self) -> list[Champion]:
        """Every promotion, oldest first; the last one is the champion."""
        return promotions(self.entries())

    def champion(self) -> Champion | None:
        """The model version that the head of the ledger names, or None before the first promotion."""
        found = self.champions()
        return found[-1] if found else None

    def champion_for(self, interval: Interval, *, other_than: str | None = None) -> Champion | None:
        """The champion that a model built for an interval has to be compared with.

        The newest promotion, by interval end and then by sequence, of an interval that ends no later. A
        night that runs again after its own promotion passes its model's digest, and meets the same
        opponent as the first time.

        Args:
            interval: The night's interval.
            other_than: A model digest to leave out.
        """
        found = [
            champion
            for champion in self.champions()
            if champion.interval.end <= interval.end and champion.model_digest != other_than
        ]
        return max(found, key=lambda champion: (champion.interval.end, champion.sequence), default=None)

    # -- writing -------------------------------------------------------------------------------------

    def promote(self, candidate: Candidate, *, reason: str, by: str, run_key: str) -> Entry | None:
        """Make a model version the champion.

        Args:
            candidate: The version.
            reason: Why, in one sentence.
            by: Run id or user.
            run_key: An entry that already has it is given back, and nothing is added.

        Returns:
            Its entry, or None if the champion is of a newer interval: that one stays.

        Raises:
            IntegrityError: The ledger is damaged; nothing was added.
            Overtaken: Other writers won every try.
            StorageError: The store failed; another try settles whether the entry is there.
        """

        def compose(entries: Sequence[Entry]) -> Entry | None:
            champions = promotions(entries)
            if champions and champions[-1].interval.end > candidate.interval.end:
                return None
            return _next(entries, "promotion", candidate, reason=reason, by=by, run_key=run_key)

        return self._append(compose, run_key)

    def refuse(self, candidate: Candidate, *, reason: str, by: str, run_key: str) -> Entry:
        """Record that a model version was refused; the champion stays.

        Arguments and errors are those of ``promote``.
        """

        def compose(entries: Sequence[Entry]) -> Entry:
            return _next(entries, "refusal", candidate, reason=reason, by=by, run_key=run_key)

        entry = self._append(compose, run_key)
        assert entry is not None
        return entry

    def _append(self, compose: Callable[[Sequence[Entry]], Entry | None], run_key: str) -> Entry | None:
        for _ in range(TRIES):
            entries = self.entries()
            there = with_run_key(entries, run_key)
            entry = there or compose(entries)
            if there is not None or entry is None:
                return entry
            if self._objects.create(entry_name(entry.sequence), entry.to_json()):
                log.info("ledger entry %d: %s of v%d", entry.sequence, entry.kind, entry.candidate.model_version)
                return entry
            log.debug("ledger entry %d went to another writer", entry.sequence)
        raise Overtaken(
            f"other writers won the next ledger entry {TRIES} times in a row, up to {self._uri(len(self._known))}.",
            hint="try again when fewer runs of this model are in progress",
        )

    def _checked(self, sequence: int, data: bytes | None) -> Entry:
        if data is None:
            raise IntegrityError(f"{self._uri(sequence)} is missing: the ledger has a hole.", hint=RESTORE)
        entry = Entry.from_json(data, name=self._uri(sequence))
        before = self._known[-1].digest if self._known else GENESIS
        if entry.sequence != sequence or entry.previous != before:
            raise IntegrityError(
                f"{self._uri(sequence)} does not follow from the entry before it: the chain is broken.", hint=RESTORE
            )
        return entry

    def _uri(self, sequence: int) -> str:
        return self._objects.uri(entry_name(sequence))


def promotions(entries: Sequence[Entry]) -> list[Champion]:
    return [Champion.of(entry) for entry in entries if entry.kind == "promotion"]


def with_run_key(entries: Sequence[Entry], run_key: str) -> Entry | None:
    return next((entry for entry in entries if entry.run_key == run_key), None)


def _next(entries: Sequence[Entry], kind: Kind, candidate: Candidate, *, reason: str, by: str, run_key: str) -> Entry:
    """The entry that would follow these."""
    champions = promotions(entries)
    before = champions[-1].model_version if champions else None
    return Entry(
        sequence=len(entries) + 1,
        previous=entries[-1].digest if entries else GENESIS,
        kind=kind,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        candidate=candidate,
        from_version=before,
        to_version=candidate.model_version if kind == "promotion" else before,
        reason=reason,
        run_key=run_key,
    )
