"""What one line of the ledger says, and how its bytes are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from nightshift.errors import IntegrityError
from nightshift.plan import Interval, canonical_json, digest_of
from nightshift.storage import Ref

LEDGER_FORMAT = 1
GENESIS = "0" * 64
Kind = Literal["promotion", "refusal"]


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


@dataclass(frozen=True)
class Entry:
    """One entry, as it was written.

    Attributes:
        sequence: Its place, from 1, without gaps.
        previous: Digest of the entry before; 64 zeros for the first.
        kind: What happened.
        at: ISO time in UTC, for people; nothing is ordered by it.
        by: The run id, or the user, that made it.
        candidate: The model version it is about.
        from_version, to_version: The champion before and after; None where there was none.
        reason: Why, in one sentence.
        run_key: What makes it idempotent: a run key has at most one entry.
    """

    sequence: int
    previous: str
    kind: Kind
    at: str
    by: str
    candidate: Candidate
    from_version: int | None
    to_version: int | None
    reason: str
    run_key: str

    @property
    def digest(self) -> str:
        """sha256 of the entry's canonical text; the next entry carries it."""
        return digest_of(self._body())

    def _body(self) -> dict[str, Any]:
        about = self.candidate
        return {
            "format": LEDGER_FORMAT,
            "sequence": self.sequence,
            "previous": self.previous,
            "kind": self.kind,
            "at": self.at,
            "by": self.by,
            "model_version": about.model_version,
            "model_digest": about.model_digest,
            "interval": [about.interval.start.isoformat(), about.interval.end.isoformat()],
            "train": vars(about.train),
            "mlflow_run_id": about.mlflow_run_id,
            "from": self.from_version,
            "to": self.to_version,
            "reason": self.reason,
            "run_key": self.run_key,
        }

    def to_json(self) -> bytes:
        """The stored form: the entry with its own digest, so that damage to the last entry shows too."""
        return canonical_json({**self._body(), "digest": self.digest})

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Entry:
        """Read a stored entry.

        Raises:
            IntegrityError: The bytes are not an entry of this format, or were changed.
        """
        try:
            raw = json.loads(data)
            claimed = raw.pop("digest")
            entry = cls._from_body(raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{name} is not a readable ledger entry: {error}", hint=RESTORE) from error
        if raw["format"] != LEDGER_FORMAT or entry.kind not in get_args(Kind):
            raise IntegrityError(
                f"{name} is a {entry.kind} entry of ledger format {raw['format']}, which this version cannot read.",
                hint="a newer Nightshift wrote it; use that one",
            )
        if digest_of(raw) != claimed:
            raise IntegrityError(f"{name} was changed after it was written: its digest does not match.", hint=RESTORE)
        return entry

    @classmethod
    def _from_body(cls, raw: Mapping[str, Any]) -> Entry:
        start, end = (datetime.fromisoformat(bound) for bound in raw["interval"])
        return cls(
            sequence=int(raw["sequence"]),
            previous=raw["previous"],
            kind=raw["kind"],
            at=raw["at"],
            by=raw["by"],
            candidate=Candidate(
                model_version=int(raw["model_version"]),
                model_digest=raw["model_digest"],
                interval=Interval(start, end),
                train=Ref(**raw["train"]),
                mlflow_run_id=raw["mlflow_run_id"],
            ),
            from_version=raw["from"],
            to_version=raw["to"],
            reason=raw["reason"],
            run_key=raw["run_key"],
        )


RESTORE = "restore the object from a backup or an older object version; never edit an entry"


@dataclass(frozen=True)
class Champion(Candidate):
    """A model version that was promoted.

    Attributes:
        sequence: The ledger entry that promoted it.
        promoted_at: ISO time in UTC of that entry.
    """

    sequence: int
    promoted_at: str

    @classmethod
    def of(cls, entry: Entry) -> Champion:
        return cls(**vars(entry.candidate), sequence=entry.sequence, promoted_at=entry.at)
