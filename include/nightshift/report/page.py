"""From evidence to a page: which numbers, which pictures, in which words."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nightshift.evaluate.wording import decimals_for
from nightshift.plan import STAGES
from nightshift.report import charts
from nightshift.report.evaluation import Evaluation, Gain, Slice
from nightshift.report.evidence import Evidence
from nightshift.report.facts import facts, held_out
from nightshift.report.leaderboard import Leaderboard
from nightshift.report.looked_at import looked_at
from nightshift.report.measure import plain, short_name
from nightshift.report.pictures import pictures
from nightshift.spec.gates import Gates
from nightshift.stage import StageResult

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = files("nightshift.report") / "templates"


@dataclass(frozen=True)
class Figure:
    """A number of the row below the headline."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class StageLine:
    """One stage in the table of the run.

    Attributes:
        name: The stage.
        state: succeeded, reused, refused, skipped, failed, or not run.
        told: Its result in a few words.
        seconds: How long the attempt took that made its result; None if it made none.
        bar: That, drawn.
        ref: Name of the version.
        digest: Content digest of it.
    """

    name: str
    state: str
    told: str
    seconds: float | None
    bar: Markup
    ref: str
    digest: str


@dataclass(frozen=True)
class Command:
    """Something to type next."""

    why: str
    line: str


def html(evidence: Evidence) -> str:
    """The page, whole and self-contained: no script, no request to anywhere, one style sheet inside."""
    css = _css()
    evaluation = Evaluation.read(evidence.evaluation) if evidence.evaluation else None
    return _template().render(
        css=Markup(css),  # noqa: S704 our own file
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        evidence=evidence,
        plan=evidence.plan,
        outcome=evidence.outcome,
        figures=_figures(evidence, evaluation),
        evaluation=evaluation,
        pictures=pictures(evidence, evaluation),
        slices=_slices(evaluation),
        measure="" if evaluation is None else short_name(evaluation.metric),
        shares=evaluation is not None and evaluation.metric.task == "binary",
        gains=_gains(evidence, evaluation),
        looked_at=looked_at(evidence.evaluation, evidence.card),
        search=Leaderboard.read(evidence.search),
        stages=_stages(evidence),
        facts=_facts(evidence),
        commands=_commands(evidence),
        totals=_totals(evidence),
        expectations=_expectations(evidence.verdict),
        warnings=evidence.summary("validate").get("warnings") or [],
    )


@lru_cache(maxsize=1)
def _css() -> str:
    return "\n" + (TEMPLATES / "run.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: (TEMPLATES / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=_percent,
        count=_count,
        metric=_metric,
        shown=_shown,
        signed=_signed,
        short=lambda digest: digest[:12],
    )
    return environment.get_template("run.html")


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(share: float) -> str:
    return "0" if not share else f"{share:.2%}"


def _metric(value: float | None) -> str:
    return "–" if value is None else plain(value)


def _shown(value: float | str | None) -> str:
    return value if isinstance(value, str) else _metric(value)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+,.{decimals_for(value)}f}".replace("-", "−")


# -- parts -------------------------------------------------------------------------------------------


def _figures(evidence: Evidence, evaluation: Evaluation | None) -> list[Figure]:
    made = []
    if evaluation is not None:
        rows = f"on {evaluation.rows:,} held-out rows" if evaluation.rows is not None else ""
        name = f"{short_name(evaluation.metric)} of the challenger"
        made.append(Figure(name, _metric(evaluation.challenger), rows))
        if evaluation.challenger is not None:
            made.append(_standing_figure(evidence.plan.spec.gates, evaluation, evaluation.challenger))
    if evidence.days:
        last = evidence.days[-1]
        note = f"{last.quarantined:,} quarantined, {last.unlabelled:,} unlabelled"
        of = "the source" if evidence.plan.spec.source.static else last.day
        made.append(Figure(f"Rows of {of}", f"{last.rows_in:,}", note))
    total = sum(manifest.seconds for manifest in evidence.manifests.values())
    if evidence.manifests:
        slowest = max(evidence.manifests, key=lambda stage: evidence.manifests[stage].seconds)
        note = f"{slowest} took {evidence.manifests[slowest].seconds:.1f}"
        made.append(Figure("Seconds of work", f"{total:.1f}", note))
    return made


