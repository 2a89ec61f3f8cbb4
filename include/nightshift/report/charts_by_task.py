"""Pictures of models that tell several classes, or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from nightshift.report.svg import Frame, Point, Scale, element, hover, nice_ticks

# More classes than this are no picture that a person can read; the smallest are left out.
SHOWN_CLASSES = 10
LONGEST_NAME = 11
UPRIGHT_CLASSES = 4
WIDTH, HEIGHT = 340, 300
LEFT, BOTTOM = 52, 42


@dataclass(frozen=True)
class Confusion:
    """How many rows of each class are called which.

    Attributes:
        classes: Names, the same for rows and columns.
        counts: By class, then by called class.
        totals: Rows of each class, those included that are called one that is not drawn.
        left_out: Classes that are not drawn.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    totals: tuple[int, ...]
    left_out: int = 0

    @classmethod
    def read(cls, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Confusion:
        """The largest classes, in their own order."""
        largest = sorted(range(len(classes)), key=lambda place: -sum(counts[place]))[:SHOWN_CLASSES]
        kept = sorted(largest)
        return cls(
            tuple(classes[place] for place in kept),
            tuple(tuple(counts[row][column] for column in kept) for row in kept),
            tuple(sum(counts[row]) for row in kept),
            len(classes) - len(kept),
        )


@dataclass(frozen=True)
class Interval:
    """Rows with similar predictions: their mean, that of the labels, and the middle 80 % of these."""

    predicted: float
    observed: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Residuals:
    """Rows by prediction less label.

    Attributes:
        edges: Of the bins; the outermost two hold everything beyond as well.
        challenger: Rows of each bin.
        champion: Likewise; empty without one.
    """

    edges: tuple[float, ...]
    challenger: tuple[int, ...]
    champion: tuple[int, ...] = ()

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Residuals:
        return cls(tuple(raw["edges"]), tuple(raw["challenger"]), tuple(raw.get("champion") or ()))


def confusion(told: Confusion) -> Markup:
    """Of each class, the share that is called which; the darker, the more."""
    count = len(told.classes)
    slanted = count > UPRIGHT_CLASSES
    left, top, size = 84, (96 if slanted else 40), (WIDTH - 84 - (30 if slanted else 6)) / max(count, 1)
    height = min(size, 56.0)
    parts = [element("text", "called", x=left + count * size / 2, y=14, class_="label middle")]
    for row, (name, counts, total) in enumerate(zip(told.classes, told.counts, told.totals, strict=True)):
        y = top + row * height
        parts.append(element("text", _short(name), x=left - 8, y=y + height / 2 + 4, class_="tick end"))
        for column, (called, rows) in enumerate(zip(told.classes, counts, strict=True)):
            text = f"{rows:,} of {total:,} {name} are called {called}"
            side = "right" if row == column else "wrong"
            parts += _cell((left + column * size, y), (size, height), rows / max(total, 1), side=side, text=text)
    for column, name in enumerate(told.classes):
        x, y = left + (column + 0.5) * size, top - 8
        turn = f"rotate(-45 {x:.2f} {y})" if slanted else None
        where = "tick" if slanted else "tick middle"
        parts.append(element("text", _short(name), x=x, y=y, class_=where, transform=turn))
    bottom = round(top + count * height + 6)
    frame = Frame(Scale((0, 1), (left, WIDTH)), Scale((0, 1), (bottom, top)), WIDTH, bottom)
    return frame.drawing(parts, title="Confusion: of each class, the share that is called which")


def _cell(corner: Point, size: Point, share: float, *, side: str, text: str) -> list[Markup]:
    (x, y), (width, height) = corner, size
    box = {"x": x + 1, "y": y + 1, "width": width - 2, "height": height - 2, "rx": 3}
    strong = " strong" if share > 0.65 else ""
    return [
        element("rect", hover(text), **box, class_=f"cell {side}", fill_opacity=0.06 + 0.84 * share),
        element("text", _percent(share), x=x + width / 2, y=y + height / 2 + 4, class_=f"share middle{strong}"),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def agreement(challenger: Sequence[Interval], champion: Sequence[Interval] = ()) -> Markup:
    """Mean label against mean prediction in bins, with the middle 80 % of the labels; on the diagonal is right."""
    across = [one.predicted for one in (*challenger, *champion)]
    up = [*across, *(value for one in challenger for value in (one.low, one.high))]
    frame = _frame(_room(across), _room(up))
    low, high = frame.x.domain
    parts = [
        frame.axes(
            x_label="prediction",
            y_label="label",
            x_ticks=nice_ticks(low, high, about=4),
            y_ticks=nice_ticks(*frame.y.domain, about=5),
        ),
        frame.path([(low, low), (high, high)], class_="chance"),
    ]
    if champion:
        parts.append(frame.path([(one.predicted, one.observed) for one in champion], class_="curve champion"))
    for one in challenger:
        x = frame.x(one.predicted)
        parts.append(
            element("line", x1=x, x2=x, y1=frame.y(one.low), y2=frame.y(one.high), class_="whisker challenger")
        )
    parts.append(frame.path([(one.predicted, one.observed) for one in challenger], class_="curve challenger"))
    for one in challenger:
        text = f"{one.count:,} rows: predicted {one.predicted:.4g}, in fact {one.observed:.4g}"
        dot = {"cx": frame.x(one.predicted), "cy": frame.y(one.observed), "r": 3.5, "class_": "dot challenger"}
        parts.append(element("circle", hover(text), **dot))
    return frame.drawing(parts, title="Mean label by mean prediction")


def residuals(told: Residuals) -> Markup:
    """Rows by how far the prediction lies above the label; the champion as a line."""
    ours, theirs = (_shares(counts) for counts in (told.challenger, told.champion))
    frame = _frame((told.edges[0], told.edges[-1]), (0.0, 1.08 * (max([*ours, *theirs], default=1.0) or 1.0)))
    ticks = nice_ticks(*frame.x.domain, about=4)
    parts = [
        frame.axes(x_label="prediction less label", y_label="share of rows", x_ticks=ticks, y_ticks=_few(frame)),
        frame.path([(0, 0), (0, frame.y.domain[1])], class_="chance"),
    ]
    for (low, high), share, rows in zip(pairwise(told.edges), ours, told.challenger, strict=True):
        text = f"{rows:,} rows from {low:.4g} to {high:.4g}"
        box = {"x": frame.x(low) + 0.5, "width": max(frame.x(high) - frame.x(low) - 1, 0.5), "class_": "bar positive"}
        parts.append(element("rect", hover(text), y=frame.y(share), height=frame.y(0) - frame.y(share), **box))
    if theirs:
        steps: list[Point] = []
        for (low, high), share in zip(pairwise(told.edges), theirs, strict=True):
            steps += [(low, share), (high, share)]
        parts.append(frame.path(steps, class_="curve champion"))
    return frame.drawing(parts, title="Rows by prediction less label")


def _few(frame: Frame) -> list[float]:
    return nice_ticks(*frame.y.domain, about=4)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [rows / total for rows in counts]


def _room(values: Iterable[float]) -> Point:
    """From the lowest to the highest, and a little room on both sides."""
    found = list(values)
    low, high = min(found), max(found)
    spare = 0.04 * (high - low) or 1.0
    return low - spare, high + spare


def _frame(across: Point, up: Point) -> Frame:
    return Frame(Scale(across, (LEFT, WIDTH - 10)), Scale(up, (HEIGHT - BOTTOM, 10)), WIDTH, HEIGHT)
