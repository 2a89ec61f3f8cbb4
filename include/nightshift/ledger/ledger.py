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
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from nightshift.errors import IntegrityError, ModelError, Overtaken
from nightshift.ledger import blessings, reigns
from nightshift.ledger.blessed import Blessed
from nightshift.ledger.blessings import WaivedBy
from nightshift.ledger.entries import BY_HAND, GENESIS, MOVES, RESTORE, Candidate, Champion, Entry, Kind, Waiver
from nightshift.ledger.reigns import Obstacle
from nightshift.plan import Interval
from nightshift.storage import Manifest, Ref, Store
from nightshift.storage.crash_points import crash_point

log = logging.getLogger(__name__)
Composed = TypeVar("Composed")

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
        self.store = store
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

    def find(self, run_key: str) -> Entry | None:
        """The entry that a run key already has, or None."""
        return with_run_key(self.entries(), run_key)

    def champions(self) -> list[Champion]:
        """Every promotion and rollback of a version that is not retired, oldest first; the last is the champion."""
        entries = self.entries()
        gone = reigns.retired(entries)
        return [champion for champion in reigns.champions(entries) if champion.model_version not in gone]

    def champion(self) -> Champion | None:
        """The model version that the ledger names, or None before the first promotion."""
        found = self.champions()
        return found[-1] if found else None

    def waiver(self, blessing: blessings.Kind, interval: Interval, *, today: date | None = None) -> WaivedBy | None:
        """The waiver that a gate honours for a night, or None.

        Args:
            blessing: The kind of blessing that would fail.
            interval: The night's interval.
            today: The date in UTC; a waiver counts up to and on its last day.
        """
        return reigns.waiver(self.entries(), blessing, interval, today=today or datetime.now(UTC).date())

    def hold(self) -> Entry | None:
        """The rollback or hold that stops automatic promotion, or None."""
        return reigns.hold(self.entries())

    def obstacle(self, candidate: Candidate, opponent: int | None, *, approved: bool = False) -> Obstacle | None:
        """What stands in the way of the promotion of a fit version, as far as anybody knows now.

        Args:
            candidate: The version.
            opponent: The champion that it was judged against.
            approved: A person has approved it.
        """
        return reigns.obstacle(self.entries(), candidate, opponent, approved=approved)

    def protected(self) -> list[Ref]:
        """What retention must keep: the model of every champion not retired, and its blessings."""
        entries = self.entries()
        gone = reigns.retired(entries)
        moves = [entry for entry in entries if entry.kind in MOVES and entry.about.model_version not in gone]
        stamps = [stamp.ref for entry in moves for stamp in entry.blessings.values()]
        return [*(entry.about.train for entry in moves), *stamps]

    # -- writing -------------------------------------------------------------------------------------

    def promote(
        self, blessed: Blessed, *, reason: str, by: str, run_key: str, approved: bool = False
    ) -> Entry | Obstacle:
        """Make a version the champion, as a night does it by itself, or as a person has approved it.

        Args:
            blessed: The version with its three blessings.
            reason: Why, in one sentence.
            by: The run id, or who approved it.
            run_key: An entry that already has it is given back, and nothing is added.
            approved: A person has approved it, so a hold does not stand in the way; it stays.

        Returns:
            Its entry, or what stands in the way: a hold, a champion of a newer night, or another champion than the
            one that the version was judged against. Nothing is added then.

        Raises:
            NotBlessed: A waiver that it depends on is not in this ledger, or has expired; nothing was added.
            IntegrityError: The ledger is damaged; nothing was added.
            Overtaken: Other writers won every try.
            StorageError: The store failed; another try settles whether the entry is there.
        """

        def compose(entries: Sequence[Entry]) -> Entry | Obstacle:
            obstacle = reigns.obstacle(entries, blessed.candidate, blessed.opponent, approved=approved)
            return obstacle or _promotion(entries, blessed, reason=reason, by=by, run_key=run_key)

        return self._append(compose, run_key)

    def promote_by_hand(self, blessed: Blessed, *, seen: int, reason: str, by: str) -> Entry | Obstacle:
        """Make a version the champion because a person says so: also during a hold, which stays.

        Args:
            blessed: The version with its three blessings.
            seen: Sequence of the entry that made the champion whom the person saw; 0 for none.
            reason: Why.
            by: Who.

        Returns:
            Its entry, or what stands in the way: its retirement, or the champion of a newer night.

        Raises:
            Overtaken: The champion has changed since; nothing was added. Other errors are those of ``promote``.
        """
        run_key = f"{BY_HAND}v{blessed.candidate.model_version} after entry {seen}"

        def compose(entries: Sequence[Entry]) -> Entry | Obstacle:
            _require_unchanged(entries, seen)
            gone = reigns.retirement_of(entries, blessed.candidate.model_version)
            obstacle = gone or reigns.superseded(entries, blessed.candidate)
            return obstacle or _promotion(entries, blessed, reason=reason, by=by, run_key=run_key)

        return self._append(compose, run_key)

    def refuse(
        self, candidate: Candidate, *, reason: str, by: str, run_key: str, train: Manifest | None = None
    ) -> Entry:
        """Record that a model version was refused; the champion stays.

        Args:
            candidate: The version.
            reason: Why, in one sentence.
            by: The run id.
            run_key: An entry that already has it is given back, and nothing is added.
            train: What train published, for data and code.

        Raises:
            IntegrityError, Overtaken or StorageError: As for ``promote``.
        """
        made_of = {} if train is None else {"data": train.inputs.get("preprocess"), "code": train.code}

        def compose(entries: Sequence[Entry]) -> Entry:
            return _next(entries, "refusal", candidate, reason=reason, by=by, run_key=run_key, **made_of)

        return self._append(compose, run_key)

    def roll_back(self, to: Champion, *, seen: Champion, reason: str, by: str) -> Entry:
        """Make an earlier champion the champion again, and hold automatic promotion.

        Args:
            to: One of ``champions``.
            seen: The champion that is to go.
            reason: Why.
            by: Who.

        Raises:
            ModelError: It was retired; nothing was added.
            Overtaken: Another is champion by now; nothing was added. Other errors are those of ``promote``.
        """
        run_key = f"rollback to v{to.model_version} after entry {seen.sequence}"

        def compose(entries: Sequence[Entry]) -> Entry:
            _require_unchanged(entries, seen.sequence)
            if (gone := reigns.retirement_of(entries, to.model_version)) is not None:
                raise ModelError(gone.text)
            origin = entries[to.sequence - 1]
            return _next(
                entries, "rollback", origin.about, reason=reason, by=by, run_key=run_key,
                data=origin.data, code=origin.code, blessings=origin.blessings,
            )  # fmt: skip

        return self._append(compose, run_key)

    def retire(self, candidate: Candidate, *, reason: str, by: str, by_hand: bool = True) -> Entry:
        """Record that a version will never serve again; whoever deletes its files does so after this.

        Args:
            candidate: The version.
            reason: Why.
            by: Who.
            by_hand: Somebody decided it; False where retention did.

        Returns:
            Its entry; the one that is there where the version was retired before.

        Raises:
            ModelError: It is the champion, or the one that a rollback goes to; nothing was added.
            IntegrityError, Overtaken or StorageError: As for ``promote``.
        """
        version = candidate.model_version
        run_key = f"{BY_HAND if by_hand else ''}retirement of v{version}"

        def compose(entries: Sequence[Entry]) -> Entry:
            if (there := reigns.retired(entries).get(version)) is not None:
                return there
            reigns.require_no_role(entries, version)
            return _next(entries, "retirement", candidate, reason=reason, by=by, run_key=run_key)

        return self._append(compose)

    def put_on_hold(self, *, reason: str, by: str) -> Entry:
        """Stop automatic promotion; gives the hold that stands already, if there is one. Errors as for ``promote``."""

        def compose(entries: Sequence[Entry]) -> Entry:
            run_key = f"hold after entry {len(entries)}"
            return reigns.hold(entries) or _next(entries, "hold", None, reason=reason, by=by, run_key=run_key)

        return self._append(compose)

    def resume(self, *, reason: str, by: str) -> Entry | None:
        """Let nights promote again; None if nothing is on hold. Errors as for ``promote``."""

        def compose(entries: Sequence[Entry]) -> Entry | None:
            held = reigns.hold(entries)
            if held is None:
                return None
            run_key = f"resume after entry {held.sequence}"
            return _next(entries, "resume", None, reason=reason, by=by, run_key=run_key)

        return self._append(compose)

    def waive(self, waiver: Waiver, *, reason: str, by: str) -> Entry:
        """Let one night ship although some checks of a blessing fail. Errors as for ``promote``.

        Raises:
            ValueError: It names no checks.
        """
        if not waiver.checks:
            raise ValueError(f"the waiver of {waiver.blessing} for {waiver.interval} names no checks")

        def compose(entries: Sequence[Entry]) -> Entry:
            run_key = f"waiver of {waiver.blessing} for {waiver.interval} after entry {len(entries)}"
            return _next(entries, "waiver", None, reason=reason, by=by, run_key=run_key, waiver=waiver)

        return self._append(compose)

    def _append(self, compose: Callable[[Sequence[Entry]], Composed], run_key: str | None = None) -> Composed | Entry:
        """Add the entry that follows from the newest ones; what is composed but no new entry is given back."""
        for _ in range(TRIES):
            entries = self.entries()
            there = None if run_key is None else with_run_key(entries, run_key)
            if there is not None:
                return there
            entry = compose(entries)
            if not isinstance(entry, Entry) or entry.sequence <= len(entries):
                return entry
            crash_point("before_entry", FOLDER)
            if self._objects.create(entry_name(entry.sequence), entry.to_json()):
                crash_point("after_entry", FOLDER)
                log.info("ledger entry %d: %s", entry.sequence, entry.kind)
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


