"""What one line of the ledger says, and how its bytes are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from nightshift.errors import IntegrityError
from nightshift.ledger import blessings
from nightshift.plan import Interval, canonical_json, digest_of
from nightshift.storage import Ref

# Format 1 knew promotions and refusals only, without blessings, data and code; format 2 had no retirements and no
# reports; waivers of format 2 and 3 name no checks. All are read for ever.
LEDGER_FORMAT = 4
GENESIS = "0" * 64
Kind = Literal["promotion", "refusal", "waiver", "rollback", "hold", "resume", "retirement"]
# Dataset of the run reports: each night's lie in report/<interval>, in the model's area.
REPORT = "report"
# How the run key of what a person did begins, where a night or housekeeping could have done it too.
BY_HAND = "by hand: "
MOVES: tuple[Kind, ...] = ("promotion", "rollback")
BY_PEOPLE: tuple[Kind, ...] = ("waiver", "rollback", "hold", "resume")


@dataclass(frozen=True)
class Candidate:
    """The model version that an entry is about.

    Attributes:
        model_version: Its number in the registry.
        model_digest: sha256 of its ONNX graph.
        interval: The night it was built for.
        train: Where its graph and ``model.json`` lie in storage.
        mlflow_run_id: The MLflow run that describes it.
    """

    model_version: int
    model_digest: str
    interval: Interval
    train: Ref
    mlflow_run_id: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "model_version": self.model_version,
            "model_digest": self.model_digest,
            "interval": [self.interval.start.isoformat(), self.interval.end.isoformat()],
            "train": asdict(self.train),
            "mlflow_run_id": self.mlflow_run_id,
        }

    @property
    def reports(self) -> str:
        """Where in the model's area the reports of its night lie, or will lie when the run ends."""
        return f"{REPORT}/{self.interval.key}"

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Candidate:
        """Raises KeyError, TypeError or ValueError: It is not what ``to_dict`` gives."""
        start, end = (datetime.fromisoformat(bound) for bound in raw["interval"])
        return cls(
            model_version=int(raw["model_version"]),
            model_digest=raw["model_digest"],
            interval=Interval(start, end),
            train=Ref(**raw["train"]),
            mlflow_run_id=raw["mlflow_run_id"],
        )


@dataclass(frozen=True)
class Stamp:
    """A blessing as the ledger keeps it.

    Attributes:
        ref: The version that carries it.
        digest: sha256 of the blessing.
        verdict: ``passed``, or ``waived``.
    """

    ref: Ref
    digest: str
    verdict: blessings.Verdict


