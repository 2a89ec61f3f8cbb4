"""Retention: what may be deleted from a model's area, and in which order.

Nothing here depends on a clock for safety; ages only decide when something is worth deleting.

* A version is removed by *replacing* its manifest with a void. Its number stays taken, so an attempt that
  was overtaken long ago can never become visible in its place.
* The files of a removed version stay for another ``garbage_hours``, for readers that hold its manifest.
* Versions are removed before the versions they were made from, so that no manifest names an input that is gone.
* An attempt can only ever become the version after the one it saw. Before its files are deleted, that number
  is taken, by a void if nobody else has it: a writer that wakes up after days is overtaken.
* Checkpoints of unfinished training are named by no version; a writer that wakes up without them begins anew.

The ledger is never touched here. Whoever has to be told of what goes is told before anything is deleted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

from nightshift.storage.attempt import manifest_name
from nightshift.storage.crash_points import crash_point
from nightshift.storage.folders import AttemptFolder, CheckpointFolder, Name
from nightshift.storage.manifest import Manifest, Ref, Void
from nightshift.storage.objects import READERS, Stored
from nightshift.storage.store import MANIFEST_NAME, Store

log = logging.getLogger(__name__)

PLACED = re.compile(r"(?P<dataset>[^/]+)/(?P<interval>[^/]+)/(?P<rest>.+)")
ATTEMPT = re.compile(r"attempt=(?P<id>(?P<base>\d{6})-[^/]+)/.+")
CHECKPOINT_PREFIX = "checkpoint="
CHECKPOINT = re.compile(rf"(?P<folder>[^/]+/[^/]+/{CHECKPOINT_PREFIX}[^/]+)/.+")
PLANS = "plan"
SEARCHES = "search"
"""Folder of what searches have measured so far: one folder for each stage key, deleted once the result is published."""
# Is given the versions that are to go and those that stay, before anything is deleted; gives the numbers of the model
# versions that go with them. What it raises keeps everything from being deleted.
Farewell = Callable[[Sequence[Manifest], Sequence[Manifest]], Sequence[int]]


@dataclass(frozen=True)
class RetentionReport:
    """What retention deleted, or would delete.

    Attributes:
        dry_run: Nothing was changed.
        versions: Versions removed now; ``pending_bytes`` of files follow when no reader can hold them any more.
        retired: Numbers of the model versions that go with them and can never serve again.
        attempts: Folders of attempts deleted now: crashed or overtaken ones, and those of versions removed earlier.
        plans: Plans of old runs deleted now.
        leftovers: Staging files of killed writers, and records of searches that nobody went on with, deleted now.
        checkpoints: Folders of training that nobody has finished, deleted now.
        freed_bytes: Size of everything deleted now.
        pending_bytes: Size of the files of removed versions that a later call deletes.
        kept_versions: How many versions stay.
    """

    dry_run: bool
    versions: tuple[Ref, ...] = ()
    retired: tuple[int, ...] = ()
    attempts: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    freed_bytes: int = 0
    pending_bytes: int = 0
    kept_versions: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        verb = "would delete" if self.dry_run else "deleted"
        going = f"; {verb.replace('delete', 'retire')} {', '.join(f'v{one}' for one in self.retired)}"
        return (
            f"{verb} {len(self.versions)} versions, {len(self.attempts)} attempts, {len(self.plans)} plans, "
            f"{len(self.checkpoints)} checkpoints and {len(self.leftovers)} leftovers: {self.freed_bytes:,} bytes now, "
            f"{self.pending_bytes:,} later; {self.kept_versions} versions stay{going if self.retired else ''}"
        )


def apply_retention(
    store: Store,
    *,
    keep_versions: int,
    keep_days: int,
    garbage_hours: float,
    protected: Iterable[Ref],
    now: datetime,
    dry_run: bool,
    farewell: Farewell | None = None,
) -> RetentionReport:
    """Delete what no manifest, night or champion needs any more.

    A version goes when nothing that stays was made from it, directly or through others, and it is

    * not among the newest ``keep_versions`` of its interval, and was replaced ``garbage_hours`` ago or earlier; or
    * of an interval that ended, and was published, more than ``keep_days`` ago, and is not the newest interval
      of its dataset. Datasets that are not by day (side tables) have no such end.

    It is safe beside running nights and other calls of itself, can be killed at any point and called again.

    Args:
        store: The model's area.
        keep_versions: How many versions of each interval stay, at least 1.
        keep_days: How many days of history stay.
        garbage_hours: How long the files of attempts that nobody will publish stay, those of removed versions, and
            checkpoints that nobody writes any more.
        protected: Versions that stay with everything they were made from: the champions' models.
        now: The present; aware.
        dry_run: Only say what would be deleted.
        farewell: Is told what is to go before anything is deleted; in a dry run too.

    Raises:
        ValueError: A number is out of range, or ``now`` has no zone.
        IntegrityError: A manifest is damaged; nothing was deleted.
        StorageError: The store failed; call again.
    """
    if keep_versions < 1 or keep_days < 0 or garbage_hours < 0:
        raise ValueError("keep_versions must be 1 or more, keep_days and garbage_hours 0 or more")
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    cutoff = Cutoff(keep_versions, now - timedelta(days=keep_days), now - timedelta(hours=garbage_hours))
    area = Area.of(store)
    doomed = area.doomed(cutoff, protected)
    garbage = list(area.garbage(cutoff.garbage))
    loose = Loose.of(area, cutoff)
    retired = () if farewell is None else farewell(*area.parted(doomed))
    if not dry_run:
        crash_point("before_removal", "retention")
        garbage = area.clear(garbage, doomed, now)
        loose.clear(store)
    report = replace(_report(area, doomed, garbage, loose, dry_run=dry_run), retired=tuple(retired))
    log.info("retention of %s: %s", store.objects.root, report)
    return report


def _report(
    area: Area, doomed: Collection[Name], garbage: list[AttemptFolder], loose: Loose, *, dry_run: bool
) -> RetentionReport:
    sizes = [folder.size for folder in garbage] + [folder.size for folder in loose.checkpoints]
    sizes += [stored.size for stored in (*loose.plans, *loose.leftovers, *loose.searches)]
    return RetentionReport(
        dry_run=dry_run,
        versions=tuple(area.manifests[name].ref for name in sorted(doomed)),
        attempts=tuple(sorted(attempt.folder for attempt in garbage)),
        plans=tuple(stored.name for stored in loose.plans),
        leftovers=tuple(stored.name for stored in (*loose.leftovers, *loose.searches)),
        checkpoints=tuple(sorted(folder.name for folder in loose.checkpoints)),
        freed_bytes=sum(sizes),
        pending_bytes=sum(entry.size for name in doomed for entry in area.manifests[name].files),
        kept_versions=len(area.manifests) - len(doomed),
    )


@dataclass(frozen=True)
class Cutoff:
    """What is old: ``horizon`` for intervals and plans, ``garbage`` for files that nobody needs."""

    keep_versions: int
    horizon: datetime
    garbage: datetime


@dataclass(frozen=True)
class Loose:
    """What is old and belongs to no version: plans of old runs, staging files, records of searches, checkpoints."""

    plans: list[Stored]
    leftovers: list[Stored]
    searches: list[Stored]
    checkpoints: list[CheckpointFolder]

    @classmethod
    def of(cls, area: Area, cutoff: Cutoff) -> Loose:
        return cls(
            [stored for stored in area.plans if stored.modified < cutoff.horizon],
            [stored for stored in area.store.objects.staging_leftovers() if stored.modified < cutoff.garbage],
            area.abandoned(cutoff.garbage),
            [folder for folder in area.checkpoints.values() if folder.newest < cutoff.garbage],
        )

    def clear(self, store: Store) -> None:
        store.objects.delete(stored.name for stored in self.plans)
        for stored in self.leftovers:
            store.objects.delete_staging(stored.name)
        store.objects.delete(stored.name for stored in self.searches)
        for folder in self.checkpoints:
            store.objects.delete_folder(folder.name)


@dataclass(frozen=True)
class Area:
    """Everything in a model's area, as one listing showed it.

    Attributes:
        manifests: Versions that can be read.
        voids: Numbers that are taken by nothing any more.
        written: When the object of each number was written.
        attempts: Folders of attempts.
        plans: Published plans.
        searches: Records of searches, by search.
        checkpoints: Folders of checkpoints.
    """

    store: Store
    manifests: Mapping[Name, Manifest]
    voids: Mapping[Name, Void]
    written: Mapping[Name, datetime]
    attempts: Mapping[str, AttemptFolder] = field(default_factory=dict)
    plans: tuple[Stored, ...] = ()
    searches: Mapping[str, list[Stored]] = field(default_factory=dict)
    checkpoints: Mapping[str, CheckpointFolder] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> Area:
        """Read the listing, then every manifest.

        Raises:
            IntegrityError: A manifest is damaged.
            StorageError: The store failed.
        """
        written: dict[Name, datetime] = {}
        attempts: dict[str, AttemptFolder] = {}
        plans: list[Stored] = []
        searches: dict[str, list[Stored]] = {}
        checkpoints: dict[str, CheckpointFolder] = {}
        for stored in store.objects.walk():
            placed = PLACED.fullmatch(stored.name)
            if placed is None:
                continue
            if placed["dataset"] == PLANS:
                plans.append(stored)
            elif placed["dataset"] == SEARCHES:
                searches.setdefault(stored.name.rpartition("/")[0], []).append(stored)
            elif number := MANIFEST_NAME.fullmatch(placed["rest"]):
                written[placed["dataset"], placed["interval"], int(number[1])] = stored.modified
            elif found := ATTEMPT.fullmatch(placed["rest"]):
                fresh = AttemptFolder(placed["dataset"], placed["interval"], found["id"], int(found["base"]))
                attempts.setdefault(fresh.folder, fresh).add(stored)
            elif unfinished := CHECKPOINT.fullmatch(stored.name):
                checkpoints.setdefault(unfinished["folder"], CheckpointFolder(unfinished["folder"])).add(stored)
        with ThreadPoolExecutor(READERS) as pool:
            slots = dict(zip(written, pool.map(lambda name: store.slot(*name), written), strict=True))
        manifests = {name: found for name, found in slots.items() if isinstance(found, Manifest)}
        voids = {name: found for name, found in slots.items() if isinstance(found, Void)}
        return cls(store, manifests, voids, written, attempts, tuple(plans), searches, checkpoints)

    # -- versions ------------------------------------------------------------------------------------

    def doomed(self, cutoff: Cutoff, protected: Iterable[Ref]) -> set[Name]:
        """Versions that may go: old enough, and nothing that stays was made from them."""
        candidates = self._superseded(cutoff) | self._beyond(cutoff.horizon)
        waiting = [name for name in self.manifests if name not in candidates]
        waiting += [(ref.dataset, ref.interval, ref.version) for ref in protected]
        needed: set[Name] = set()
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            if name in self.manifests:
                waiting += [_name(ref) for ref in self.manifests[name].inputs.values()]
            else:
                log.warning("%s/%s@%d is still referred to, but not there", *name)
        return candidates - needed

    def _superseded(self, cutoff: Cutoff) -> set[Name]:
        found: set[Name] = set()
        for versions in self._by_interval().values():
            followers = dict(pairwise(versions))
            old = versions[: -cutoff.keep_versions]
            found |= {name for name in old if self.written[followers[name]] < cutoff.garbage}
        return found

    def _beyond(self, horizon: datetime) -> set[Name]:
        newest: dict[str, datetime] = {}
        ends = {name: end for name in self.manifests if (end := _end_of(name[1])) is not None}
        for (dataset, _, _), end in ends.items():
            newest[dataset] = max(end, newest.get(dataset, end))
        return {
            name for name, end in ends.items() if end < min(horizon, newest[name[0]]) and self.written[name] < horizon
        }

    def _by_interval(self) -> dict[tuple[str, str], list[Name]]:
        found: dict[tuple[str, str], list[Name]] = {}
        for name in sorted(self.manifests):
            found.setdefault(name[:2], []).append(name)
        return found

    def parted(self, doomed: Collection[Name]) -> tuple[list[Manifest], list[Manifest]]:
        """The versions that go, and those that stay."""
        going = [self.manifests[name] for name in sorted(doomed)]
        return going, [found for name, found in sorted(self.manifests.items()) if name not in doomed]

    def in_order(self, doomed: set[Name]) -> Iterator[Name]:
        """Each version before the ones it was made from."""
        made_from = {name: {_name(ref) for ref in self.manifests[name].inputs.values()} & doomed for name in doomed}
        return reversed(list(TopologicalSorter(made_from).static_order()))

    def clear(self, garbage: Iterable[AttemptFolder], doomed: set[Name], now: datetime) -> list[AttemptFolder]:
        """Delete the attempts that could be fenced, which it gives back, then the doomed versions.

        Files first: a version that is removed in this call keeps its own until a later one.
        """
        fenced = [attempt for attempt in garbage if self.fence(attempt)]
        for attempt in fenced:
            self.store.objects.delete_folder(attempt.folder)
        for name in self.in_order(doomed):
            self.remove(name, now)
            crash_point("mid_removal", "retention")
        return fenced

    def remove(self, name: Name, now: datetime) -> None:
        """Replace a manifest by a void; its files become garbage."""
        void = Void("removed", self.manifests[name].attempt, now.isoformat(timespec="seconds"))
        self.store.objects.write(manifest_name(*name), void.to_json())
        self.store.objects.settle([manifest_name(*name)])
        log.info("removed %s", self.manifests[name].ref)

    # -- attempts ------------------------------------------------------------------------------------

    def garbage(self, before: datetime) -> Iterator[AttemptFolder]:
        """Attempts that no manifest names, untouched since then, whose versions no reader can hold any more."""
        for attempt in self.attempts.values():
            manifest, void = self.manifests.get(attempt.slot), self.voids.get(attempt.slot)
            if manifest is not None and manifest.attempt == attempt.id:
                continue
            if not attempt.size and not self.store.objects.is_local:
                continue  # what is left is one of Hadoop's folder markers, which obstore lists and cannot delete
            removed_lately = void is not None and void.attempt == attempt.id and self.written[attempt.slot] >= before
            if attempt.newest < before and not removed_lately:
                yield attempt

    def abandoned(self, before: datetime) -> list[Stored]:
        """Records of searches that have measured nothing since then: each search as a whole, or not at all."""
        old = (found for found in self.searches.values() if max(stored.modified for stored in found) < before)
        return [stored for found in old for stored in found]

    def fence(self, attempt: AttemptFolder) -> bool:
        """Make sure that an attempt can never be published; False if it has just been."""
        if attempt.slot in self.written:
            return True
        void = Void("fenced", None, datetime.now(UTC).isoformat(timespec="seconds"))
        if self.store.objects.create(manifest_name(*attempt.slot), void.to_json()):
            return True
        found = self.store.slot(*attempt.slot)
        return isinstance(found, Void) or found.attempt != attempt.id


def _name(ref: Ref) -> Name:
    return (ref.dataset, ref.interval, ref.version)


def _end_of(interval: str) -> datetime | None:
    """End of an interval by its key, or None if the key is no time range."""
    try:
        if "--" in interval:
            return datetime.strptime(interval.split("--")[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return datetime.combine(date.fromisoformat(interval), datetime.min.time(), UTC) + timedelta(days=1)
    except ValueError:
        return None
