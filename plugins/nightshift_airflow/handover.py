"""What one task tells the next through XCom: names of versions and a few numbers, never data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nightshift.jobs import PublishedPlan
from nightshift.plan import Approval
from nightshift.stage import StageResult
from nightshift.storage import Ref


@dataclass(frozen=True)
class Handover:
    """The state of a run after some of its stages.

    Attributes:
        plan: The plan that the next task works by.
        night: The night, for people.
        results: What each stage did so far.
        approval: A person's answer, which the next task's plan will carry.
    """

    plan: PublishedPlan
    night: str
    results: Mapping[str, StageResult] = field(default_factory=dict)
    approval: Approval | None = None

    @property
    def refs(self) -> dict[str, Ref]:
        return {stage: result.ref for stage, result in self.results.items() if result.ref is not None}

    def followed_by(self, result: StageResult) -> Handover:
        return Handover(self.plan, self.night, {**self.results, result.stage: result})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; the newest stage's status and reason come first, where the UI shows them."""
        newest = list(self.results.values())[-1]
        return {"status": newest.status, "reason": newest.reason, **self.so_far()}

    def so_far(self) -> dict[str, Any]:
        """As plain JSON, while a stage is at work; there may be no result yet."""
        return {
            "night": self.night,
            "plan": asdict(self.plan),
            "results": {stage: result.to_dict() for stage, result in self.results.items()},
            **({"approval": asdict(self.approval)} if self.approval else {}),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Handover:
        return cls(
            plan=PublishedPlan(**raw["plan"]),
            night=raw["night"],
            results={stage: StageResult.from_dict(result) for stage, result in raw["results"].items()},
            approval=Approval(**raw["approval"]) if raw.get("approval") else None,
        )
