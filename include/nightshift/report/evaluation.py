"""``evaluation.json`` as the page needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.ledger.blessings import Check
from nightshift.report.charts import CalibrationBin, Curve, ScoreBin
from nightshift.report.charts_by_task import Confusion, Interval, Residuals
from nightshift.report.measure import OLDEST, plain
from nightshift.spec.gate_metrics import METRICS, Metric

Json = Mapping[str, Any]

CHECK_NAMES = {
    "floor": "Floor",
    "ceiling": "Ceiling",
    "majority": "Guessing",
    "majority_log_loss": "Majority’s log loss",
    "constant": "Constant",
    "rmse": "RMSE",
    "mae": "MAE",
    "champion": "Champion",
    "best_single_feature": "Best single feature",
    "log_loss": "Log loss",
    "calibration": "Calibration",
    "slices": "Slices",
    "anchor": "Slow decline",
    "fairness": "Fairness",
}
VERDICT_WORDS = {
    "first": "first model",
    "better": "better",
    "not_worse": "not worse",
    "worse": "worse",
    "undecided": "undecided",
    "not_comparable": "not comparable",
}
COMPARED: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "binary": (
        ("roc_auc", "ROC AUC", "higher is better"),
        ("average_precision", "Average precision", "higher is better"),
        ("log_loss", "Log loss", "lower is better"),
        ("brier", "Brier score", "lower is better"),
        ("precision", "Precision", "at the model's threshold"),
        ("recall", "Recall", "at the model's threshold"),
        ("f1", "F1", "at the model's threshold"),
        ("threshold", "Threshold", "chosen on the training window"),
    ),
    "multiclass": (
        ("accuracy", "Accuracy", "higher is better"),
        ("log_loss", "Log loss", "lower is better"),
        ("roc_auc_ovr", "ROC AUC", "each class against the others, their mean; higher is better"),
        ("balanced_accuracy", "Balanced accuracy", "mean recall of the classes; higher is better"),
        ("f1_macro", "F1", "mean of the classes; higher is better"),
    ),
    "regression": (
        ("rmse", "RMSE", "in units of the label; lower is better"),
        ("mae", "MAE", "in units of the label; lower is better"),
        ("median_absolute_error", "Median error", "half of the rows are closer; lower is better"),
        ("r2", "R²", "share of the variance explained; higher is better"),
        ("bias", "Bias", "mean prediction less mean label; 0 is best"),
        ("mean_score", "Mean prediction", ""),
    ),
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae", "median_absolute_error"})
NEITHER = frozenset({"threshold", "mean_score", "bias"})


@dataclass(frozen=True)
class Gain:
    """What the challenger gains, with its interval; positive is good, whatever the metric.

    Attributes:
        name: The metric.
        margin: Which of the spec's margins is the loss that does not matter: deciding, second or calibration.
        value, lower, upper: The gain.
        confidence: Of the interval.
    """

    name: str
    margin: str
    value: float
    lower: float
    upper: float
    confidence: float


@dataclass(frozen=True)
class Compared:
    """One metric of challenger and champion on the same rows, and of the baselines where they have it."""

    name: str
    note: str
    challenger: float | None
    champion: float | None
    single: float | None
    majority: float | None
    better: str


@dataclass(frozen=True)
class Slice:
    """The holdout rows with one value of one column; what decides is None where they are too few."""

    column: str
    value: str
    rows: int
    positives: int | None
    challenger: float | None
    champion: float | None
    gain: Gain | None = None

    @property
    def share(self) -> float:
        return self.positives / self.rows if self.rows and self.positives else 0.0


@dataclass(frozen=True)
class ClassLine:
    """One class: rows that have it, rows that are called it, and how well the two agree."""

    name: str
    rows: int
    called: int
    precision: float
    recall: float
    auc: float | None
    champion_recall: float | None


@dataclass(frozen=True)
class Evaluation:
    """All evidence of one evaluation.

    Attributes:
        metric: The one that decides.
        rows: Of the holdout.
        labels: What there is to say of them, in words.
        challenger: What decides, on the rows that decided: those shared with the champion where there is one.
        champion_version, champion: None where there is no champion, or it could not be compared.
        obstacle: Why it could not.
        threshold: The challenger's.
        sentence: The gate's own words.
        verdict: How the challenger stands against the champion, in a word or two.
        gains: What the challenger gains; empty where there is nothing to compare.
        days: Days that both were judged on.
        unit: What the intervals take for independent: day, or row.
        expected: Promotions per 30 nights like this one if nothing had changed.
        warnings: What refuses nothing, and should be looked at.
        waived_by: Who took responsibility for which checks, until when, and why.
        checks, compared, curves, calibration, scores, slices: The evidence, in the page's order.
        classes, confusion: For several classes.
        agreement, champion_agreement, residuals: For numbers.
        single_feature: Name of the best single feature.
    """

    metric: Metric
    rows: int | None
    labels: str
    challenger: float | None
    champion_version: int | None
    champion: float | None
    obstacle: str | None
    threshold: float | None
    sentence: str | None
    checks: tuple[Check, ...]
    compared: tuple[Compared, ...]
    curves: tuple[Curve, ...]
    calibration: tuple[CalibrationBin, ...]
    champion_calibration: tuple[CalibrationBin, ...]
    scores: tuple[ScoreBin, ...]
    slices: tuple[Slice, ...]
    single_feature: str | None
    verdict: str = ""
    gains: tuple[Gain, ...] = ()
    days: int | None = None
    unit: str = "day"
    expected: float | None = None
    warnings: tuple[str, ...] = ()
    waived_by: str | None = None
    classes: tuple[ClassLine, ...] = ()
    confusion: Confusion | None = None
    agreement: tuple[Interval, ...] = ()
    champion_agreement: tuple[Interval, ...] = ()
    residuals: Residuals | None = None

    @classmethod
    def read(cls, raw: Json) -> Evaluation:
        """Read the evidence that evaluate published."""
        metric = METRICS[raw.get("metric", OLDEST)]
        numbers = metric.task == "regression"
        champion: Json = raw.get("champion") or {}
        own: Json = raw["challenger"]["metrics"]
        ours: Json = champion.get("challenger_on_same_rows") or own
        theirs: Json = champion.get("metrics") or {}
        single: Json = raw["baselines"].get("best_single_feature") or {}
        calibration: Json = raw.get("calibration") or {}
        return cls(
            metric=metric,
            rows=raw["holdout"].get("rows"),
            labels=_labels(raw["holdout"], raw.get("classes") or ()),
            challenger=ours.get(metric.name),
            champion_version=champion.get("version"),
            champion=theirs.get(metric.name),
            obstacle=champion.get("obstacle"),
            threshold=own.get("threshold"),
            sentence=raw.get("sentence"),
            checks=tuple(_check(check) for check in raw.get("checks") or ()),
            compared=tuple(_compared(metric, ours, theirs, single, raw["baselines"].get("majority") or {})),
            curves=tuple(_curves(raw.get("roc") or {}, own, champion, single)),
            calibration=() if numbers else _calibration(calibration.get("challenger")),
            champion_calibration=() if numbers else _calibration(calibration.get("champion")),
            scores=tuple(_scores(raw.get("histogram") or {})),
            slices=tuple(_slice(one, metric) for one in raw.get("slices") or ()),
            single_feature=single.get("feature"),
            verdict=_verdict(raw),
            gains=tuple(_gains(champion.get("gains") or {}, metric)),
            days=((champion.get("gains") or {}).get("deciding") or {}).get("days"),
            unit=champion.get("unit") or "day",
            expected=champion.get("expected_promotions_per_30"),
            warnings=tuple(raw.get("warnings") or ()),
            waived_by=_waived(raw.get("waived_by")),
            classes=tuple(_classes(ours, theirs)),
            confusion=Confusion.read(raw["classes"], raw["confusion"]["challenger"]) if "confusion" in raw else None,
            agreement=_agreement(calibration.get("challenger")) if numbers else (),
            champion_agreement=_agreement(calibration.get("champion")) if numbers else (),
            residuals=Residuals.read(raw["residuals"]) if "residuals" in raw else None,
        )


def _labels(holdout: Json, classes: Iterable[str]) -> str:
    """``312 of them positive``; empty where nothing was written down."""
    if holdout.get("positives") is not None:
        return f"{holdout['positives']:,} of them positive"
    if holdout.get("classes"):
        return ", ".join(f"{holdout['classes'][name]:,} {name}" for name in classes)
    if holdout.get("mean") is not None:
        return f"labels of {plain(holdout['mean'])} on average, give or take {plain(holdout['deviation'])}"
    return ""


def _classes(ours: Json, theirs: Json) -> Iterable[ClassLine]:
    before = {one["class"]: one["recall"] for one in theirs.get("by_class") or ()}
    for one in ours.get("by_class") or ():
        yield ClassLine(
            one["class"],
            one["rows"],
            one["called"],
            one["precision"],
            one["recall"],
            one["roc_auc"],
            before.get(one["class"]),
        )


def _agreement(raw: Iterable[Json] | None) -> tuple[Interval, ...]:
    return tuple(Interval(one["predicted"], one["observed"], one["low"], one["high"], one["rows"]) for one in raw or ())


def _check(raw: Json) -> Check:
    name = CHECK_NAMES.get(raw["name"], str(raw["name"]).replace("_", " ").capitalize())
    return Check(name, bool(raw["passed"]), raw.get("value"), raw.get("bound"), raw.get("text", ""))


def _verdict(raw: Json) -> str:
    word = VERDICT_WORDS.get(raw.get("verdict", ""), "")
    return f"{word}, a refresh" if raw.get("refresh") else word


def _waived(raw: Json | None) -> str | None:
    """Evidence of before waivers named checks has none: everything that failed was waived."""
    if raw is None:
        return None
    checks = ", ".join(raw.get("checks") or ("every check",))
    return f"{raw['by']} (ledger entry {raw['entry']}, up to {raw['expires']}, for {checks}): {raw['reason']}"


def _gains(raw: Json, metric: Metric) -> Iterable[Gain]:
    error = "Bias" if metric.task == "regression" else "Calibration error"
    lines = [("deciding", metric.words, "deciding"), ("calibration", error, "calibration")]
    if metric.second is not None:
        lines.insert(1, (metric.second, METRICS[metric.second].words, "second"))
    for key, name, margin in lines:
        if raw.get(key):
            yield _gain(raw[key], name, margin)


def _gain(raw: Json, name: str, margin: str) -> Gain:
    return Gain(name, margin, raw["value"], raw["lower"], raw["upper"], raw["confidence"])


def _compared(metric: Metric, ours: Json, theirs: Json, single: Json, majority: Json) -> Iterable[Compared]:
    for key, name, note in COMPARED[metric.task]:
        mine, other = ours.get(key), theirs.get(key)
        better = ""
        if mine is not None and other is not None and mine != other and key not in NEITHER:
            better = "challenger" if (mine > other) != (key in LOWER_IS_BETTER) else "champion"
        yield Compared(name, note, mine, other, single.get(key), majority.get(key), better)


def _curves(roc: Json, own: Json, champion: Json, single: Json) -> Iterable[Curve]:
    if roc.get("challenger"):
        yield Curve("challenger", "challenger", _points(roc["challenger"]), own.get("roc_auc"))
    if roc.get("champion"):
        value = (champion.get("metrics") or {}).get("roc_auc")
        yield Curve("champion", f"champion v{champion.get('version')}", _points(roc["champion"]), value)
    if roc.get("best_single_feature"):
        yield Curve(
            "baseline", f"{single.get('feature')} alone", _points(roc["best_single_feature"]), single.get("roc_auc")
        )


def _points(raw: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in raw)


def _calibration(raw: Iterable[Json] | None) -> tuple[CalibrationBin, ...]:
    return tuple(CalibrationBin(one["predicted"], one["observed"], one["rows"]) for one in raw or ())


def _scores(raw: Json) -> Iterable[ScoreBin]:
    edges = raw.get("edges") or ()
    for low, high, negatives, positives in zip(
        edges[:-1], edges[1:], raw.get("negative") or (), raw.get("positive") or (), strict=True
    ):
        yield ScoreBin(low, high, negatives, positives)


def _slice(raw: Json, metric: Metric) -> Slice:
    return Slice(
        column=raw["column"],
        value=str(raw["value"]),
        rows=raw["rows"],
        positives=raw.get("positives"),
        challenger=raw.get(metric.name),
        champion=raw.get(f"champion_{metric.name}"),
        gain=_gain(raw["gain"], metric.words, "deciding") if raw.get("gain") else None,
    )
