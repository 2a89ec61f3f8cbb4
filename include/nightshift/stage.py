"""What every stage is given and gives back: ``run(plan, io) -> StageResult``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nightshift.errors import NightshiftError
from nightshift.plan import CODE_OF_STAGE, Plan, code_digest, stages_of
from nightshift.storage import Attempt, Manifest, Ref, Store

Status = Literal["succeeded", "refused", "skipped"]
OUTCOME = "outcome"
"""In ingest's result, of a static source: key of what a night makes of the rows. See ``Plan.outcome_key``."""
CONCLUDES = "concludes"
"""In the last stage's result: the same key, once the night has come to a decision."""


@dataclass(frozen=True)
class StageResult:
    """What a stage did.

    Attributes:
        stage: Its name.
        status: ``refused`` when evaluate finds the challenger unfit; ``skipped`` when deploy did nothing, or when
            ingest found nothing new in a static source.
        ref: The version it published, or None if it published none.
        reused: The same result had been published before; nothing was repeated.
        summary: A few numbers for people.
        reason: Why it was refused or skipped.
    """

    stage: str
    status: Status
    ref: Ref | None
    reused: bool
    summary: Mapping[str, Any]
    reason: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, *, reused: bool) -> StageResult:
        """The result a published manifest stands for; ``status`` and ``reason`` travel in its result."""
        result = dict(manifest.result)
        status: Status = result.pop("status", "succeeded")
        return cls(manifest.dataset, status, manifest.ref, reused, result, result.pop("reason", None))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> StageResult:
        fields = dict(raw)
        ref = fields.pop("ref")
        return cls(ref=Ref(**ref) if ref else None, **fields)


@dataclass(frozen=True)
class StageIO:
    """What a stage may touch.

    Attributes:
        store: The model's area in storage.
        upstream: The versions that earlier stages of this run published, by stage.
        scratch: An empty folder for temporary files; deleted after the job.
        began: When the stage began, by ``time.monotonic()``; its manifest says how long it took.
    """

    store: Store
    upstream: Mapping[str, Ref]
    scratch: Path
    began: float = field(default_factory=time.monotonic)

    def given(self, stage: str) -> Manifest:
        """What an earlier stage published in this run.

        Raises:
            NightshiftError: It has not run, or published nothing.
            IntegrityError: What it published is gone or was changed.
            StorageError: The store failed.
        """
        if stage not in self.upstream:
            there = ", ".join(self.upstream) or "none"
            raise NightshiftError(
                f"this job was given no result of the stage {stage}; results it has: {there}.",
                hint=f"run the stage {stage} of this night first",
            )
        return self.store.resolve(self.upstream[stage])


def _conclusion(plan: Plan, io: StageIO, stage: str, result: Mapping[str, Any]) -> dict[str, str]:
    """What the last stage of a static source's night notes, so that later nights need not repeat it.

    A version that a hold kept from being promoted has come to nothing yet: it is in no entry of the ledger.
    """
    undecided = result.get("ledger_sequence", 0) is None
    if not plan.spec.source.static or stage != stages_of(plan.spec)[-1] or undecided:
        return {}
    return {CONCLUDES: io.given("ingest").result[OUTCOME]}


def once(
    plan: Plan,
    io: StageIO,
    stage: str,
    inputs: Mapping[str, Ref],
    build: Callable[[Attempt], Mapping[str, Any]],
    *,
    also: Mapping[str, str] | None = None,
) -> StageResult:
    """Publish a stage's result, unless the same one is already there.

    Args:
        plan: The run's plan.
        io: Where to write.
        stage: Name of the stage, also of its dataset.
        inputs: The versions it reads, by name.
        build: Puts files into the attempt and gives the small result; ``status`` and ``reason`` are
            special keys in it.
        also: Further digests that the result depends on.

    Raises:
        Overtaken: Another attempt, with another key, published first.
        StorageError: The store failed; another try finds out what is there.
    """
    key = key_of(plan, stage, inputs, also=also)
    # The attempt remembers the newest version first, so nothing can be published unseen while we look.
    attempt = io.store.attempt(stage, plan.interval.key, began=io.began)
    found = io.store.find(stage, plan.interval.key, key)
    if found is not None:
        return StageResult.of(found, reused=True)
    result = {**(made := build(attempt)), **_conclusion(plan, io, stage, made)}
    manifest = attempt.publish(stage_key=key, code=code_digest(CODE_OF_STAGE[stage]), inputs=inputs, result=result)
    return StageResult.of(manifest, reused=False)


def key_of(plan: Plan, stage: str, inputs: Mapping[str, Ref], *, also: Mapping[str, str] | None = None) -> str:
    """The stage key that ``once`` publishes a result under; arguments as there."""
    return plan.stage_key(stage, {**{name: ref.digest for name, ref in inputs.items()}, **(also or {})})
