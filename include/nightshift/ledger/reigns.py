"""What a ledger's entries come to: who is champion, who was before, who meets whom, what is on hold.

Plain functions of the entries, so that everybody who has read the same entries says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from nightshift.errors import ModelError, NotBlessed
from nightshift.ledger.blessings import Blessing, WaivedBy, waive_command
from nightshift.ledger.blessings import Kind as BlessingKind
from nightshift.ledger.entries import MOVES, Candidate, Champion, Entry
from nightshift.plan import Interval


@dataclass(frozen=True)
class Roles:
    """Versions by role; None where nobody has it.

    Attributes:
        champion: Who serves.
        previous: To whom a rollback goes.
    """

    champion: int | None = None
    previous: int | None = None


@dataclass(frozen=True)
class Obstacle:
    """Why a version cannot be promoted now, although it is fit.

    Attributes:
        kind: ``hold``; ``retired``; ``superseded`` by a newer night; or ``changed``: another champion than it was
            judged against.
        entry: The ledger entry that stands in the way.
        text: For a person.
    """

    kind: Literal["hold", "retired", "superseded", "changed"]
    entry: int
    text: str


def champions(entries: Sequence[Entry]) -> list[Champion]:
    """Every move into the champion's place, oldest first; the last one is the champion."""
    return [Champion.of(entry) for entry in entries if entry.kind in MOVES]


def retired(entries: Sequence[Entry]) -> dict[int, Entry]:
    """Versions that never serve again, with the entry that says so."""
    return {entry.about.model_version: entry for entry in entries if entry.kind == "retirement"}


def retirement_of(entries: Sequence[Entry], version: int) -> Obstacle | None:
    """The retirement that keeps a version from serving again, or None."""
    entry = retired(entries).get(version)
    if entry is None:
        return None
    text = (
        f"v{version} was retired on {entry.at} by {entry.by} (ledger entry {entry.sequence}: "
        f"{entry.reason.rstrip('.')}), and a retired version never serves again: nothing was moved."
    )
    return Obstacle("retired", entry.sequence, text)


def succession(entries: Sequence[Entry]) -> list[Champion]:
    """The champion, last, after those that a rollback from it leads back to.

    A promotion comes after its predecessor. A rollback goes back to where its version stood: what came after is
    gone, so a second rollback goes one further back and never returns to what the first one left.
    """
    line: list[Champion] = []
    for champion in champions(entries):
        places = [place for place, one in enumerate(line) if one.model_version == champion.model_version]
        if places:
            line = line[: places[0]] if champion.how == "rollback" else [one for one in line if one != line[places[0]]]
        line.append(champion)
    gone = retired(entries)
    return [champion for champion in line if champion.model_version not in gone]


def roles(entries: Sequence[Entry]) -> Roles:
    line = [champion.model_version for champion in succession(entries)]
    return Roles(*reversed(line[-2:]))


def require_no_role(entries: Sequence[Entry], version: int) -> None:
    """Raises ModelError: The version is champion or previous."""
    found = roles(entries)
    if version == found.champion:
        raise ModelError(
            f"v{version} is the champion and cannot be retired: nothing was changed.",
            hint="make another version champion first: nightshift rollback MODEL, or nightshift promote MODEL",
        )
    if version == found.previous:
        raise ModelError(
            f"v{version} is the one that a rollback from champion v{found.champion} goes to, and cannot be retired: "
            "nothing was changed.",
            hint="it can be once another champion has come",
        )


def known_to(entries: Sequence[Entry], interval: Interval, digest: str | None) -> list[Entry]:
    """The entries that count for a model built for an interval, oldest first.

    A move counts for the nights from the newest night promoted by then, so a rollback counts for the nights that
    follow, and an older night run anew does not meet the future. A night that has an entry of its own model already
    knows what was there before it, whatever was moved since.

    Args:
        entries: The ledger.
        interval: The night's interval.
        digest: Digest of the night's model.
    """
    known: list[Entry] = []
    newest: datetime | None = None
    for entry in entries:
        own = entry.candidate is not None and entry.about.model_digest == digest and entry.about.interval == interval
        if own and entry.kind in ("promotion", "refusal"):
            break
        if entry.kind in MOVES:
            newest = max(newest or entry.about.interval.end, entry.about.interval.end)
            if newest > interval.end:
                break
        known.append(entry)
    return known


def opponent(
    entries: Sequence[Entry], interval: Interval, digest: str | None, *, with_retired: bool = False
) -> Champion | None:
    """The champion that a model built for an interval has to be compared with: the one of its night.

    Nobody meets a version that was retired: it may be gone. A model that is the champion's own once more, as where
    nothing has changed since, meets the champion, and is found equal to it.

    Args:
        entries: The ledger.
        interval: The night's interval.
        digest: Digest of the night's model.
        with_retired: Also one that was retired since: for who asks who was champion, and not whom to meet.
    """
    gone = {} if with_retired else retired(entries)
    served = [one for one in champions(known_to(entries, interval, digest)) if one.model_version not in gone]
    return served[-1] if served else None


