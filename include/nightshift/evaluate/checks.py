"""The gate's conditions, one by one, with the sentence that a tired person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nightshift.evaluate.wording import apart, interval, number, percent, relation, signed
from nightshift.ledger.blessings import Check
from nightshift.spec.gate_metrics import METRICS, Metric
from nightshift.spec.gates import Fairness, Gates
from nightshift.spec.values import format_duration

if TYPE_CHECKING:
    from nightshift.evaluate.gate import Anchor, Comparison, FairnessGap, Gains, SliceGain
    from nightshift.evaluate.paired import Difference

RATE_WORDS = {
    "true_positive_rate": "True positive rate",
    "false_positive_rate": "False positive rate",
    "positive_rate": "Share called positive",
}
GUESSES = {
    "roc_auc": "guessing",
    "roc_auc_ovr": "guessing",
    "accuracy": "always answering with the most frequent class",
    "rmse": "always answering with the mean",
    "mae": "always answering with the median",
}
# Nothing of a night's work gains this much; a column that tells the answer does. Of errors, as a share.
SUSPICIOUS_GAIN = 0.05
SUSPICIOUS_FALL = 0.2
SUSPICIOUS_VALUE = 0.995
TOLD_BY = {"r2": "R²"}
ANCHOR_MARGINS = 2


def bound(challenger: Mapping[str, Any], gates: Gates) -> Check:
    """The floor, or for errors the ceiling."""
    metric, value = gates.decider, float(challenger[gates.metric])
    up = metric.higher_is_better
    passed = value >= gates.bound if up else value <= gates.bound
    shown, limit = apart(value, gates.bound)
    words = {(True, True): "reaches", (True, False): "is below", (False, True): "is within", (False, False): "is above"}
    name = "floor" if up else "ceiling"
    text = f"{metric.words} {shown} {words[up, passed]} the {name} of {limit}."
    return Check(name, passed, value, gates.bound, text)


def guess(challenger: Mapping[str, Any], guessed: Mapping[str, Any], metric: Metric) -> list[Check]:
    """The metric that decides, and log loss where that must not be worse, against an answer that is always the same.

    Of numbers the second metric asks for another answer than the first: the means of a skewed label have a larger MAE
    than its median alone, though nobody can know more. So that one is held against the champion only.
    """
    names = [metric.name] if metric.second is None or metric.task == "regression" else [metric.name, metric.second]
    made = []
    for name in names:
        value, bound = float(challenger[name]), float(guessed[name])
        passed = value > bound if METRICS[name].higher_is_better else value < bound
        check = metric.guess if name == metric.name else f"{metric.guess}_{name}"
        made.append(Check(check, passed, value, bound, _guess_text(METRICS[name], metric, value, bound)))
    return made


def _guess_text(metric: Metric, decider: Metric, value: float, bound: float) -> str:
    shown, guessed = apart(value, bound)
    if metric.higher_is_better:
        side = "above" if value > bound else "not above"
        return f"{metric.words} {shown} is {side} the {guessed} of {GUESSES[metric.name]}."
    shares = "the share of positives" if decider.task == "binary" else "the shares of the classes"
    answer = GUESSES.get(metric.name, f"always answering with {shares}")
    return f"{metric.words} {shown} is {'better' if value < bound else 'no better'} than the {guessed} of {answer}."


def single_feature(challenger: Mapping[str, Any], single: Mapping[str, Any], metric: Metric) -> Check:
    """A first model must be worth more than a rule of thumb; later ones are held against the champion."""
    value, bound = float(challenger[metric.name]), float(single[metric.name])
    passed = value > bound if metric.higher_is_better else value < bound
    side = "above" if metric.higher_is_better else "below"
    shown, theirs = apart(value, bound)
    text = f"{metric.words} {shown} is {side if passed else f'not {side}'} the {theirs} of {single['feature']} alone."
    return Check("best_single_feature", passed, value, bound, text)


def against(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> list[Check]:
    """All that is judged against the champion."""
    made = [_champion(comparison, gates, verdict, refresh=refresh)]
    if comparison.gains is None:
        return made
    metric, margins, gains = gates.decider, gates.margins, comparison.gains
    rival = f"champion v{comparison.champion_version}"
    if gains.second is not None and metric.second is not None:
        words = METRICS[metric.second].words
        made.append(_not_worse(metric.second, words, gains.second, margins.second, rival))
    error = "Bias" if metric.task == "regression" else "Calibration error"
    made.append(_not_worse("calibration", error, gains.calibration, margins.calibration, rival))
    if gains.slices:
        made.append(_slices(gains.slices, margins.deciding, rival, metric))
    elif gates.slices:
        text = f"No slice by {', '.join(gates.slices)} was judged: none has enough rows."
        made.append(Check("slices", True, None, 0.0, text))
    if comparison.anchor is not None:
        made.append(_anchor(comparison.anchor, margins.deciding, metric))
    return made


def _champion(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> Check:
    rival, rule = f"champion v{comparison.champion_version}", gates.versus_champion
    gains, ours, theirs = comparison.gains, comparison.challenger, comparison.champion
    if gains is None or ours is None or theirs is None:
        return Check("champion", False, None, None, f"It cannot be compared with {rival}: {comparison.obstacle}.")
    passed = verdict == "better" or (verdict == "not_worse" and rule.rule == "not_worse") or refresh
    gain, metric, margin = gains.deciding, gates.decider, gates.margins.deciding
    shown, other = apart(ours, theirs)
    if gain.value == 0:
        stands = f"equal to {rival}"
    else:
        stands = f"{number(abs(gain.value))} {relation(gain.value, metric)} {rival}'s {other}"
    good = "" if metric.higher_is_better else f"{metric.better}; "
    rows = f"{comparison.rows:,} rows" + (f" of {gain.days} days" if comparison.unit == "day" else "")
    text = (
        f"{metric.words} {shown} is {stands} on the same {rows} "
        f"({good}{interval(gain, metric, -margin)}): {_words(comparison, gates, verdict, refresh=refresh)}."
    )
    bound = 0.0 if rule.rule == "better" else -margin
    if metric.higher_is_better:
        return Check("champion", passed, gain.lower, bound, text)
    return Check("champion", passed, -gain.lower, abs(bound), text)


def _words(comparison: Comparison, gates: Gates, verdict: str, *, refresh: bool) -> str:
    rule, metric, margin = gates.versus_champion, gates.decider, number(gates.margins.deciding)
    side = "below" if metric.higher_is_better else "higher"
    words = {
        "better": "better",
        "not_worse": f"not worse by more than {margin}",
        "worse": f"worse; at most {margin} {side} is allowed",
        "undecided": "undecided" if refresh else f"undecided; it may be more than {margin} {side}",
    }[verdict]
    if refresh and gates.max_age is not None:
        days = comparison.age.days
        return (
            f"{words}, and it replaces a champion of {days} days, older than max_age {format_duration(gates.max_age)}"
        )
    return f"{words}, and the rule asks for better" if verdict == "not_worse" and rule.rule == "better" else words


def _not_worse(name: str, words: str, gain: Difference, margin: float, rival: str) -> Check:
    """One more metric, lower is better, that must not be worse. Undecided passes: the first metric decides."""
    worse = gain.standing(margin) == "worse"
    if gain.value == 0:
        stands = f"is equal to {rival}'s"
    else:
        stands = f"is {number(abs(gain.value))} {'lower' if gain.value > 0 else 'higher'} than {rival}'s"
    reversed_ = f"{percent(gain.confidence)} interval {signed(-gain.upper)} to {signed(-gain.lower)}"
    end = f"worse; at most {number(margin)} higher is allowed" if worse else "not worse"
    return Check(name, not worse, -gain.value, margin, f"{words} {stands} ({reversed_}): {end}.")


def _slices(slices: tuple[SliceGain, ...], margin: float, rival: str, metric: Metric) -> Check:
    worse = [one for one in slices if slice_is_worse(one.gain, margin)]
    worst = min(slices, key=lambda one: (one.gain.upper, one.column, one.value))
    if not worse:
        text = f"None of {len(slices)} slices is worse than {rival}."
        return Check("slices", True, worst.gain.upper, 0.0, text)
    side = "below" if metric.higher_is_better else "higher"
    named = "; ".join(
        f"{one.column} {one.value} ({one.rows:,} rows) {number(abs(one.gain.value))} {side} "
        f"({interval(one.gain, metric)})"
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


def _anchor(anchor: Anchor, margin: float, metric: Metric) -> Check:
    limit = -ANCHOR_MARGINS * margin
    bound = limit if metric.higher_is_better else -limit
    name = f"v{anchor.version}, {anchor.known_as}"
    if anchor.gain is None:
        return Check("anchor", True, None, bound, f"Slow decline was not judged: {name}, {anchor.obstacle}.")
    value = anchor.gain.value
    passed = value >= limit
    side = relation(value, metric)
    allowed = f"at most {number(-limit)} {'below' if metric.higher_is_better else 'higher'} is allowed"
    end = "no slow decline" if passed else f"slow decline; {allowed}"
    text = f"{metric.words} is {number(abs(value))} {side} that of {name} ({interval(anchor.gain, metric)}): {end}."
    return Check("anchor", passed, value if metric.higher_is_better else -value, bound, text)


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
    yield from _too_good(challenger, comparison, gates.decider)
    if comparison is not None and comparison.gains is not None:
        yield from _slices_not_judged(comparison.gains, gates)
    if comparison is not None and comparison.anchor is not None and comparison.anchor.gain is None:
        yield f"Slow decline was not judged: v{comparison.anchor.version}, {comparison.anchor.obstacle}."
    if fairness is not None and fairness.gap is None and gates.fairness is not None:
        yield f"Fairness by {gates.fairness.attribute} was not judged: fewer than two groups have enough rows."


def _slices_not_judged(gains: Gains, gates: Gates) -> Iterator[str]:
    judged = {one.column for one in gains.slices}
    for column in gates.slices:
        if column not in judged:
            yield f"Slices by {column} were not judged: none has enough rows."
    for column, count in gains.slices_left_out:
        yield f"{count} slices by {column} have enough rows and were not judged: of a column the 50 largest are."


def _too_good(challenger: Mapping[str, Any], comparison: Comparison | None, metric: Metric) -> Iterator[str]:
    gain = comparison.difference if comparison is not None else None
    before = comparison.champion if comparison is not None else None
    verb, most = ("rose", SUSPICIOUS_GAIN) if metric.higher_is_better else ("fell", SUSPICIOUS_FALL * (before or 0.0))
    told = float(challenger[metric.told_by])
    if gain is not None and gain > most:
        yield (
            f"{metric.words} {verb} by {number(gain)} in one step: suspicious. Look for a column that knows the "
            "answer, or for a champion that was broken."
        )
    elif told > SUSPICIOUS_VALUE:
        words = METRICS[metric.told_by].words if metric.told_by in METRICS else TOLD_BY[metric.told_by]
        yield f"{words} {told:.4f} is suspicious. Look for a column that knows the answer."