def with_run_key(entries: Sequence[Entry], run_key: str) -> Entry | None:
    return next((entry for entry in entries if entry.run_key == run_key), None)


def _require_unchanged(entries: Sequence[Entry], seen: int) -> None:
    """Raises Overtaken: The champion was made by another entry than the one that was seen."""
    line = reigns.champions(entries)
    if line and line[-1].sequence != seen:
        raise Overtaken(
            f"v{line[-1].model_version} became champion meanwhile (ledger entry {line[-1].sequence}): nothing moved.",
            hint="look at nightshift history, and decide again",
        )


def _promotion(entries: Sequence[Entry], blessed: Blessed, *, reason: str, by: str, run_key: str) -> Entry:
    """Raises NotBlessed: A waiver is not in the ledger, or has expired."""
    for blessing in blessed.blessings.values():
        reigns.require_waiver(entries, blessing, blessed.candidate)
    return _next(
        entries, "promotion", blessed.candidate, reason=reason, by=by, run_key=run_key,
        data=blessed.data, code=blessed.code, blessings=dict(blessed.stamps),
    )  # fmt: skip


def _next(
    entries: Sequence[Entry],
    kind: Kind,
    candidate: Candidate | None,
    *,
    reason: str,
    by: str,
    run_key: str,
    **more: Any,
) -> Entry:
    """The entry that would follow these."""
    before = reigns.roles(entries).champion
    return Entry(
        sequence=len(entries) + 1,
        previous=entries[-1].digest if entries else GENESIS,
        kind=kind,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        candidate=candidate,
        from_version=before,
        to_version=candidate.model_version if candidate and kind in MOVES else before,
        reason=reason,
        run_key=run_key,
        report=candidate.reports if candidate else None,
        **more,
    )
