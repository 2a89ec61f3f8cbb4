"""The report's pictures. Each takes plain numbers and gives one SVG drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from nightshift.report.svg import Frame, Point, Scale, element, hover, join, nice_ticks, number, thin_out

Role = Literal["challenger", "champion", "baseline"]
DAY_CHART_HEIGHT = 168
UNIT_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Curve:
    """One line of a plot, with the name and value that its legend shows."""

    role: Role
    name: str
    points: Sequence[Point]
    value: float | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """Rows with similar scores: their mean score, the share that was positive, and how many there are."""

    predicted: float
    observed: float
    count: int

    def interval(self) -> Point:
        """Wilson's 95 % interval of the observed share."""
        z, n = 1.96, max(self.count, 1)
        centre = (self.observed + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.observed * (1 - self.observed) / n + z * z / (4 * n * n))
        return max(centre - half, 0.0), min(centre + half, 1.0)


@dataclass(frozen=True)
class ScoreBin:
    """Rows whose score lies in ``[low, high)``, by what they turned out to be."""

    low: float
    high: float
    negatives: int
    positives: int


@dataclass(frozen=True)
class DayBar:
    """One day of the window.

    Attributes:
        day: ISO date.
        window: What the night used the day for.
        clean, quarantined: Rows.
        unlabelled: How many of the clean rows have no label.
    """

    day: str
    window: Literal["train", "holdout", "waiting"]
    clean: int
    quarantined: int
    unlabelled: int

    @property
    def rows_in(self) -> int:
        return self.clean + self.quarantined


def roc(curves: Sequence[Curve]) -> Markup:
    """ROC curves over the line of chance; the first curve lies on top."""
    frame = Frame.unit()
    parts = [
        frame.axes(x_label="false positive rate", y_label="true positive rate", x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS),
        frame.path([(0, 0), (1, 1)], class_="chance"),
    ]
    parts += [frame.path(thin_out(curve.points), class_=f"curve {curve.role}") for curve in reversed(curves)]
    return frame.drawing(parts, title="ROC: " + ", ".join(_spoken(curve) for curve in curves))


def calibration(
    challenger: Sequence[CalibrationBin],
    champion: Sequence[CalibrationBin] = (),
    *,
    axes: tuple[str, str] = ("predicted probability", "observed share"),
) -> Markup:
    """Observed share against mean score, with 95 % intervals; on the diagonal is right."""
    frame = Frame.unit()
    parts = [
        frame.axes(x_label=axes[0], y_label=axes[1], x_ticks=UNIT_TICKS, y_ticks=UNIT_TICKS),
        frame.path([(0, 0), (1, 1)], class_="chance"),
    ]
    if champion:
        parts.append(frame.path([(bin_.predicted, bin_.observed) for bin_ in champion], class_="curve champion"))
    for bin_ in challenger:
        low, high = bin_.interval()
        x = frame.x(bin_.predicted)
        parts.append(element("line", x1=x, x2=x, y1=frame.y(low), y2=frame.y(high), class_="whisker challenger"))
    parts.append(frame.path([(bin_.predicted, bin_.observed) for bin_ in challenger], class_="curve challenger"))
    for bin_ in challenger:
        text = f"{bin_.count:,} rows: predicted {bin_.predicted:.3f}, observed {bin_.observed:.3f}"
        parts.append(
            element(
                "circle",
                hover(text),
                cx=frame.x(bin_.predicted),
                cy=frame.y(bin_.observed),
                r=3.5,
                class_="dot challenger",
            )
        )
    return frame.drawing(parts, title=f"Calibration: {axes[1]} by {axes[0]}")


