"""Blessings: the stored verdicts without which no version may ship.

There are three kinds, each written into the attempt of the stage that judged: *data* by preprocess, *quality* by
evaluate, *infra* by deploy before it moves anything. A blessing lists every check with its numbers, so that
whoever asks later why a version shipped, or did not, finds the answer beside what was judged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, get_args

from nightshift.errors import IntegrityError, NotBlessed, Overtaken
from nightshift.plan import canonical_json, digest_of
from nightshift.storage import Attempt, Manifest, Ref, Store

log = logging.getLogger(__name__)

# In format 1 a waiver named no checks. It is read for ever.
BLESSING_FORMAT = 2
BLESSING_FILE = "blessing.json"
# Dataset of failed verdicts on data. Evidence only: no stage reads it, and nothing is made from it.
UNBLESSED = "unblessed"
Kind = Literal["data", "quality", "infra"]
Verdict = Literal["passed", "failed", "waived"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Check:
    """One condition.

    Attributes:
        name: Short and stable; people grep for it.
        passed: Whether it holds.
        value: What was found; None where it could not be measured.
        bound: What it was held against; None where nothing is compared.
        text: The condition and its numbers in a sentence.
    """

    name: str
    passed: bool
    value: float | str | None
    bound: float | str | None
    text: str


@dataclass(frozen=True)
class WaivedBy:
    """The waiver that lets a failed blessing count.

    Attributes:
        entry: Its sequence in the ledger.
        by: Who waived.
        reason: Why, in that person's words.
        expires: ISO date; the last day, in UTC, on which it counts.
        checks: Names of the checks that may fail; None for every one, as waivers were before they named any.
    """

    entry: int
    by: str
    reason: str
    expires: str
    checks: tuple[str, ...] | None = None

    def covers(self, checks: Iterable[Check]) -> bool:
        """Whether every check that fails is one that may."""
        return not self.beyond(checks)

    def beyond(self, checks: Iterable[Check]) -> tuple[str, ...]:
        """Names of the checks that fail and that it does not waive, each once."""
        if self.checks is None:
            return ()
        return tuple(
            dict.fromkeys(check.name for check in checks if not check.passed and check.name not in self.checks)
        )

    def shortfall(self, checks: Iterable[Check]) -> str:
        """What it does not waive, in a sentence; empty where it covers everything."""
        beyond = self.beyond(checks)
        if not beyond:
            return ""
        return (
            f"{self.by}'s waiver (ledger entry {self.entry}) is for {', '.join(self.checks or ())} and not for "
            f"{', '.join(beyond)}, so it does not count."
        )

    @property
    def key(self) -> str:
        """What a stage key needs, so that a result judged without the waiver is not taken for one with it."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class Blessing:
    """A verdict on one night's data or model. Made by ``judged``, which settles the verdict.

    Attributes:
        kind: What was judged.
        verdict: ``passed``; ``failed``; or ``waived``: failed, and a person took responsibility.
        checks: Every condition, passed or not.
        about: sha256 of the model's graph; None for data, which is judged before there is a model.
        interval: Key of the night's interval.
        evidence: Where the details lie: a file of the same attempt, or a version. No absolute URI, so that the same
            judgement has the same digest wherever it is stored.
        waived_by: Set exactly when the verdict is ``waived``; it covers every check that fails.
        format: Which fields its stored form has.

    Raises:
        ValueError: Verdict, checks and waiver contradict each other, or there are no checks.
    """

    kind: Kind
    verdict: Verdict
    checks: tuple[Check, ...]
    about: str | None
    interval: str
    evidence: str
    waived_by: WaivedBy | None = None
    format: int = BLESSING_FORMAT

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no {self.kind!r} blessing; the kinds are {', '.join(KINDS)}")
        if not self.checks:
            raise ValueError(f"a {self.kind} blessing without checks blesses nothing")
        follows = _verdict(self.checks, self.waived_by)
        if self.verdict != follows or (self.waived_by is not None) != (follows == "waived"):
            raise ValueError(f"a {self.kind} blessing says {self.verdict}, but its checks and waiver say {follows}")
        if (self.about is None) != (self.kind == "data"):
            raise ValueError(f"a {self.kind} blessing is about {'no model' if self.kind == 'data' else 'a model'}")

    @classmethod
    def judged(
        cls,
        kind: Kind,
        checks: Iterable[Check],
        *,
        interval: str,
        evidence: str,
        about: str | None = None,
        waiver: WaivedBy | None = None,
    ) -> Blessing:
        """The blessing that follows from checks.

        Args:
            kind: What was judged.
            checks: Every condition.
            interval: Key of the night's interval.
            evidence: As the attribute.
            about: As the attribute.
            waiver: One of this kind and night, or None; used where it covers every check that fails, and some do.
        """
        listed = tuple(checks)
        fails = any(not check.passed for check in listed)
        used = waiver if fails and waiver is not None and waiver.covers(listed) else None
        return cls(kind, _verdict(listed, used), listed, about, interval, evidence, used)

    @property
    def counts(self) -> bool:
        """Whether a version with it may ship, as far as this blessing goes."""
        return self.verdict != "failed"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold, waived or not."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def names_of_failed(self) -> tuple[str, ...]:
        """Names of the checks that do not hold, each once: what a waiver of them names."""
        return tuple(dict.fromkeys(check.name for check in self.failed))

    @property
    def digest(self) -> str:
        """sha256 of its canonical text."""
        return digest_of(self._body())

    def _body(self) -> dict[str, Any]:
        body = asdict(self)
        if self.format == 1 and body["waived_by"] is not None:
            del body["waived_by"]["checks"]
        return body

    def to_json(self) -> bytes:
        """The stored form, with its own digest.

        Raises:
            ValueError: A value is NaN or infinite, which JSON cannot say; use None or words.
        """
        return canonical_json({**self._body(), "digest": self.digest})

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Blessing:
        """Read a stored blessing.

        Args:
            data: Its bytes.
            name: Its URI, for the message.

        Raises:
            IntegrityError: The bytes are not a blessing of this format, contradict themselves, or were changed.
        """
        try:
            raw = json.loads(data)
            claimed, written = raw.pop("digest"), raw["format"]
            if written not in range(1, BLESSING_FORMAT + 1):
                raise IntegrityError(
                    f"{name} has blessing format {written}; this version reads up to {BLESSING_FORMAT}.",
                    hint="a newer Nightshift wrote it; use that one",
                )
            blessing = cls._from_body(raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{name} is not a readable blessing: {error}", hint=RESTORE) from error
        if digest_of(raw) != claimed:
            raise IntegrityError(f"{name} was changed after it was written: its digest does not match.", hint=RESTORE)
        return blessing

    @classmethod
    def _from_body(cls, raw: Mapping[str, Any]) -> Blessing:
        checks = tuple(Check(**check) for check in raw["checks"])
        return cls(**{**raw, "checks": checks, "waived_by": _waived_by(raw["waived_by"])})


RESTORE = "restore the file from a backup, or run the stage again; never edit a blessing"


def _waived_by(raw: Mapping[str, Any] | None) -> WaivedBy | None:
    if raw is None:
        return None
    checks = raw.get("checks")
    return WaivedBy(**{**raw, "checks": None if checks is None else tuple(checks)})


def _verdict(checks: Sequence[Check], waiver: WaivedBy | None) -> Verdict:
    if all(check.passed for check in checks):
        return "passed" if waiver is None else "failed"
    return "waived" if waiver is not None and waiver.covers(checks) else "failed"


def waive_command(model: str, night: date | str, kind: Kind) -> str:
    """The command by which a person takes a failed verdict upon themselves; the reason is left to them."""
    return f'nightshift waive {model} --night {night} --blessing {kind} --reason "..."'


def write(attempt: Attempt, blessing: Blessing) -> None:
    """Put a blessing into an attempt, as ``blessing.json``.

    Raises:
        ValueError: It is of another interval than the attempt, or cannot be written as JSON.
        StorageError: The store failed.
    """
    if blessing.interval != attempt.interval:
        raise ValueError(f"a blessing of {blessing.interval} does not belong to {attempt.dataset}/{attempt.interval}")
    attempt.put(BLESSING_FILE, blessing.to_json())


def keep_failed(
    store: Store, blessing: Blessing, *, code: str, inputs: Mapping[str, Ref], files: Mapping[str, bytes] | None = None
) -> None:
    """Publish a failed verdict on a night's data, whose stage publishes nothing, so that people find it later.

    Args:
        store: The model's area.
        blessing: The verdict.
        code: Digest of the code that judged.
        inputs: What it judged.
        files: The numbers behind it.

    Raises:
        ValueError: The verdict is not a failed one.
        StorageError: The store failed; another try of the stage judges again.
    """
    if blessing.counts:
        raise ValueError(f"a {blessing.verdict} {blessing.kind} blessing belongs to what its stage publishes")
    attempt = store.attempt(UNBLESSED, blessing.interval)
    for path, data in (files or {}).items():
        attempt.put(path, data)
    write(attempt, blessing)
    result = {"verdict": blessing.verdict, "checks_failed": [check.name for check in blessing.failed]}
    try:
        attempt.publish(stage_key=digest_of([attempt.id]), code=code, inputs=inputs, result=result)
    except Overtaken:
        log.info("another run of the night %s kept its failed verdict at the same moment", blessing.interval)


def read(store: Store, manifest: Manifest) -> Blessing:
    """The blessing that a version carries.

    Raises:
        NotBlessed: It carries none.
        IntegrityError: It was changed, or belongs to another night.
        StorageError: The store failed.
    """
    if all(entry.path != BLESSING_FILE for entry in manifest.files):
        raise NotBlessed(
            f"{manifest.ref} carries no blessing: it was published before blessings were required.",
            hint="run the night again; the stage publishes a new version with its blessing",
        )
    name = f"{manifest.ref} {BLESSING_FILE}"
    blessing = Blessing.from_json(store.read(manifest, BLESSING_FILE), name=name)
    if blessing.interval != manifest.interval:
        raise IntegrityError(f"{name} is about the night {blessing.interval}.", hint=RESTORE)
    return blessing
