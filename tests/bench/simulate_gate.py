"""The quality gate over a year of flights: how often it promotes, what that is worth, how often it is wrong.

    PYTHONPATH=. python tests/bench/simulate_gate.py [--first 2013-03-18] [--last 2013-12-30] [--candidates 30]
        [--only policies|candidates] [--models DIR]

Every night trains a model as the demo's spec says and is judged by the functions that the stage calls. Beside the
rule, the same nights are played with ``better``, with every model promoted, and with none after the first. What is
served is scored on the day after. On every tenth night or so, bad and good candidates are judged too, and pairs of one
model with noise. Seeded: the same versions of the libraries give the same numbers. Models and judgements are kept in
DIR, so that a run that was stopped goes on where it was. Half an hour on one core, and an hour more for the candidates.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.stats
import xgboost
from sklearn.metrics import roc_auc_score
from tests.fakes.flights import Fitted, FlightsNight, Scores, fit, levels_of, numeric_of, spec
from tests.mutation.candidates import BAD, GOOD, blurred, tonight

from nightshift.evaluate.gate import Judgement, share_promoted
from nightshift.evaluate.paired import log_losses
from nightshift.plan import DAY, Interval
from nightshift.spec.gates import Gates

NEW_DAY = timedelta(days=1)
PAIRS = 20
NOISE = 0.2


@dataclass
class Policy:
    """One way to decide, and what came of it.

    Attributes:
        name: For the table.
        decides: Whether a night's challenger replaces the champion.
        promoted: Nights that promoted, as numbers.
        auc, log_loss: Of what was served, on the day after each night.
    """

    name: str
    decides: Callable[[FlightsNight, Scores, Scores, timedelta], bool]
    champion: tuple[int, Fitted] | None = None
    promoted: list[int] = field(default_factory=list)
    auc: list[float] = field(default_factory=list)
    log_loss: list[float] = field(default_factory=list)

    def play(self, number: int, tonight: Tonight) -> None:
        if self.champion is None:
            self.champion = (number, tonight.model)
        else:
            since, theirs = self.champion
            if self.decides(
                tonight.night, tonight.held(tonight.model), tonight.held(theirs), (number - since) * NEW_DAY
            ):
                self.champion = (number, tonight.model)
                self.promoted.append(number)
        served = tonight.after(self.champion[1])
        if served is not None:
            self.auc.append(served[0])
            self.log_loss.append(served[1])


class Tonight:
    """A night with its model; what a model says of its rows is asked once for all policies."""

    def __init__(self, night: FlightsNight, model: Fitted) -> None:
        self.night, self.model = night, model
        end = night.windows.ingest.end
        self.next_day = night.rows(Interval(end, end + DAY))
        self._held: dict[int, Scores] = {}
        self._after: dict[int, tuple[float, float] | None] = {}

    def held(self, model: Fitted) -> Scores:
        """Scores of the holdout."""
        if id(model) not in self._held:
            self._held[id(model)] = model.scores(self.night.holdout)
        return self._held[id(model)]

    def after(self, model: Fitted) -> tuple[float, float] | None:
        """ROC AUC and log loss of the day after; None where it has one class."""
        if id(model) not in self._after:
            labels, scores = self.next_day["__label"].to_numpy(), model.scores(self.next_day)
            fit_to_judge = 0 < labels.sum() < len(labels)
            losses = log_losses(labels, scores)
            self._after[id(model)] = (
                (float(roc_auc_score(labels, scores)), float(losses.mean())) if fit_to_judge else None
            )
        return self._after[id(model)]


class Rule:
    """The gate of a spec; remembers what it said."""

    def __init__(self, gates: Gates) -> None:
        self.gates, self.said, self.expected = gates, list[Judgement](), list[float]()

    def __call__(self, night: FlightsNight, ours: Scores, theirs: Scores, age: timedelta) -> bool:
        judgement, comparison = night.judged(ours, theirs, gates=self.gates, age=age)
        self.said.append(judgement)
        assert comparison is not None
        assert comparison.gains is not None
        self.expected.append(share_promoted(comparison.gains.deciding, self.gates))
        return judgement.status == "succeeded"


def gates(**versus: object) -> Gates:
    raw = spec().gates.model_dump(mode="json")
    return Gates.model_validate({**raw, "versus_champion": {**raw["versus_champion"], **versus}})


def nights(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += NEW_DAY


def model_of(night: FlightsNight, folder: Path) -> Fitted:
    """Tonight's model, from the folder where it is there."""
    path = folder / f"{night.night}.ubj"
    if path.exists():
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(path)
        return Fitted(numeric_of(()), levels_of(night.train, ()), booster)
    found = fit(night.train)
    found.booster.save_model(path)
    return found


def wilson(hits: int, count: int) -> str:
    """A share with its 95 % interval; nights are not independent, so it is a little too narrow."""
    z = 1.96
    share = hits / count
    middle = (share + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / 4 / count / count)
    return f"{hits} of {count}, {100 * share:.0f} % ({100 * max(middle - half, 0):.0f} to {100 * min(middle + half, 1):.0f})"