def anchor(entries: Sequence[Entry], interval: Interval, digest: str | None, *, age: timedelta) -> Champion | None:
    """From where slow decline is counted: the last version promoted by a person, or the champion of some time ago.

    What a rollback has left was found wrong, and measures nothing; neither does what is retired.

    Args:
        entries: The ledger.
        interval: The night's interval.
        digest: Digest of the night's model.
        age: How long ago.
    """
    known, gone = known_to(entries, interval, digest), retired(entries)
    standing = {one.model_version for one in succession(known)} - gone.keys()
    found: Champion | None = None
    newest: datetime | None = None
    for one in champions(known):
        newest = max(newest or one.interval.end, one.interval.end)
        looked_at = one.by_a_person and one.how == "promotion"
        if one.model_version in standing and (looked_at or newest <= interval.end - age):
            found = one
    return found


def champion_at(entries: Sequence[Entry], moment: datetime) -> Champion | None:
    """Who was champion at a moment, by the times in the entries."""
    served = [one for one in champions(entries) if datetime.fromisoformat(one.promoted_at) <= moment]
    return served[-1] if served else None


def hold(entries: Sequence[Entry]) -> Entry | None:
    """The rollback or hold that stops automatic promotion, or None."""
    standing: Entry | None = None
    for entry in entries:
        if entry.kind in ("rollback", "hold"):
            standing = entry
        elif entry.kind == "resume":
            standing = None
    return standing


def waiver(entries: Sequence[Entry], blessing: BlessingKind, interval: Interval, *, today: date) -> WaivedBy | None:
    """The newest waiver of a night's blessing that has not expired."""
    return next(_waivers(entries, blessing, interval, today), None)


def _waivers(entries: Sequence[Entry], blessing: BlessingKind, interval: Interval, today: date) -> Iterator[WaivedBy]:
    """Those of a night's blessing that have not expired, newest first."""
    for entry in reversed(entries):
        given = entry.waiver
        if given is None or (given.blessing, given.interval) != (blessing, interval.key):
            continue
        if today <= date.fromisoformat(given.expires):
            yield WaivedBy(entry.sequence, entry.by, entry.reason, given.expires, given.checks)


def require_waiver(entries: Sequence[Entry], blessing: Blessing, candidate: Candidate) -> None:
    """Raises NotBlessed: The blessing counts by a waiver only, and none in the ledger still covers what fails."""
    if blessing.waived_by is None:
        return
    standing = _waivers(entries, blessing.kind, candidate.interval, datetime.now(UTC).date())
    if not any(one.covers(blessing.checks) for one in standing):
        raise NotBlessed(
            f"the {blessing.kind} blessing of v{candidate.model_version} counted by the waiver in ledger entry "
            f"{blessing.waived_by.entry}, which expired on {blessing.waived_by.expires}: nothing was moved.",
            hint=f"waive it again: {waive_command('MODEL', candidate.interval.night, blessing.kind)}",
        )


def newer_champion(entries: Sequence[Entry], interval: Interval) -> Champion | None:
    """The champion, if it is of a newer night than this interval's."""
    line = champions(entries)
    return line[-1] if line and line[-1].interval.end > interval.end else None


def superseded(entries: Sequence[Entry], candidate: Candidate) -> Obstacle | None:
    """The champion of a newer night, which a version cannot replace, or None."""
    head = newer_champion(entries, candidate.interval)
    if head is None:
        return None
    text = (
        f"Superseded: champion v{head.model_version} is of the newer interval {head.interval.key}, and an older night "
        "never replaces it."
    )
    return Obstacle("superseded", head.sequence, text)


def obstacle(
    entries: Sequence[Entry], candidate: Candidate, opponent: int | None, *, approved: bool = False
) -> Obstacle | None:
    """What stands in the way of the promotion of a fit version, or None.

    Args:
        entries: The ledger.
        candidate: The version.
        opponent: The champion that it was judged against; None if there was none.
        approved: A person has approved it; a hold stops automatic promotion only.
    """
    held = hold(entries)
    if held is not None and not approved:
        text = (
            f"On hold since {held.at} by {held.by} ({held.kind}, ledger entry {held.sequence}: "
            f"{held.reason.rstrip('.')}): nothing is promoted before somebody runs nightshift resume."
        )
        return Obstacle("hold", held.sequence, text)
    if (gone := retirement_of(entries, candidate.model_version)) is not None:
        return gone
    if (newer := superseded(entries, candidate)) is not None:
        return newer
    line = champions(entries)
    if line and line[-1].model_version != opponent and line[-1].model_digest != candidate.model_digest:
        head, other = line[-1], "no champion" if opponent is None else f"v{opponent}"
        text = f"It was judged against {other}, but v{head.model_version} is champion now: run the night again."
        return Obstacle("changed", head.sequence, text)
    return None
