"""Charts as inline SVG: small, sharp in print, and without a colour of their own.

Colours are classes (``c0`` … ``c4`` for the classes of a task, ``accent``, ``quiet``) whose meaning ``style.css`` gives
for light, dark and print. Each chart has a title and a description for those who do not see it, and is drawn 340 units
wide, which is the width of a phone: what can be read there can be read anywhere.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

WIDTH = 340.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 12.0, 36.0

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Attributes:
        name: what it is of, with its unit.
        low: its beginning.
        high: its end.
        ticks: values to mark.
        words: how a tick is written.
        log: whether equal steps are equal ratios.
    """

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    words: Callable[[float], str] = "{:g}".format
    log: bool = False

    def at(self, value: float, start: float, end: float) -> float:
        """Where a value is between `start` and `end`."""
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return start + share * (end - start)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a panel, or points.

    Attributes:
        points: values of both axes.
        name: written at its end; empty for none.
        look: classes of the style sheet.
        joined: whether points are joined.
        dots: whether they are marked.
        bars: low and high end of a bar through each point, or None.
    """

    points: Sequence[Point]
    name: str = ""
    look: str = "accent"
    joined: bool = True
    dots: bool = False
    bars: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line at a value, and what is written beside it."""

    at: float
    name: str


def percent_axis(name: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of fractions, written in percent."""
    ticks = nice_ticks(100 * low, 100 * high)
    return Axis(name=name, low=low, high=high, ticks=[tick / 100 for tick in ticks], words=lambda v: f"{100 * v:g}")


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between the two, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10 ** math.floor(math.log10(rough))
    step = size * next(nice for nice in (1, 2, 2.5, 5, 10) if nice * size >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def drawing(title: str, description: str, parts: Iterable[str], *, height: float, width: float = WIDTH) -> Markup:
    """An SVG that says what it is."""
    body = "".join(parts)
    name = "c" + hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:10]
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{body}</svg>'
    )


def text(x: float, y: float, words: str, look: str = "label", anchor: str = "start") -> str:
    """Words at a place."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{look}"{where}>{escape(words)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, look: str = "grid") -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{look}"/>'


def path(points: Iterable[Point], look: str) -> str:
    """A broken line; points that cannot be told from the one before are left out."""
    kept: list[tuple[float, float]] = []
    for x, y in ((round(x, 1), round(y, 1)) for x, y in points):
        if kept and kept[-1] == (x, y):
            continue
        # Of several on one horizontal or vertical line the ends are enough.
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == x or kept[-2][1] == kept[-1][1] == y):
            kept[-1] = (x, y)
        else:
            kept.append((x, y))
    return f'<path d="M{" L".join(f"{x:g} {y:g}" for x, y in kept)}" class="{look}"/>' if kept else ""


