"""The gate: what a challenger must prove, each check with the numbers that decided it.

No input or output here but plain values, so that the whole decision table is tested without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from nightshift.evaluate import checks
from nightshift.evaluate.paired import Difference
from nightshift.ledger.blessings import Check
from nightshift.spec.gates import Gates

Verdict = Literal["first", "better", "not_worse", "worse", "undecided", "not_comparable"]
Status = Literal["succeeded", "refused"]


@dataclass(frozen=True)
class SliceGain:
    """One slice of the shared rows, large enough to be judged.

    Attributes:
        column, value: Which rows.
        rows: How many.
        gain: Of the metric that decides; its confidence is corrected for the number of slices (Bonferroni).
    """

    column: str
    value: str
    rows: int
    gain: Difference


@dataclass(frozen=True)
class Anchor:
    """Where slow decline is counted from: each night a little worse, never worse enough.

    Attributes:
        version: Its version.
        gain: What the challenger gains over it in the metric that decides; None if it could not be scored.
        obstacle: Why not.
        known_as: Why it is this one, for a person.
    """

    version: int
    gain: Difference | None
    obstacle: str | None = None
    known_as: str = "champion 30 days ago"


@dataclass(frozen=True)
class Gains:
    """What the challenger gains over the champion on the same rows; positive is good, whatever the metric.

    Attributes:
        deciding: Of the metric that decides.
        second: Of the metric that must not be worse either; None where there is none.
        calibration: Of calibration error, or of bias.
        slices: By slice.
        slices_left_out: Columns with more large slices than are judged, and how many are not.
    """

    deciding: Difference
    second: Difference | None
    calibration: Difference
    slices: tuple[SliceGain, ...] = ()
    slices_left_out: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows.

    Attributes:
        champion_version: The champion's version.
        rows: Rows that both were judged on.
        challenger, champion: The deciding metric of each; None where they cannot be compared.
        gains: What the challenger gains; None where they cannot be compared.
        age: From the champion's night to this one, by the nights' clock.
        anchor: Where slow decline is counted from; None if there was none, or it is the champion itself.
        obstacle: Why they cannot be compared, or None.
        unit: What the intervals take for independent: the day, or the row where rows have no day.
    """

    champion_version: int
    rows: int
    challenger: float | None
    champion: float | None
    gains: Gains | None
    age: timedelta = timedelta(0)
    anchor: Anchor | None = None
    obstacle: str | None = None
    unit: Literal["day", "row"] = "day"

    @property
    def difference(self) -> float | None:
        """What the challenger gains in the deciding metric; negative is a loss, whatever the metric."""
        return None if self.gains is None else self.gains.deciding.value


@dataclass(frozen=True)
class FairnessGap:
    """The largest difference of a rate between two groups.

    Attributes:
        gap: None where fewer than two groups are large enough.
        highest, lowest: The groups, each with its rate.
        small: Groups that are too small to be judged.
    """

    gap: float | None
    highest: tuple[str, float] | None = None
    lowest: tuple[str, float] | None = None
    small: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What the gate decided.

    Attributes:
        verdict: How the challenger stands against the champion.
        refresh: It is not surely better, and replaces the champion because of that one's age.
        status: ``refused`` if any check failed.
        reason: Why it was refused, for a person; None if it was not.
        sentence: The outcome in one sentence, whichever it is.
        checks: Every condition.
        warnings: What refuses nothing, and should be looked at.
    """

    verdict: Verdict
    refresh: bool
    status: Status
    reason: str | None
    sentence: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "checks": [asdict(check) for check in self.checks], "warnings": list(self.warnings)}


def judge(
    challenger: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    comparison: Comparison | None,
    gates: Gates,
    *,
    fairness: FairnessGap | None = None,
) -> Judgement:
    """Decide.

    Args:
        challenger: Metrics of the challenger on the holdout.
        baselines: Metrics of ``majority`` (of numbers: mean and median) on the same rows, and of
            ``best_single_feature`` for a first model.
        comparison: None if there is no champion yet.
        gates: The spec's section.
        fairness: What the declared attribute's groups show; None if the spec declares none.
    """
    metric = gates.decider
    made = [checks.bound(challenger, gates), *checks.guess(challenger, baselines["majority"], metric)]
    verdict = _verdict(comparison, gates)
    refresh = comparison is not None and refreshes(comparison, gates, verdict)
    if comparison is None:
        made.append(checks.single_feature(challenger, baselines["best_single_feature"], metric))
    else:
        made += checks.against(comparison, gates, verdict, refresh=refresh)
    if fairness is not None and gates.fairness is not None:
        made.append(checks.fairness(fairness, gates.fairness))
    warnings = tuple(checks.warnings(challenger, comparison, fairness, gates))
    failed = [check for check in made if not check.passed]
    if failed:
        stays = "" if comparison is None else f" Champion v{comparison.champion_version} stays."
        reason = " ".join(check.text for check in failed) + stays
        return Judgement(verdict, False, "refused", reason, reason, tuple(made), warnings)
    return Judgement(verdict, refresh, "succeeded", None, _success(made), tuple(made), warnings)


def _success(made: Sequence[Check]) -> str:
    against = next((check for check in made if check.name == "champion"), None)
    return against.text if against is not None else f"{made[0].text} It is the first champion."


def _verdict(comparison: Comparison | None, gates: Gates) -> Verdict:
    if comparison is None:
        return "first"
    if comparison.gains is None:
        return "not_comparable"
    return comparison.gains.deciding.standing(gates.margins.deciding)


def refreshes(comparison: Comparison, gates: Gates, verdict: Verdict) -> bool:
    """Whether the champion is so old that a challenger within the margin replaces it where the rule alone would not.

    Where the rule asks for better, that is one that is surely not worse too: it has proven more than an undecided one.
    """
    difference = comparison.difference
    waits = verdict == "undecided" or (verdict == "not_worse" and gates.versus_champion.rule == "better")
    return (
        waits
        and gates.max_age is not None
        and comparison.age > gates.max_age
        and difference is not None
        and difference > -gates.margins.deciding
    )


def share_promoted(gain: Difference, gates: Gates) -> float:
    """How often such a night would promote if challenger and champion were equally good.

    Only what the deciding metric's interval says; the other checks can only lower it, and an old champion's refresh
    raises it.
    """
    not_worse = gates.versus_champion.rule == "not_worse"
    return gain.share_above(-gates.margins.deciding if not_worse else 0.0)
