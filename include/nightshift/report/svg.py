"""Drawing with SVG text: no plotting library, no colours of its own.

Every mark has a class and the page's style sheet colours it, so that one picture reads well on a light screen,
on a dark one and on paper. Geometry is in attributes, never in ``style``, so that a strict content security
policy can refuse inline styles. Numbers are rounded, so that equal evidence gives equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate with at most two decimals and no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def element(name: str, content: Markup | str = "", /, **attributes: object) -> Markup:
    """One element; ``class_`` is ``class`` and underscores are dashes; content that is not Markup is escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value) if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = escape(content)
    return Markup(f"<{name}{written}>{body}</{name}>") if body else Markup(f"<{name}{written}/>")  # noqa: S704 escaped above


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def hover(text: str) -> Markup:
    """What a mark says when it is pointed at."""
    return element("title", text)


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    domain: Point
    pixels: Point

    def __call__(self, value: float) -> float:
        low, high = self.domain
        share = (value - low) / (high - low) if high > low else 0.5
        return self.pixels[0] + share * (self.pixels[1] - self.pixels[0])


def nice_ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round numbers inside ``[low, high]``, about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / max(about, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Frame:
    """A plot with axes: a box inside a view box, in pixels.

    Attributes:
        x, y: Scales of the two axes.
        width, height: Size of the whole drawing.
    """

    x: Scale
    y: Scale
    width: int
    height: int

    @classmethod
    def unit(cls, *, width: int = 340, height: int = 300) -> Frame:
        """Both axes from 0 to 1."""
        return cls(Scale((0, 1), (44, width - 10)), Scale((0, 1), (height - 42, 10)), width, height)

    def path(self, points: Sequence[Point], *, class_: str) -> Markup:
        d = "M" + "L".join(f"{number(self.x(x))} {number(self.y(y))}" for x, y in points)
        return element("path", d=d, class_=class_)

    def axes(self, *, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> Markup:
        """Grid lines, tick labels and the names of both axes."""
        left, right = self.x.pixels
        bottom, top = self.y.pixels
        marks = [
            element("line", x1=left, x2=right, y1=self.y(tick), y2=self.y(tick), class_="grid") for tick in y_ticks
        ]
        marks += [element("text", f"{tick:g}", x=left - 7, y=self.y(tick) + 4, class_="tick end") for tick in y_ticks]
        marks += [
            element("line", x1=self.x(tick), x2=self.x(tick), y1=bottom, y2=top, class_="grid") for tick in x_ticks
        ]
        marks += [element("text", f"{tick:g}", x=self.x(tick), y=bottom + 17, class_="tick middle") for tick in x_ticks]
        marks.append(element("text", x_label, x=(left + right) / 2, y=self.height - 6, class_="label middle"))
        middle = (top + bottom) / 2
        turn = f"rotate(-90 11 {number(middle)})"
        marks.append(element("text", y_label, x=11, y=middle, class_="label middle", transform=turn))
        return join(marks)

    def drawing(self, parts: Iterable[Markup], *, title: str) -> Markup:
        """The finished picture, with a name for screen readers."""
        return element(
            "svg",
            join(parts),
            class_="plot",
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            aria_label=title,
        )


def thin_out(points: Sequence[Point], *, at_most: int = 240) -> list[Point]:
    """At most so many points of a curve, both ends kept."""
    if len(points) <= at_most:
        return list(points)
    last = len(points) - 1
    return [points[round(index * last / (at_most - 1))] for index in range(at_most)]