def scores(bins: Sequence[ScoreBin], *, threshold: float | None) -> Markup:
    """Positives above the line and negatives below it, each as a share of its own class."""
    width, height = 340, 300
    positives, negatives = sum(bin_.positives for bin_ in bins), sum(bin_.negatives for bin_ in bins)
    shares = [(bin_.positives / max(positives, 1), bin_.negatives / max(negatives, 1)) for bin_ in bins]
    # Room above the tallest bar for the names of the classes.
    top = 1.2 * (max((max(pair) for pair in shares), default=1.0) or 1.0)
    frame = Frame(Scale((0, 1), (44, width - 10)), Scale((-top, top), (height - 42, 10)), width, height)
    marks = []
    for bin_, (positive, negative) in zip(bins, shares, strict=True):
        x, bar = frame.x(bin_.low) + 0.75, frame.x(bin_.high) - frame.x(bin_.low) - 1.5
        for share, count, name in ((positive, bin_.positives, "positive"), (-negative, bin_.negatives, "negative")):
            y0, y1 = sorted((frame.y(0), frame.y(share)))
            text = f"score {bin_.low:.2f} to {bin_.high:.2f}: {count:,} {name}"
            marks.append(element("rect", hover(text), x=x, y=y0, width=bar, height=y1 - y0, class_=f"bar {name}"))
    ticks = nice_ticks(0, top, about=3)
    axis = [element("line", x1=frame.x(0), x2=frame.x(1), y1=frame.y(0), y2=frame.y(0), class_="axis")]
    for tick in ticks:
        for y in {frame.y(tick), frame.y(-tick)}:
            axis.append(element("line", x1=frame.x(0), x2=frame.x(1), y1=y, y2=y, class_="grid"))
        axis.append(element("text", f"{tick:.0%}", x=38.0, y=frame.y(tick) + 4, class_="tick end"))
        if tick:
            axis.append(element("text", f"{tick:.0%}", x=38.0, y=frame.y(-tick) + 4, class_="tick end"))
    axis += [element("text", f"{tick:g}", x=frame.x(tick), y=height - 25, class_="tick middle") for tick in UNIT_TICKS]
    axis.append(element("text", "score", x=frame.x(0.5), y=height - 6, class_="label middle"))
    note = [
        element("text", "positives", x=frame.x(1), y=frame.y(top) + 12, class_="note end positive"),
        element("text", "negatives", x=frame.x(1), y=frame.y(-top) - 5, class_="note end negative"),
    ]
    if threshold is not None:
        x = frame.x(threshold)
        note.append(element("line", x1=x, x2=x, y1=frame.y(-top), y2=frame.y(top), class_="threshold"))
        side = "end" if threshold > 0.7 else ""
        shift = -5 if side else 5
        note.append(
            element("text", f"threshold {threshold:.2f}", x=x + shift, y=frame.y(top) + 28, class_=f"note {side}")
        )
    return frame.drawing([*axis, *marks, *note], title="Scores of positives and of negatives")