def _standing_figure(gates: Gates, evaluation: Evaluation, value: float) -> Figure:
    """Against the champion, with the interval; for a first model, against floor or ceiling."""
    if evaluation.champion is None:
        if evaluation.metric.higher_is_better:
            return Figure("Above the floor", _signed(value - gates.bound), f"floor {gates.bound:g}")
        return Figure("Below the ceiling", _metric(gates.bound - value), f"ceiling {gates.bound:g}")
    up = evaluation.metric.higher_is_better
    note = f"{'' if up else evaluation.metric.better + '; '}may lose {gates.margins.deciding:g} at most"
    tested = next((one for one in evaluation.gains if one.margin == "deciding"), None)
    if tested is not None:
        ends = (tested.lower, tested.upper) if up else (-tested.upper, -tested.lower)
        note = f"{100 * tested.confidence:.4g} % interval {_signed(ends[0])} to {_signed(ends[1])}; {note}"
    return Figure("Against the champion", _signed(value - evaluation.champion), note)


@dataclass(frozen=True)
class SliceCard:
    """The slices by one column.

    Attributes:
        column: Its name.
        lines: Slices that are large enough, each with its drawing; evaluate lists the largest first.
        small: The others.
    """

    column: str
    lines: list[tuple[Slice, Markup]]
    small: list[Slice]


@dataclass(frozen=True)
class GainLine:
    """One metric's gain over the champion.

    Attributes:
        gain: The numbers.
        drawn: Their picture.
        margin: The loss that does not matter.
        words: What the interval says.
    """

    gain: Gain
    drawn: Markup
    margin: float
    words: str


def _gains(evidence: Evidence, evaluation: Evaluation | None) -> list[GainLine]:
    margins, lines = evidence.plan.spec.gates.margins, []
    for gain in evaluation.gains if evaluation is not None else ():
        margin = float(getattr(margins, gain.margin))
        drawn = charts.interval(gain.value, gain.lower, gain.upper, margin=margin)
        lines.append(GainLine(gain, drawn, margin, _standing(gain, margin)))
    return lines


def _standing(gain: Gain, margin: float) -> str:
    """As the gate says it; the first that holds."""
    if gain.lower > 0:
        return "better"
    if gain.lower > -margin or gain.lower == gain.upper == 0:
        return "not worse"
    return "worse" if gain.upper < 0 or gain.value < -margin else "undecided"