def panel(
    lines: Sequence[Line],
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    height: float = 220,
    width: float = WIDTH,
    left: float = LEFT,
    right: float = RIGHT,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Lines and points over two axes.

    Args:
        lines: drawn in their order; names are set at their ends, apart from each other.
        title: of the drawing, for those who do not see it.
        description: likewise.
        x: the axis below.
        y: the axis on the left.
        height: of the drawing.
        width: of the drawing.
        left: room for what is written on the left.
        right: room for the names of lines.
        marks: vertical lines.
    """
    x0, x1, y0, y1 = left, width - right, height - BOTTOM, TOP + (12 if y.name else 0)

    def place(point: Point) -> Point:
        return x.at(point[0], x0, x1), y.at(min(max(point[1], y.low), y.high), y0, y1)

    parts = []
    for tick in y.ticks:
        at = y.at(tick, y0, y1)
        parts += [rule(x0, at, x1, at), text(x0 - 6, at + 3.5, y.words(tick), "axis", "end")]
    for tick in x.ticks:
        at = x.at(tick, x0, x1)
        parts += [rule(at, y0, at, y0 + 4, "tick"), text(at, y0 + 15, x.words(tick), "axis", "middle")]
    parts.append(rule(x0, y0, x1, y0, "tick"))
    parts.append(text((x0 + x1) / 2, height - 5, x.name, "axis", "middle"))
    if y.name:
        parts.append(text(0, 9, y.name, "axis"))
    for mark in marks:
        at = x.at(mark.at, x0, x1)
        is_right = at > (x0 + x1) / 2
        parts.append(rule(at, y0, at, y1, "mark"))
        # Where no line is.
        near = [place(min(line.points, key=lambda point: abs(point[0] - mark.at)))[1] for line in lines if line.points]
        to = y0 - 8 if any(one < y1 + 26 for one in near) else y1 + 9
        parts.append(text(at + (-5 if is_right else 5), to, mark.name, "label", "end" if is_right else "start"))
    for line in lines:
        parts.append(f'<g class="{escape(line.look)}">')
        for point, bar in zip(line.points, line.bars, strict=False):
            if bar is not None:
                low, high = (place((point[0], end)) for end in bar)
                parts.append(rule(*low, *high, "bar"))
        if line.joined:
            parts.append(path(map(place, line.points), "line"))
        if line.dots:
            parts += [_dot(*place(point)) for point in line.points]
        parts.append("</g>")
    ends = [(place(line.points[-1]), line.name) for line in lines if line.name and line.points]
    for at, beside, name in _apart(ends, lowest=y0 - 3):
        inside = right < 40
        parts.append(text(at + (0 if inside else 6), beside + 3.5, name, "label", "end" if inside else "start"))
    return drawing(title, description, parts, height=height, width=width)


def _apart(ends: Sequence[tuple[Point, str]], *, lowest: float, least: float = 13) -> list[tuple[float, float, str]]:
    """Places for names near the ends of their lines, with room between them and above the axis."""
    placed: list[tuple[float, float, str]] = []
    for (x, y), name in sorted(ends, key=lambda end: end[0][1]):
        placed.append((x, max(y, placed[-1][1] + least) if placed else y, name))
    for i in range(len(placed) - 1, -1, -1):
        x, y, name = placed[i]
        lowest = min(y, lowest)
        placed[i] = (x, lowest, name)
        lowest -= least
    return placed


def _dot(x: float, y: float, radius: float = 3.2) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="dot"/>'


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A row of `dots`: a figure with its interval.

    Attributes:
        name: on the left.
        value: the figure.
        interval: its low and high end, or None.
        reference: a value that it is compared with, or None.
        look: classes of the style sheet.
    """

    name: str
    value: float
    interval: Sequence[float] | None = None
    reference: float | None = None
    look: str = "accent"


def dots(
    rows: Sequence[Dot], *, title: str, description: str, x: str, left: float = 74, row_height: float = 26
) -> Markup:
    """Figures as dots with intervals as bars, a row each, in percent; their references as diamonds.

    Args:
        rows: from above.
        title: of the drawing, for those who do not see it.
        description: likewise.
        x: what the axis is of.
        left: room for the names.
        row_height: of each row.
    """
    values = [value for row in rows for value in (row.value, row.reference, *(row.interval or ())) if value is not None]
    low = max(0.0, math.floor(10 * (min(values) - 0.02)) / 10)
    axis = percent_axis(x, low, 1.0)
    # On the right, room for the figure itself.
    height, x0, x1 = TOP + row_height * len(rows) + BOTTOM, left, WIDTH - 44
    y0 = height - BOTTOM
    parts = []
    for tick in axis.ticks:
        at = axis.at(tick, x0, x1)
        parts += [rule(at, TOP, at, y0), text(at, y0 + 15, axis.words(tick), "axis", "middle")]
    parts.append(text((x0 + x1) / 2, height - 5, x, "axis", "middle"))
    for i, row in enumerate(rows):
        y = TOP + row_height * (i + 0.5)
        parts.append(text(x0 - 8, y + 4, row.name, "label", "end"))
        parts.append(f'<g class="{escape(row.look)}">')
        if row.interval:
            ends = [axis.at(end, x0, x1) for end in row.interval]
            parts.append(rule(ends[0], y, ends[1], y, "bar"))
        parts.append(_dot(axis.at(row.value, x0, x1), y, 4.2) + "</g>")
        if row.reference is not None:
            at = axis.at(row.reference, x0, x1)
            parts.append(f'<path d="M{at:.1f} {y - 5.5:.1f} l4.5 5.5 l-4.5 5.5 l-4.5 -5.5 Z" class="diamond"/>')
        parts.append(text(WIDTH, y + 4, f"{100 * row.value:.1f}", "label", "end"))
    return drawing(title, description, parts, height=height)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of `bars`.

    Attributes:
        name: on the left.
        parts: look → length.
        words: on the right.
    """

    name: str
    parts: dict[str, float] = field(default_factory=dict)
    words: str = ""


def bars(rows: Sequence[Bar], *, title: str, description: str, longest: float, left: float = 62) -> Markup:
    """Bars of several parts, a row each.

    Args:
        rows: from above.
        title: of the drawing, for those who do not see it.
        description: likewise.
        longest: length that fills the width.
        left: room for the names.
    """
    row_height, right = 17.0, 116.0
    room = WIDTH - left - right
    parts = []
    for i, row in enumerate(rows):
        y = row_height * i
        parts.append(text(left - 6, y + 12, row.name, "label", "end"))
        x = left
        for look, length in row.parts.items():
            width = room * length / longest if longest else 0.0
            if length:
                parts.append(
                    f'<rect x="{x:.1f}" y="{y + 2.5:.1f}" width="{max(width, 0.5):.1f}" height="12" '
                    f'class="block {escape(look)}"/>'
                )
            x += width
        parts.append(text(x + 5, y + 12, row.words, "axis"))
    return drawing(title, description, parts, height=row_height * max(1, len(rows)) + 4)
