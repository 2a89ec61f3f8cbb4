"""The gate: what a challenger must prove, each check with the numbers that decided it.

Minimal by design: point estimates, one metric. No input or output here but plain values, so that the whole
decision table is tested without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nightshift.spec.models import Gates

Verdict = Literal["first", "better", "not_worse", "worse", "not_comparable"]
Status = Literal["succeeded", "refused"]

METRIC_WORDS = {"roc_auc": "ROC AUC"}


@dataclass(frozen=True)
class Check:
    """One condition.

    Attributes:
        name: ``floor``, ``majority``, ``majority_log_loss`` or ``champion``.
        passed: Whether it holds.
        value: What the challenger has; None where it could not be measured.
        bound: What it was held against.
        text: The condition and its numbers in a sentence.
    """

    name: str
    passed: bool
    value: float | None
    bound: float | None
    text: str


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows.

    Attributes:
        champion_version: The champion's version.
        rows: Rows that both were judged on.
        challenger, champion: The deciding metric of each; None where they cannot be compared.
        obstacle: Why they cannot be compared, or None.
    """

    champion_version: int
    rows: int
    challenger: float | None
    champion: float | None
    obstacle: str | None = None

    @property
    def difference(self) -> float | None:
        """Challenger less champion, to ten decimals: a margin of 0.005 must not hang on the last bit."""
        if self.challenger is None or self.champion is None:
            return None
        return round(self.challenger - self.champion, 10)


@dataclass(frozen=True)
class Judgement:
    """What the gate decided.

    Attributes:
        verdict: How the challenger stands against the champion.
        status: ``refused`` if any check failed.
        reason: Why it was refused, for a person; None if it was not.
        sentence: The outcome in one sentence, whichever it is.
        checks: Every condition.
    """

    verdict: Verdict
    status: Status
    reason: str | None
    sentence: str
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "checks": [asdict(check) for check in self.checks]}


def judge(
    challenger: Mapping[str, Any], majority: Mapping[str, Any], comparison: Comparison | None, gates: Gates
) -> Judgement:
    """Decide.

    Args:
        challenger: Metrics of the challenger on the holdout.
        majority: Metrics of the majority baseline on the same rows.
        comparison: None if there is no champion yet.
        gates: The spec's section.
    """
    checks = [_floor(challenger, gates), *_majority(challenger, majority)]
    if comparison is not None:
        checks.append(_champion(comparison, gates))
    failed = [check for check in checks if not check.passed]
    verdict = _verdict(comparison, gates)
    if failed:
        stays = "" if comparison is None else f" Champion v{comparison.champion_version} stays."
        reason = " ".join(check.text for check in failed) + stays
        return Judgement(verdict, "refused", reason, reason, tuple(checks))
    sentence = checks[-1].text if comparison is not None else f"{checks[0].text} It is the first champion."
    return Judgement(verdict, "succeeded", None, sentence, tuple(checks))


def _floor(challenger: Mapping[str, Any], gates: Gates) -> Check:
    value = float(challenger[gates.metric])
    passed = value >= gates.minimum
    shown, bound = _apart(value, gates.minimum)
    relation = "reaches" if passed else "is below"
    return Check(
        "floor", passed, value, gates.minimum, f"{METRIC_WORDS[gates.metric]} {shown} {relation} the floor of {bound}."
    )


def _majority(challenger: Mapping[str, Any], majority: Mapping[str, Any]) -> list[Check]:
    auc, loss = float(challenger["roc_auc"]), float(challenger["log_loss"])
    guess, guess_loss = float(majority["roc_auc"]), float(majority["log_loss"])
    auc_shown, guess_shown = _apart(auc, guess)
    loss_shown, guess_loss_shown = _apart(loss, guess_loss)
    ranks, informs = auc > guess, loss < guess_loss
    return [
        Check(
            "majority",
            ranks,
            auc,
            guess,
            f"ROC AUC {auc_shown} is {'above' if ranks else 'not above'} the {guess_shown} of guessing.",
        ),
        Check(
            "majority_log_loss",
            informs,
            loss,
            guess_loss,
            f"Log loss {loss_shown} is {'better' if informs else 'no better'} than the {guess_loss_shown} of always "
            "answering with the share of positives.",
        ),
    ]


def _champion(comparison: Comparison, gates: Gates) -> Check:
    name = f"champion v{comparison.champion_version}"
    margin = gates.versus_champion.margin
    difference = comparison.difference
    if difference is None or comparison.challenger is None or comparison.champion is None:
        return Check("champion", False, None, None, f"It cannot be compared with {name}: {comparison.obstacle}.")
    passed = difference >= -margin
    shown, theirs = _apart(comparison.challenger, comparison.champion)
    if difference == 0:
        relation = f"equal to {name}"
    else:
        relation = f"{_number(abs(difference))} {'above' if difference > 0 else 'below'} {name}'s {theirs}"
    allowed = f"; at most {_number(margin)} below is allowed" if difference < 0 else ""
    text = f"{METRIC_WORDS[gates.metric]} {shown} is {relation} on the same {comparison.rows:,} rows{allowed}."
    return Check("champion", passed, comparison.challenger, round(comparison.champion - margin, 10), text)


def _verdict(comparison: Comparison | None, gates: Gates) -> Verdict:
    if comparison is None:
        return "first"
    difference = comparison.difference
    if difference is None:
        return "not_comparable"
    if difference > 0:
        return "better"
    return "not_worse" if difference >= -gates.versus_champion.margin else "worse"


def _number(value: float) -> str:
    """Four decimals, or as many as it takes to tell it from zero."""
    return _apart(value, 0.0)[0]


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with four decimals, or as many as it takes to tell them apart."""
    for decimals in range(4, 11):
        texts = f"{one:.{decimals}f}", f"{other:.{decimals}f}"
        if texts[0] != texts[1] or one == other:
            break
    return texts
