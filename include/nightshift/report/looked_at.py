"""Which columns the challenger goes by, as the page shows it: by SHAP, by permutation, or by gain on older nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from nightshift.report import charts
from nightshift.report.measure import plain, short_name
from nightshift.spec.gate_metrics import METRICS

Json = Mapping[str, Any]

TOP = 15
TOP_OF_SLICE = 3
UNITS = {
    "log-odds": "in log-odds",
    "margin": "in units of the margin before softmax, on average over the classes",
    "probability": "in units of probability",
    "value": "in units of the label",
}
SHAP = {"tree_shap": "SHAP values", "linear_shap": "SHAP values (of a linear model: coefficient times distance)"}


@dataclass(frozen=True)
class Column:
    """One column, with what it is worth and its share of all, both as people read them."""

    name: str
    bar: Markup
    worth: str
    share: str


@dataclass(frozen=True)
class SliceLine:
    """The columns that matter most on the rows of one value, with their shares."""

    value: str
    rows: int
    first: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LookedAt:
    """What the page shows.

    Attributes:
        note: What the numbers are, of which rows.
        columns: At most 15, the largest first.
        left_out: How many columns are not shown.
        slices: By the column that makes the slices.
    """

    note: str
    columns: tuple[Column, ...]
    left_out: int
    slices: Mapping[str, tuple[SliceLine, ...]]


def looked_at(evaluation: Json, card: Json) -> LookedAt | None:
    """From the evidence, or None where there is nothing to show.

    Args:
        evaluation: ``evaluation.json``; empty if the run did not get that far.
        card: ``model.json``; empty likewise.
    """
    told: Json | None = evaluation.get("explanation")
    if told is None:
        return _by_gain(card.get("importances") or {})
    slices: dict[str, list[SliceLine]] = {}
    for one in told["slices"]:
        first = tuple((of["column"], _share(of["share"])) for of in one["columns"][:TOP_OF_SLICE] if of["share"] > 0)
        slices.setdefault(one["column"], []).append(SliceLine(one["value"], one["rows"], first))
    worths = [(of["column"], of["value"], of["share"]) for of in told["columns"]]
    return _of(_note(told), worths, {column: tuple(lines) for column, lines in slices.items()})


def _by_gain(gains: Mapping[str, float]) -> LookedAt | None:
    total = sum(gains.values())
    if not total:
        return None
    ordered = sorted(gains.items(), key=lambda item: (-item[1], item[0]))
    found = _of("Share of the total gain of all splits.", [(name, gain, gain / total) for name, gain in ordered], {})
    return LookedAt(
        found.note, tuple(Column(one.name, one.bar, "", one.share) for one in found.columns), found.left_out, {}
    )


def _of(note: str, worths: Sequence[tuple[str, float, float]], slices: Mapping[str, tuple[SliceLine, ...]]) -> LookedAt:
    largest = max((worth for _, worth, _ in worths), default=0.0) or 1.0
    columns = tuple(
        Column(name, charts.bar(worth / largest, class_="challenger"), plain(worth), _share(share))
        for name, worth, share in worths[:TOP]
    )
    return LookedAt(note, columns, max(len(worths) - TOP, 0), slices)


def _note(told: Json) -> str:
    rows = f"{told['rows']:,} held-out rows"
    if told["method"] == "permutation":
        measure = short_name(METRICS[told["unit"]])
        verb = "loses" if METRICS[told["unit"]].higher_is_better else "grows by"
        return (
            f"What {measure} {verb} when a column's values are dealt out anew among {rows}, "
            f"on average over {told['repeats']} deals."
        )
    return (
        f"How far each column moves the score, {UNITS[told['unit']]}: the mean size of the {SHAP[told['method']]} of "
        f"{rows}, compared with {told['background_rows']:,} rows of the training window."
    )


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
