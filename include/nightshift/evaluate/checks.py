"""The gate's conditions, one by one, with the sentence that a tired person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nightshift.ledger.blessings import Check
from nightshift.spec.models import Fairness, Gates
from nightshift.spec.values import format_duration

if TYPE_CHECKING:
    from nightshift.evaluate.gate import Anchor, Comparison, FairnessGap, SliceGain
    from nightshift.evaluate.paired import Difference

METRIC_WORDS = {"roc_auc": "ROC AUC"}
RATE_WORDS = {
    "true_positive_rate": "True positive rate",
    "false_positive_rate": "False positive rate",
    "positive_rate": "Share called positive",
}
# Nothing of a night's work gains this much; a column that tells the answer does.
SUSPICIOUS_GAIN = 0.05
SUSPICIOUS_AUC = 0.995
ANCHOR_MARGINS = 2


def floor(challenger: Mapping[str, Any], gates: Gates) -> Check:
    value = float(challenger[gates.metric])
    passed = value >= gates.minimum
    shown, bound = apart(value, gates.minimum)
    relation = "reaches" if passed else "is below"
    text = f"{METRIC_WORDS[gates.metric]} {shown} {relation} the floor of {bound}."
    return Check("floor", passed, value, gates.minimum, text)


def majority(challenger: Mapping[str, Any], guess: Mapping[str, Any]) -> list[Check]:
    auc, loss = float(challenger["roc_auc"]), float(challenger["log_loss"])
    guess_auc, guess_loss = float(guess["roc_auc"]), float(guess["log_loss"])
    auc_shown, guess_shown = apart(auc, guess_auc)
    loss_shown, guess_loss_shown = apart(loss, guess_loss)
    ranks, informs = auc > guess_auc, loss < guess_loss
    return [
        Check(
            "majority",
            ranks,
            auc,
            guess_auc,
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


def single_feature(challenger: Mapping[str, Any], single: Mapping[str, Any]) -> Check:
    """A first model must be worth more than a rule of thumb; later ones are held against the champion."""
    value, bound = float(challenger["roc_auc"]), float(single["roc_auc"])
    passed = value > bound
    shown, theirs = apart(value, bound)
    text = f"ROC AUC {shown} is {'above' if passed else 'not above'} the {theirs} of {single['feature']} alone."
    return Check("best_single_feature", passed, value, bound, text)


def against(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> list[Check]:
    """All that is judged against the champion."""
    made = [_champion(comparison, gates, verdict, refresh=refresh)]
    if comparison.gains is None:
        return made
    rule, gains, rival = gates.versus_champion, comparison.gains, f"champion v{comparison.champion_version}"
    made.append(_not_worse("log_loss", "Log loss", gains.log_loss, rule.log_loss_margin, rival))
    made.append(_not_worse("calibration", "Calibration error", gains.calibration, rule.calibration_margin, rival))
    if gains.slices:
        made.append(_slices(gains.slices, rule.margin, rival))
    if comparison.anchor is not None:
        made.append(_anchor(comparison.anchor, rule.margin, METRIC_WORDS[gates.metric]))
    return made


def _champion(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> Check:
    rival, rule = f"champion v{comparison.champion_version}", gates.versus_champion
    gains, ours, theirs = comparison.gains, comparison.challenger, comparison.champion
    if gains is None or ours is None or theirs is None:
        return Check("champion", False, None, None, f"It cannot be compared with {rival}: {comparison.obstacle}.")
    passed = verdict == "better" or (verdict == "not_worse" and rule.rule == "not_worse") or refresh
    gain = gains.deciding
    shown, other = apart(ours, theirs)
    if gain.value == 0:
        relation = f"equal to {rival}"
    else:
        relation = f"{number(abs(gain.value))} {'above' if gain.value > 0 else 'below'} {rival}'s {other}"
    text = (
        f"{METRIC_WORDS[gates.metric]} {shown} is {relation} on the same {comparison.rows:,} rows of {gain.days} days "
        f"({interval(gain, -rule.margin)}): {_words(comparison, gates, verdict, refresh=refresh)}."
    )
    return Check("champion", passed, gain.lower, 0.0 if rule.rule == "better" else -rule.margin, text)


def _words(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> str:
    rule = gates.versus_champion
    if refresh and gates.max_age is not None:
        return (
            f"undecided, and it replaces a champion of {comparison.age.days} days, older than max_age "
            f"{format_duration(gates.max_age)}"
        )
    words = {
        "better": "better",
        "not_worse": f"not worse by more than {number(rule.margin)}",
        "worse": f"worse; at most {number(rule.margin)} below is allowed",
        "undecided": f"undecided; it may be more than {number(rule.margin)} below",
    }[verdict]
    return f"{words}, and the rule asks for better" if verdict == "not_worse" and rule.rule == "better" else words


def _not_worse(name: str, words: str, gain: Difference, margin: float, rival: str) -> Check:
    """One more metric, lower is better, that must not be worse. Undecided passes: the first metric decides."""
    worse = gain.standing(margin) == "worse"
    if gain.value == 0:
        relation = f"is equal to {rival}'s"
    else:
        relation = f"is {number(abs(gain.value))} {'lower' if gain.value > 0 else 'higher'} than {rival}'s"
    reversed_ = f"{percent(gain.confidence)} interval {signed(-gain.upper)} to {signed(-gain.lower)}"
    end = f"worse; at most {number(margin)} higher is allowed" if worse else "not worse"
    return Check(name, not worse, -gain.value, margin, f"{words} {relation} ({reversed_}): {end}.")


def _slices(slices: tuple[SliceGain, ...], margin: float, rival: str) -> Check:
    worse = [one for one in slices if slice_is_worse(one.gain, margin)]
    worst = min(slices, key=lambda one: (one.gain.upper, one.column, one.value))
    if not worse:
        text = f"None of {len(slices)} slices is worse than {rival}."
        return Check("slices", True, worst.gain.upper, 0.0, text)
    named = "; ".join(
        f"{one.column} {one.value} ({one.rows:,} rows) {number(abs(one.gain.value))} below ({interval(one.gain)})"
        for one in worse[:3]
    )
    more = f"; and {len(worse) - 3} more" if len(worse) > 3 else ""
    text = (
        f"{len(worse)} of {len(slices)} slices {'are' if len(worse) > 1 else 'is'} worse than {rival}: {named}{more}."
    )
    return Check("slices", False, worst.gain.upper, 0.0, text)


def slice_is_worse(gain: Difference, margin: float) -> bool:
    """Surely below, and not surely within the margin."""
    return gain.upper < 0 and gain.lower <= -margin


def _anchor(anchor: Anchor, margin: float, metric: str) -> Check:
    bound = -ANCHOR_MARGINS * margin
    name = f"v{anchor.version}, champion 30 days ago"
    if anchor.gain is None:
        return Check("anchor", True, None, bound, f"Slow decline was not judged: {name}, {anchor.obstacle}.")
    value = anchor.gain.value
    passed = value >= bound
    side = "above" if value >= 0 else "below"
    end = "no slow decline" if passed else f"slow decline; at most {number(-bound)} below is allowed"
    text = f"{metric} is {number(abs(value))} {side} that of {name} ({interval(anchor.gain)}): {end}."
    return Check("anchor", passed, value, bound, text)


def fairness(found: FairnessGap, declared: Fairness) -> Check:
    rate, by = RATE_WORDS[declared.metric], declared.attribute
    if found.gap is None or found.highest is None or found.lowest is None:
        text = f"{rate} by {by} was not judged: fewer than two groups have enough rows."
        return Check("fairness", True, None, declared.bound, text)
    passed = found.gap <= declared.bound
    (most, high), (least, low) = found.highest, found.lowest
    text = (
        f"{rate} by {by} is from {low:.3f} ({least}) to {high:.3f} ({most}), {number(found.gap)} apart; "
        f"{'within the allowed' if passed else 'allowed is'} {number(declared.bound)}."
    )
    return Check("fairness", passed, found.gap, declared.bound, text)


def warnings(
    challenger: Mapping[str, Any], comparison: Comparison | None, fairness: FairnessGap | None, gates: Gates
) -> Iterator[str]:
    """What refuses nothing, and should be looked at."""
    gain = comparison.difference if comparison is not None else None
    auc = float(challenger["roc_auc"])
    metric = METRIC_WORDS[gates.metric]
    if gain is not None and gain > SUSPICIOUS_GAIN:
        yield (
            f"{metric} rose by {number(gain)} in one step: suspicious. Look for a column that knows the answer, "
            "or for a champion that was broken."
        )
    elif auc > SUSPICIOUS_AUC:
        yield f"{metric} {auc:.4f} is suspicious. Look for a column that knows the answer."
    if comparison is not None and comparison.anchor is not None and comparison.anchor.gain is None:
        yield f"Slow decline was not judged: v{comparison.anchor.version}, {comparison.anchor.obstacle}."
    if fairness is not None and fairness.gap is None and gates.fairness is not None:
        yield f"Fairness by {gates.fairness.attribute} was not judged: fewer than two groups have enough rows."


# -- words ---------------------------------------------------------------------------------------------


def interval(gain: Difference, bound: float | None = None) -> str:
    """``95 % interval −0.0010 to +0.0040``; with as many decimals as it takes to tell its lower end from a bound."""
    decimals = 4
    if bound is not None and bound != gain.lower:
        while decimals < 10 and f"{gain.lower:.{decimals}f}" == f"{bound:.{decimals}f}":
            decimals += 1
    return f"{percent(gain.confidence)} interval {signed(gain.lower, decimals)} to {signed(gain.upper, decimals)}"


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def signed(value: float, decimals: int = 4) -> str:
    shown = f"{value:+.{decimals}f}".replace("-", "−")
    return shown if float(f"{value:.{decimals}f}") else f"{0:.{decimals}f}"


def number(value: float) -> str:
    """Four decimals, or as many as it takes to tell it from zero."""
    return apart(value, 0.0)[0]


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with four decimals, or as many as it takes to tell them apart."""
    for decimals in range(4, 11):
        texts = f"{one:.{decimals}f}", f"{other:.{decimals}f}"
        if texts[0] != texts[1] or one == other:
            break
    return texts