def days(bars: Sequence[DayBar]) -> Markup:
    """Rows of each day, with what the night used the day for.

    Positions across are shares of the width, so that text keeps its size on every screen. Labels of the
    vertical axis lie left of the drawing; the page leaves room for them.
    """
    if not bars:
        return Markup("")
    top = max(bar.rows_in for bar in bars) or 1
    y = Scale((0, top), (DAY_CHART_HEIGHT - 42, 22))
    step = 100 / len(bars)
    parts = [_band(bars, window, step) for window in ("train", "holdout", "waiting")]
    for tick in nice_ticks(0, top, about=3):
        parts.append(element("line", x1="0", x2="100%", y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", f"{tick:,.0f}", x=-8, y=y(tick) + 4, class_="tick end"))
    for index, one in enumerate(bars):
        parts.append(_day_bar(one, x=index * step, width=step, y=y))
    parts.append(element("line", x1="0", x2="100%", y1=y(0), y2=y(0), class_="axis"))
    parts += _dates(bars, step)
    title = f"Rows by day from {bars[0].day} to {bars[-1].day}"
    return element("svg", join(parts), class_="days", role="img", aria_label=title, height=DAY_CHART_HEIGHT)


def _dates(bars: Sequence[DayBar], step: float) -> list[Markup]:
    """The first and the last day, and the beginnings of months that have room between them."""
    y = DAY_CHART_HEIGHT - 25
    made = [
        element("text", bars[0].day, x="0", y=y, class_="tick"),
        element("text", bars[-1].day, x="100%", y=y, class_="tick end"),
    ]
    for index, bar in enumerate(bars):
        if bar.day.endswith("-01") and 16 < index * step < 80:
            made.append(element("text", bar.day, x=_percent((index + 0.5) * step), y=y, class_="tick middle inner"))
    return made


def _band(bars: Sequence[DayBar], window: str, step: float) -> Markup:
    """The stretch of days of one window: a line below the bars and its name."""
    places = [index for index, bar in enumerate(bars) if bar.window == window]
    if not places:
        return Markup("")
    start, end = places[0] * step, (places[-1] + 1) * step
    names = {"train": f"train, {len(places)} days", "holdout": f"holdout, {len(places)}", "waiting": "labels to come"}
    line = element(
        "rect",
        hover(names[window]),
        x=_percent(start),
        width=_percent(max(end - start - 0.3, 0.2)),
        y=DAY_CHART_HEIGHT - 15,
        height=4,
        rx=2,
        class_=f"band {window}",
    )
    text = Markup("")
    if window != "waiting":
        middle = _percent((start + end) / 2)
        text = element("text", names[window], x=middle, y=12, class_="note middle")
    back = element(
        "rect",
        x=_percent(start),
        width=_percent(end - start),
        y=0,
        height=DAY_CHART_HEIGHT - 42,
        class_=f"zone {window}",
    )
    return back + line + text


def _day_bar(bar: DayBar, *, x: float, width: float, y: Scale) -> Markup:
    """One day: rows with a label, then those without, then the quarantined, which are never too few to be seen."""
    text = f"{bar.day}: {bar.rows_in:,} rows in, {bar.quarantined:,} quarantined, {bar.unlabelled:,} unlabelled"
    pieces, base = [], 0
    parts = ((bar.clean - bar.unlabelled, "labelled"), (bar.unlabelled, "unlabelled"), (bar.quarantined, "quarantined"))
    for count, name in parts:
        if count:
            height = y(base) - y(base + count)
            if name == "quarantined":
                height = max(height, 2.5)
            pieces.append(
                element(
                    "rect",
                    x=_percent(x + width * 0.12),
                    width=_percent(width * 0.76),
                    y=y(base) - height,
                    height=height,
                    class_=f"day {name}",
                )
            )
        base += count
    return element("g", hover(text) + join(pieces))


def bar(share: float, *, class_: str) -> Markup:
    """A horizontal bar that fills this share of its cell."""
    width = _percent(100 * min(max(share, 0.0), 1.0))
    return element(
        "svg", element("rect", width=width, height="100%", rx=2, class_=class_), class_="bar", aria_hidden="true"
    )


def dots(challenger: float, champion: float | None, *, low: float, high: float, overall: float) -> Markup:
    """Challenger and champion on one line between two bounds, with the overall value as a tick."""
    scale = Scale((low, high), (3, 97))
    mark = _percent(scale(overall))
    parts = [
        element("line", x1="0", x2="100%", y1="50%", y2="50%", class_="rail"),
        element("line", x1=mark, x2=mark, y1="0", y2="100%", class_="overall"),
    ]
    here = _percent(scale(challenger))
    if champion is not None:
        there = _percent(scale(champion))
        parts.append(element("line", x1=there, x2=here, y1="50%", y2="50%", class_="between"))
        parts.append(element("circle", cx=there, cy="50%", r=4, class_="dot champion"))
    parts.append(element("circle", cx=here, cy="50%", r=5, class_="dot challenger"))
    return element("svg", join(parts), class_="dots", aria_hidden="true")


def interval(value: float, lower: float, upper: float, *, margin: float) -> Markup:
    """A gain and its interval, with zero as a tick and the allowed loss as a shorter one; a reach of its own."""
    reach = max(abs(lower), abs(upper), 1.3 * margin) or 1.0
    scale = Scale((-reach, reach), (3, 97))
    zero, allowed, here = (_percent(scale(place)) for place in (0.0, -margin, value))
    parts = [
        element("line", x1="0", x2="100%", y1="50%", y2="50%", class_="rail"),
        element("line", x1=zero, x2=zero, y1="0", y2="100%", class_="overall"),
        element("line", x1=allowed, x2=allowed, y1="0", y2="100%", class_="allowed"),
        element("line", x1=_percent(scale(lower)), x2=_percent(scale(upper)), y1="50%", y2="50%", class_="reach"),
        element("circle", cx=here, cy="50%", r=5, class_="dot challenger"),
    ]
    return element("svg", join(parts), class_="dots", aria_hidden="true")


def _percent(value: float) -> str:
    return f"{number(value)}%"


def _spoken(curve: Curve) -> str:
    return curve.name if curve.value is None else f"{curve.name} {curve.value:.3f}"