def _slices(evaluation: Evaluation | None) -> list[SliceCard]:
    if evaluation is None:
        return []
    overall = evaluation.challenger
    values = [told for one in evaluation.slices for told in (one.challenger, one.champion, overall) if told is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    cards: dict[str, SliceCard] = {}
    for one in evaluation.slices:
        card = cards.setdefault(one.column, SliceCard(one.column, [], []))
        if one.challenger is None:
            card.small.append(one)
        else:
            tick = one.challenger if overall is None else overall
            drawn = charts.dots(one.challenger, one.champion, low=low, high=high, overall=tick)
            card.lines.append((one, drawn))
    return list(cards.values())


def _stages(evidence: Evidence) -> list[StageLine]:
    seconds = {stage: manifest.seconds for stage, manifest in evidence.manifests.items()}
    longest = max(seconds.values(), default=0.0) or 1.0
    lines = []
    for stage in STAGES:
        result, manifest = evidence.results.get(stage), evidence.manifests.get(stage)
        state, told = "not run", ""
        if result is not None:
            state = "reused" if result.reused else result.status
            told = _told(evidence, stage, result)
        elif evidence.outcome.failed_stage == stage:
            state = "failed" if evidence.outcome.kind == "failed" else "skipped"
            told = evidence.outcome.error.message.splitlines()[0] if evidence.outcome.error else ""
        lines.append(
            StageLine(
                name=stage,
                state=state,
                told=told,
                seconds=seconds.get(stage),
                bar=charts.bar(seconds[stage] / longest, class_="challenger") if stage in seconds else Markup(""),
                ref=str(manifest.ref) if manifest else "",
                digest=manifest.digest if manifest else "",
            )
        )
    return lines


def _expectations(verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each expectation over the whole window: how many rows it judged, how many fail, how many may."""
    window: Sequence[Mapping[str, Any]] = (verdict.get("expectations") or {}).get("window") or ()
    return [
        {
            "title": one["title"],
            "rows": one["rows"],
            "failed": one["failed"],
            "share": one["failed"] / one["rows"] if one["rows"] else 0.0,
            "allowed": 1 - one["mostly"],
        }
        for one in window
    ]


def _told(evidence: Evidence, stage: str, result: StageResult) -> str:
    """What a stage says for itself; deploy does not repeat what evaluate has just said."""
    evaluate = evidence.results.get("evaluate")
    if stage == "deploy" and evaluate is not None and evaluate.status == "refused":
        return "nothing to deploy: evaluate refused"
    return result.reason or facts(stage, result.summary)


def _totals(evidence: Evidence) -> dict[str, int | None]:
    """Rows of the whole window, on their way from source to model."""
    validate, preprocess = evidence.summary("validate"), evidence.summary("preprocess")
    days = evidence.days
    return {
        "rows in": validate.get("rows_in", sum(day.rows_in for day in days) if days else None),
        "quarantined": validate.get("quarantined", sum(day.quarantined for day in days) if days else None),
        "unlabelled": validate.get("unlabelled"),
        "filtered by prepare": preprocess.get("filtered"),
        "to train on": preprocess.get("train_rows"),
        "held out": preprocess.get("holdout_rows"),
    }


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Where everything comes from, so that the night can be repeated."""
    plan, card, register = evidence.plan, evidence.card, evidence.summary("register")
    rows: list[tuple[str, str | None]] = [
        ("Model version", f"v{register['model_version']}" if register.get("model_version") is not None else None),
        ("Model graph", evidence.summary("train").get("model_digest") or card.get("graph_sha256")),
        ("MLflow run", register.get("mlflow_run_id")),
        ("Champion before", _before(evidence)),
        ("Interval", str(plan.interval)),
        *held_out(plan),
        ("Engine", f"{card['engine']} {card.get('engine_version', '')}".strip() if card.get("engine") else None),
        ("Run", f"{plan.run_id} ({plan.trigger}), environment {plan.env}"),
        ("Code", plan.code_version),
    ]
    return [(name, value) for name, value in rows if value]


def _before(evidence: Evidence) -> str | None:
    """The version that was challenged; it is kept, whatever came of it."""
    champion: Mapping[str, Any] = evidence.evaluation.get("champion") or {}
    if not champion:
        return None
    return f"v{champion['version']}, {champion.get('train', '')}, graph {champion['digest']}"


def _commands(evidence: Evidence) -> list[Command]:
    """What people type after they have read this."""
    plan, outcome = evidence.plan, evidence.outcome
    model, night = shlex.quote(plan.model), plan.interval.night
    made = [Command("See this night among the others", f"nightshift history {model}")]
    if outcome.kind == "failed":
        again = f"nightshift run {model} --night {night}"
        made.insert(0, Command("Run the night again once the cause is gone; finished stages are not repeated", again))
        if outcome.error is not None and not outcome.error.retryable:
            made.insert(0, Command("Check the spec", f"nightshift validate {model}"))
        return made
    if outcome.kind == "promoted":
        made.append(
            Command("Ask the new champion; this prints a row to start from", f"nightshift predict {model} --example")
        )
    made.append(Command("See who is champion now", "nightshift status"))
    return made