def of_nights(shares: Sequence[float]) -> str:
    """The 95 % interval of a mean share whose unit is the night: what is odd about a night moves all its candidates."""
    half = scipy.stats.t.ppf(0.975, len(shares) - 1) * np.std(shares, ddof=1) / math.sqrt(len(shares))
    return f"{100 * max(np.mean(shares) - half, 0):.0f} to {100 * min(np.mean(shares) + half, 1):.0f}"


def longest_gap(promoted: Sequence[int], count: int) -> int:
    """The most nights in a row without a promotion; the first night is one."""
    marks = [0, *promoted, count]
    return max(after - before - 1 for before, after in pairwise(marks))


def simulate(days: Sequence[date], folder: Path) -> None:
    rule, better = Rule(spec().gates), Rule(gates(rule="better"))
    policies = [
        Policy("the rule (`not_worse`, margin 0.005)", rule),
        Policy("`rule: better`", better),
        Policy("promote every night", lambda *_: True),
        Policy("never promote again", lambda *_: False),
    ]
    for number, day in enumerate(days):
        night = FlightsNight(day)
        tonight_ = Tonight(night, model_of(night, folder))
        for policy in policies:
            policy.play(number, tonight_)
        if number % 20 == 19:
            print(f"  {day}: {len(policies[0].promoted)} of {number} nights promoted", flush=True)
    count = len(days) - 1
    print("\n| policy | promoted | longest gap | AUC of the day after | log loss |\n| --- | --- | --- | --- | --- |")
    for policy in policies:
        print(
            f"| {policy.name} | {wilson(len(policy.promoted), count)} | {longest_gap(policy.promoted, len(days))} nights "
            f"| {np.mean(policy.auc):.4f} | {np.mean(policy.log_loss):.4f} |"
        )
    told = [said.verdict for said in rule.said]
    reasons = [check.name for said in rule.said for check in said.checks if not check.passed]
    print("\nverdicts:", {name: told.count(name) for name in sorted(set(told))})
    print("refused by:", {name: reasons.count(name) for name in sorted(set(reasons))})
    print("refreshes:", sum(said.refresh for said in rule.said))
    print(f"expected if nothing had changed: {100 * np.mean(rule.expected):.0f} % of nights")


def judgements_of(day: date, folder: Path) -> dict[str, dict[str, str]]:
    """What the gate says of every candidate of a night, and of pairs of the night's champion with noise: verdicts and
    statuses by kind and name; from the folder where they are there."""
    path = folder / f"{day}.json"
    if path.exists():
        known: dict[str, dict[str, str]] = json.loads(path.read_text())
        return known
    night = FlightsNight(day)
    night.models["champion"] = model_of(FlightsNight(day - NEW_DAY), folder)
    night.models["tonight"] = model_of(night, folder)
    champion = night.champion
    tonight(night)
    random = np.random.default_rng(day.toordinal())
    pairs = [[blurred(champion, NOISE, random) for _ in range(2)] for _ in range(PAIRS)]
    found = {
        "bad": {one.name: night.judge(one.make(night), champion).status for one in BAD},
        "good": {one.name: night.judge(one.make(night), champion).status for one in GOOD},
        "noise": {str(number): night.judge(one, other).verdict for number, (one, other) in enumerate(pairs)},
    }
    path.write_text(json.dumps(found))
    return found


def judge_candidates(days: Sequence[date], folder: Path) -> None:
    """Pass and refusal rates of the mutation suite's candidates, on nights that were not chosen for it."""
    found = []
    for day in days:
        found.append(judgements_of(day, folder))
        print(f"  candidates of {day}, {len(found)} of {len(days)}", flush=True)
    for kind, wanted, title in (
        ("bad", "refused", "bad candidate | refused"),
        ("good", "succeeded", "good candidate | passed"),
    ):
        print(f"\n| {title} |\n| --- | --- |")
        for name in found[0][kind]:
            print(f"| {name} | {wilson(sum(one[kind][name] == wanted for one in found), len(found))} |")
        every = [status for one in found for status in one[kind].values()]
        shares = [np.mean([status == wanted for status in one[kind].values()]) for one in found]
        print(f"| all | {wilson(every.count(wanted), len(every))}; nights as units: {of_nights(shares)} |")
    told = [verdict for one in found for verdict in one["noise"].values()]
    print(f"\npairs of one model, noise {NOISE}: {dict((name, told.count(name)) for name in sorted(set(told)))}")
    print("called better:", wilson(told.count("better"), len(told)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=date.fromisoformat, default=date(2013, 3, 18))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2013, 12, 30))
    parser.add_argument("--candidates", type=int, default=30, help="nights on which candidates are judged")
    parser.add_argument("--only", choices=("policies", "candidates"), help="one part of the two")
    parser.add_argument("--models", type=Path, help="where models are kept between runs")
    given = parser.parse_args()
    days = list(nights(given.first, given.last))
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{len(days)} nights, {days[0]} to {days[-1]}", flush=True)
        if given.only != "candidates":
            simulate(days, folder)
        if given.only != "policies":
            places = np.linspace(1, len(days) - 1, given.candidates).round().astype(int)
            judge_candidates([days[place] for place in np.unique(places)], folder)


if __name__ == "__main__":
    main()
