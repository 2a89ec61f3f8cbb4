"""What a person does to versions: roll back, promote one that no night promoted, retire one for good.

Needs storage only; MLflow mirrors later what was done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nightshift.deploy import infra
from nightshift.deploy.target import InfraCheck
from nightshift.deploy.targets import target_of
from nightshift.errors import IntegrityError, ModelError, NotBlessed
from nightshift.ledger import Blessed, Candidate, Champion, Entry, Ledger, Obstacle, blessings, reigns
from nightshift.ledger.blessings import KINDS, Blessing
from nightshift.ledger.registered import candidate_of, registrations
from nightshift.spec.deploy import Deploy
from nightshift.storage import Manifest, Ref, Store


@dataclass(frozen=True)
class Version:
    """A registered version of a model, as its night published it.

    Attributes:
        candidate: What the ledger needs.
        quality: What evaluate published about it.
        opponent: The champion that it was judged against; None if there was none.
    """

    candidate: Candidate
    quality: Ref
    opponent: int | None

    @classmethod
    def find(cls, store: Store, number: int) -> Version:
        """The version with this number.

        Raises:
            ModelError: There is none; the message lists those there are.
            IntegrityError: A registration is damaged.
            StorageError: The store failed.
        """
        there: set[int] = set()
        for manifest in registrations(store):
            there.add(int(manifest.result["model_version"]))
            if manifest.result["model_version"] == number:
                return cls._of(store, manifest)
        raise ModelError(f"there is no v{number} in storage; the versions there are: {listed(sorted(there))}.")

    @classmethod
    def _of(cls, store: Store, register: Manifest) -> Version:
        quality = register.inputs["evaluate"]
        against = store.resolve(quality).result.get("champion_version")
        return cls(candidate_of(register), quality, against)

    def blessings(self, store: Store) -> list[Blessing]:
        """Its data and quality blessings; the infra blessing is made when it is promoted.

        Raises:
            NotBlessed: One is missing.
            IntegrityError: One was changed.
        """
        data = store.resolve(self.candidate.train).inputs["preprocess"]
        return [blessings.read(store, store.resolve(ref)) for ref in (data, self.quality)]


def target_of_rollback(ledger: Ledger, to: int | None) -> tuple[Champion, Champion]:
    """The champion that is to go, and the one that is to come.

    Args:
        ledger: The model's ledger.
        to: A version that was champion once; None for the one before.

    Raises:
        ModelError: There is no champion, nobody before it, or the version was never champion, is, or was retired.
    """
    entries = ledger.entries()
    line, ever = reigns.succession(entries), reigns.champions(entries)
    if not line:
        raise ModelError("there is no champion, so there is nothing to roll back.", hint="see nightshift history")
    current = line[-1]
    if to is None:
        if len(line) < 2:
            raise ModelError(
                f"v{current.model_version} has no predecessor: nothing was moved.",
                hint="name a version that was champion once with --to, if there is one: see nightshift history",
            )
        return current, line[-2]
    if to == current.model_version:
        raise ModelError(f"v{to} is the champion already: nothing was moved.")
    if (gone := reigns.retirement_of(entries, to)) is not None:
        raise ModelError(gone.text, hint=RETIRED)
    found = [champion for champion in ever if champion.model_version == to]
    if not found:
        versions = sorted({champion.model_version for champion in ever} - reigns.retired(entries).keys())
        raise ModelError(
            f"v{to} was never champion: nothing was moved. Versions that were: {listed(versions)}.",
            hint="a version that was never champion is promoted: nightshift promote MODEL --version N",
        )
    return current, found[-1]


def require_fit(store: Store, entry: Entry, scratch: Path) -> InfraCheck:
    """Check that a version which was champion once can be it again: blessings, bytes, golden rows.

    Args:
        store: The model's area.
        entry: The entry that made it champion.
        scratch: A folder for temporary files.

    Raises:
        NotBlessed: It was promoted without blessings.
        IntegrityError: A blessing or its model was changed, or is gone.
        InfraCheckFailed: It does not load, or scores otherwise.
        StorageError: The store failed.
    """
    missing = [kind for kind in KINDS if kind not in entry.blessings]
    if missing:
        raise NotBlessed(
            f"it was promoted without its {listed(missing)} blessing (ledger entry {entry.sequence}).",
            hint="run its night again, which makes a version with blessings, or choose another version",
        )
    for kind, stamp in entry.blessings.items():
        if blessings.read(store, store.resolve(stamp.ref)).digest != stamp.digest:
            raise IntegrityError(
                f"its {kind} blessing in {stamp.ref} is not the one it was promoted with.", hint=blessings.RESTORE
            )
    bounds = bounds_of(store.resolve(entry.blessings["infra"].ref))
    target = target_of(bounds.target)
    return infra.check(store, entry.about, entry.blessings["quality"].ref, target, bounds, scratch=scratch)


def bounds_of(infra_blessing: Manifest) -> Deploy:
    """What a version was promoted with: the spec of today may ask for something else, and is not needed."""
    told = infra_blessing.result
    return Deploy.model_validate(told.get("deploy") or {"target": told["target"]})


def roll_back(ledger: Ledger, *, to: int | None, reason: str, by: str, scratch: Path) -> tuple[Entry, InfraCheck]:
    """Make an earlier champion the champion again, and hold automatic promotion until somebody resumes it.

    Raises:
        ModelError: As for ``target_of_rollback`` and ``require_fit``; nothing was moved.
        IntegrityError: The ledger, a blessing or the model is damaged or gone; nothing was moved.
        Overtaken: Somebody else moved the champion meanwhile.
        StorageError: The store failed.
    """
    current, target = target_of_rollback(ledger, to)
    try:
        check = require_fit(ledger.store, ledger.entries()[target.sequence - 1], scratch)
    except (IntegrityError, ModelError) as error:
        # The ledger names what is damaged: deleting it, to make it anew, would close the way back for good.
        mend = "restore the file from a backup" if isinstance(error, IntegrityError) else error.hint
        raise type(error)(
            f"v{target.model_version} cannot be gone back to: {error.message.rstrip('.')}. Nothing was moved, and "
            f"champion v{current.model_version} stays.",
            hint=_elsewhere(ledger, {current.model_version, target.model_version}, mend),
        ) from error
    return ledger.roll_back(target, seen=current, reason=reason, by=by), check


def _elsewhere(ledger: Ledger, but: set[int], mend: str | None) -> str:
    """Where else a rollback can go, and what mends the one that failed."""
    entries = ledger.entries()
    ever = {champion.model_version for champion in reigns.champions(entries)}
    others = sorted(ever - but - reigns.retired(entries).keys())
    ways = (
        [f"go back to another that was champion ({listed(others)}): nightshift rollback MODEL --to N"] if others else []
    )
    return "; or ".join([*ways, *([mend] if mend else [])]) or "promote another version: see nightshift history"


def promote(
    ledger: Ledger, version: Version, *, bounds: Deploy, reason: str, by: str, scratch: Path, dry_run: bool
) -> tuple[Entry | None, InfraCheck]:
    """Make a version champion because a person says so; needs all three blessings.

    Args:
        ledger: The model's ledger.
        version: The version.
        bounds: Where it is checked, and what it may take there.
        reason: Why.
        by: Who.
        scratch: A folder for temporary files.
        dry_run: Check everything, publish and move nothing; gives no entry.

    Raises:
        ModelError: It is champion already, was retired, or is of an older night than the champion.
        NotBlessed: A blessing is missing or failed.
        InfraCheckFailed: It does not load, or scores otherwise.
        IntegrityError, Overtaken or StorageError: As for ``roll_back``.
    """
    store, champion, target = ledger.store, ledger.champion(), target_of(bounds.target)
    _require_promotable(ledger, version, champion)
    if dry_run:
        rival = infra.Rival(champion)
        check = infra.check(store, version.candidate, version.quality, target, bounds, scratch=scratch, rival=rival)
        infra.require_speed(check, bounds)
        return None, check
    published, check = infra.bless(store, version.candidate, version.quality, target, bounds, scratch=scratch)
    blessed = Blessed.collect(store, version.candidate, quality=version.quality, infra=published.ref)
    seen = champion.sequence if champion else 0
    entry = ledger.promote_by_hand(blessed, seen=seen, reason=reason, by=by)
    if isinstance(entry, Obstacle):
        raise ModelError(entry.text, hint=RETIRED if entry.kind == "retired" else OLDER)
    return entry, check


OLDER = "to go back to a version that was champion once: nightshift rollback MODEL --to N"
RETIRED = "run its night again with today's code or spec, which makes a new version; or choose another version"


def retire(ledger: Ledger, number: int, *, reason: str, by: str) -> Entry:
    """Say in the ledger that a version will never serve again; retention may delete its files from then on.

    Returns:
        Its entry; the one that is there where it was retired before.

    Raises:
        ModelError: There is no such version, or it is champion or previous.
        IntegrityError: The ledger or a registration is damaged.
        StorageError: The store failed.
    """
    entries = ledger.entries()
    if (there := reigns.retired(entries).get(number)) is not None:
        return there
    known = [champion for champion in reigns.champions(entries) if champion.model_version == number]
    # What was champion is known by the ledger, also where its registration is gone.
    about = entries[known[-1].sequence - 1].about if known else Version.find(ledger.store, number).candidate
    return ledger.retire(about, reason=reason, by=by)


def _require_promotable(ledger: Ledger, version: Version, champion: Champion | None) -> None:
    number, night = version.candidate.model_version, version.candidate.interval.night
    if champion is not None and champion.model_version == number:
        raise ModelError(f"v{number} is the champion already: nothing was moved.")
    if (gone := reigns.retirement_of(ledger.entries(), number)) is not None:
        raise ModelError(gone.text, hint=RETIRED)
    if (obstacle := reigns.superseded(ledger.entries(), version.candidate)) is not None:
        raise ModelError(obstacle.text, hint=OLDER)
    for blessing in version.blessings(ledger.store):
        if not blessing.counts:
            why = " ".join(check.text for check in blessing.failed)
            raise NotBlessed(
                f"the {blessing.kind} blessing of v{number} failed: {why} Nothing was moved.",
                hint=f"to take responsibility: {blessings.waive_command('MODEL', night, blessing.kind)}; "
                f"then: nightshift run MODEL --night {night}",
            )
        reigns.require_waiver(ledger.entries(), blessing, version.candidate)


def listed(values: Sequence[object]) -> str:
    return ", ".join(f"v{value}" if isinstance(value, int) else str(value) for value in values) or "none"