@dataclass(frozen=True)
class Waiver:
    """One night's leave to ship in spite of a failed blessing.

    Attributes:
        interval: Key of the night's interval.
        blessing: Which blessing.
        expires: ISO date; the last day, in UTC, on which it counts.
        checks: Names of the checks that may fail; None for every one, as in entries of format 2 and 3.
    """

    interval: str
    blessing: blessings.Kind
    expires: str
    checks: tuple[str, ...] | None = None

    @property
    def told(self) -> str:
        """What it waives, for a person."""
        checks = "every check" if self.checks is None else ", ".join(self.checks)
        return f"waiver of {self.blessing} ({checks}) for {self.interval} up to {self.expires}"

    def to_dict(self) -> dict[str, Any]:
        told = {"interval": self.interval, "blessing": self.blessing, "expires": self.expires}
        return told if self.checks is None else {**told, "checks": list(self.checks)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Waiver:
        """Raises KeyError or TypeError: It is not what ``to_dict`` gives."""
        checks = tuple(raw["checks"]) if "checks" in raw else None
        return cls(raw["interval"], raw["blessing"], raw["expires"], checks)


@dataclass(frozen=True)
class Entry:
    """One entry, as it was written.

    Attributes:
        sequence: Its place, from 1, without gaps.
        previous: Digest of the entry before; 64 zeros for the first.
        kind: What happened.
        at: ISO time in UTC, for people and for ``champion --at``; nothing is ordered by it.
        by: The run id, or the user, that made it; of a version that a person approved or rejected, that person.
        candidate: The model version it is about; None for waivers, holds and their release.
        from_version, to_version: The champion before and after; None where there was none.
        reason: Why, in one sentence.
        run_key: What makes it idempotent: a run key has at most one entry.
        data: The preprocessed data that the version learned from.
        code: Digest of the code that trained it.
        blessings: What it was promoted with, by kind.
        waiver: What was waived.
        report: Where in the model's area the reports of the version's night lie; the run that promoted it puts its
            own there after the entry. No absolute URI, so that an entry stays true when storage is moved.
        format: Which fields it has.
    """

    sequence: int
    previous: str
    kind: Kind
    at: str
    by: str
    candidate: Candidate | None
    from_version: int | None
    to_version: int | None
    reason: str
    run_key: str
    data: Ref | None = None
    code: str | None = None
    blessings: Mapping[str, Stamp] = field(default_factory=dict)
    waiver: Waiver | None = None
    report: str | None = None
    format: int = LEDGER_FORMAT

    @property
    def digest(self) -> str:
        """sha256 of the entry's canonical text; the next entry carries it."""
        return digest_of(self._body())

    @property
    def about(self) -> Candidate:
        """The model version of a promotion, refusal, rollback or retirement."""
        assert self.candidate is not None, f"a {self.kind} is about no version"
        return self.candidate

    @property
    def by_a_person(self) -> bool:
        """Whether somebody did it, rather than a night or housekeeping by itself."""
        return self.kind in BY_PEOPLE or self.run_key.startswith(BY_HAND)

    def to_dict(self) -> dict[str, Any]:
        """The entry with its digest, as it is stored."""
        return {**self._body(), "digest": self.digest}

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "format": self.format,
            "sequence": self.sequence,
            "previous": self.previous,
            "kind": self.kind,
            "at": self.at,
            "by": self.by,
            "from": self.from_version,
            "to": self.to_version,
            "reason": self.reason,
            "run_key": self.run_key,
            **(self.candidate.to_dict() if self.candidate else {}),
        }
        if self.format == 1:
            return body
        body |= {
            "data": asdict(self.data) if self.data else None,
            "code": self.code,
            "blessings": {kind: asdict(stamp) for kind, stamp in self.blessings.items()},
            "waiver": self.waiver.to_dict() if self.waiver else None,
        }
        return body if self.format == 2 else {**body, "report": self.report}

    def to_json(self) -> bytes:
        """The stored form: the entry with its own digest, so that damage to the last entry shows too."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Entry:
        """Read a stored entry.

        Raises:
            IntegrityError: The bytes are not an entry of a known format, or were changed.
        """
        try:
            raw = json.loads(data)
            claimed, written, kind = raw.pop("digest"), raw["format"], raw["kind"]
            known = written in range(1, LEDGER_FORMAT + 1) and kind in get_args(Kind)
            entry = cls._from_body(raw) if known else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{name} is not a readable ledger entry: {error}", hint=RESTORE) from error
        if entry is None:
            raise IntegrityError(
                f"{name} is a {kind} entry of ledger format {written}, which this version cannot read.",
                hint="a newer Nightshift wrote it; use that one",
            )
        if digest_of(raw) != claimed:
            raise IntegrityError(f"{name} was changed after it was written: its digest does not match.", hint=RESTORE)
        return entry

    @classmethod
    def _from_body(cls, raw: Mapping[str, Any]) -> Entry:
        return cls(
            sequence=int(raw["sequence"]),
            previous=raw["previous"],
            kind=raw["kind"],
            at=raw["at"],
            by=raw["by"],
            candidate=Candidate.from_dict(raw) if "model_version" in raw else None,
            from_version=raw["from"],
            to_version=raw["to"],
            reason=raw["reason"],
            run_key=raw["run_key"],
            data=Ref(**raw["data"]) if raw.get("data") else None,
            code=raw.get("code"),
            blessings={
                kind: Stamp(Ref(**stamp["ref"]), stamp["digest"], stamp["verdict"])
                for kind, stamp in raw.get("blessings", {}).items()
            },
            waiver=Waiver.from_dict(raw["waiver"]) if raw.get("waiver") else None,
            report=raw.get("report"),
            format=raw["format"],
        )


RESTORE = "restore the object from a backup or an older object version; never edit an entry"


@dataclass(frozen=True)
class Champion(Candidate):
    """A model version in the champion's place.

    Attributes:
        sequence: The ledger entry that put it there: a promotion or a rollback.
        promoted_at: ISO time in UTC of that entry.
        how: Which of the two.
        by_a_person: A person put it there.
    """

    sequence: int
    promoted_at: str
    how: Kind = "promotion"
    by_a_person: bool = False

    @classmethod
    def of(cls, entry: Entry) -> Champion:
        return cls(
            **vars(entry.about),
            sequence=entry.sequence,
            promoted_at=entry.at,
            how=entry.kind,
            by_a_person=entry.by_a_person,
        )
