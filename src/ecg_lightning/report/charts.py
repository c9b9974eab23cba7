"""Charts as inline SVG, with a title and a description for screen readers.

Colours are classes (``c0`` … ``c4`` for the classes of a task, ``accent``, ``quiet``) that ``style.css`` defines for
light, dark and print.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

WIDTH = 340.0  # of a phone
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 12.0, 36.0
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel: its name with its unit, its ends, its ticks and how they are written."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    words: Callable[[float], str] = "{:g}".format
    log: bool = False

    def at(self, value: float, start: float, end: float) -> float:
        """The position of a value between `start` and `end`."""
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return start + ((value - low) / (high - low) if high > low else 0.5) * (end - start)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of a panel, joined or with dots, a name at their end, and a bar (its two ends) through each."""

    points: Sequence[Point]
    name: str = ""
    look: str = "accent"
    joined: bool = True
    dots: bool = False
    bars: Sequence[Point | None] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Any number of points of a panel: each place of the drawing that has some is marked once."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    look: str


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A row of `dots`: a fraction with its interval and a reference that it is compared with."""

    name: str
    value: float
    interval: Sequence[float] | None = None
    reference: float | None = None
    look: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of `bars`: its name on the left, look → length of each part, and words on the right."""

    name: str
    parts: Mapping[str, float]
    words: str


def percent_axis(name: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of fractions, written in percent."""
    ticks = [tick / 100 for tick in nice_ticks(100 * low, 100 * high)]
    return Axis(name=name, low=low, high=high, ticks=ticks, words=lambda value: f"{100 * value:g}")


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between the two, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10 ** math.floor(math.log10(rough))
    step = size * next(nice for nice in (1, 2, 2.5, 5, 10) if nice * size >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def panel(
    lines: Sequence[Line], *, title: str, description: str, x: Axis, y: Axis, height: float = 220, width: float = WIDTH,
    left: float = LEFT, right: float = RIGHT, mark: tuple[float, str] | None = None, clouds: Sequence[Cloud] = (),
    spans: Iterable[Point] = (),
) -> Markup:  # fmt: skip
    """Lines and points over two axes, names of lines at their ends.

    `mark`: place and name of a vertical line; `spans`: starts and stops on the horizontal axis of what is shaded.
    """
    x0, x1, y0, y1 = left, width - right, height - BOTTOM, TOP + 12

    def place(point: Point) -> Point:
        return x.at(point[0], x0, x1), y.at(min(max(point[1], y.low), y.high), y0, y1)

    parts: list[str] = [text(0, 9, y.name)]
    for span in spans:
        start, stop = (x.at(end, x0, x1) for end in span)
        size = f'x="{start:.1f}" y="{y1:g}" width="{max(stop - start, 0.8):.1f}" height="{y0 - y1:g}"'
        parts.append(f'<rect {size} class="block faded"/>')
    for tick in y.ticks:
        at = y.at(tick, y0, y1)
        parts += [_rule(x0, at, x1, at), text(x0 - 6, at + 3.5, y.words(tick), "end")]
    for tick in x.ticks:
        at = x.at(tick, x0, x1)
        parts += [_rule(at, y0, at, y0 + 4, "tick"), text(at, y0 + 15, x.words(tick), "middle")]
    parts += [_rule(x0, y0, x1, y0, "tick"), text((x0 + x1) / 2, height - 5, x.name, "middle")]
    if mark:
        at = x.at(mark[0], x0, x1)
        aside, anchor = (-5, "end") if at > (x0 + x1) / 2 else (5, "start")
        # Its name is set where no line is.
        near = [place(min(line.points, key=lambda point: abs(point[0] - mark[0])))[1] for line in lines if line.points]
        to = y0 - 8 if any(one < y1 + 26 for one in near) else y1 + 9
        parts += [_rule(at, y0, at, y1, "mark"), text(at + aside, to, mark[1], anchor, look="label")]
    parts += [_cloud(cloud, x, y, (x0, x1, y0, y1)) for cloud in clouds]
    for line in lines:
        bars = [(point[0], bar) for point, bar in zip(line.points, line.bars, strict=False) if bar is not None]
        drawn = [_rule(*place((at, low)), *place((at, high)), "bar") for at, (low, high) in bars]
        drawn += [_path(map(place, line.points))] * line.joined
        drawn += [_dot(*place(point)) for point in line.points if line.dots]
        parts += [f'<g class="{escape(line.look)}">', *drawn, "</g>"]
    ends = [(place(line.points[-1]), line.name) for line in lines if line.name and line.points]
    parts += [text(end + 6, at + 3.5, name, look="label") for end, at, name in _apart(ends, lowest=y0 - 3)]
    return _drawing(title, description, parts, height=height, width=width)


def _room(rows: Sequence[Dot] | Sequence[Bar]) -> float:
    """The width of the names on the left."""
    return 16 + 6.4 * max((len(row.name) for row in rows), default=0)


def dots(rows: Sequence[Dot], *, title: str, x: str, row_height: float = 26) -> Markup:
    """Fractions in percent, a row each: dots with intervals as bars, references as diamonds; `x` names the axis."""
    values = [value for row in rows for value in (row.value, row.reference, *(row.interval or ())) if value is not None]
    axis = percent_axis(x, max(0.0, math.floor(10 * (min(values, default=0) - 0.02)) / 10))
    # On the right, room for the number itself.
    height, x0, x1 = TOP + row_height * len(rows) + BOTTOM, _room(rows), WIDTH - 44
    y0 = height - BOTTOM
    parts: list[str] = [text((x0 + x1) / 2, height - 5, x, "middle")]
    for tick in axis.ticks:
        at = axis.at(tick, x0, x1)
        parts += [_rule(at, TOP, at, y0), text(at, y0 + 15, axis.words(tick), "middle")]
    for i, row in enumerate(rows):
        y = TOP + row_height * (i + 0.5)
        low, high = (axis.at(end, x0, x1) for end in row.interval or (0, 0))
        bar = [_rule(low, y, high, y, "bar")] if row.interval else []
        parts += [f'<g class="{escape(row.look)}">', *bar, _dot(axis.at(row.value, x0, x1), y, 4.2), "</g>"]
        if row.reference is not None:
            at = axis.at(row.reference, x0, x1)
            parts.append(f'<path d="M{at:.1f} {y - 5.5:.1f} l4.5 5.5 l-4.5 5.5 l-4.5 -5.5 Z" class="diamond"/>')
        for at, words in ((x0 - 8, row.name), (WIDTH, f"{100 * row.value:.1f}")):
            parts.append(text(at, y + 4, words, "end", look="label"))
    description = "; ".join(f"{row.name} {100 * row.value:.1f} %" for row in rows)
    return _drawing(title, description, parts, height=height)


def bars(rows: Sequence[Bar], *, title: str, longest: float) -> Markup:
    """Bars of several parts, a row each; the length `longest` fills the width."""
    left = min(_room(rows), 130)
    row_height, scale = 17.0, (WIDTH - left - 116) / (longest or 1)
    parts: list[str] = []
    for i, row in enumerate(rows):
        x, y = left, row_height * i
        for look, length in row.parts.items():
            size = f'y="{y + 2.5:.1f}" width="{max(scale * length, 0.5):.1f}" height="12"'
            parts += [f'<rect x="{x:.1f}" {size} class="block {escape(look)}"/>'] * bool(length)
            x += scale * length
        parts += [text(left - 6, y + 12, row.name, "end", look="label"), text(x + 5, y + 12, row.words)]
    description = "; ".join(f"{row.name}: {row.words}" for row in rows)
    return _drawing(title, description, parts, height=row_height * max(1, len(rows)) + 4)


def text(x: float, y: float, words: str, anchor: str = "start", *, look: str = "axis") -> Markup:
    """Words at a place."""
    return Markup(f'<text x="{x:.1f}" y="{y:.1f}" class="{look}" text-anchor="{anchor}">{escape(words)}</text>')


def _drawing(title: str, description: str, parts: Iterable[str], *, height: float, width: float = WIDTH) -> Markup:
    body = "".join(parts)
    name = "c" + hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:10]
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{body}</svg>'
    )


def _rule(x1: float, y1: float, x2: float, y2: float, look: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{look}"/>'


def _dot(x: float, y: float, radius: float = 3.2) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="dot"/>'


def _path(points: Iterable[Point]) -> str:
    """A broken line without the points that make no visible difference."""
    kept: list[Point] = []
    for (x, y), _ in groupby((round(x, 1), round(y, 1)) for x, y in points):
        # Of several on one horizontal or vertical line the ends are enough.
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == x or kept[-2][1] == kept[-1][1] == y):
            kept.pop()
        kept.append((x, y))
    return f'<path d="M{" L".join(f"{x:g} {y:g}" for x, y in kept)}" class="line"/>' if kept else ""


def _cloud(cloud: Cloud, x: Axis, y: Axis, ends: Sequence[float]) -> str:
    """Upright strokes, each of which joins the points of neighbouring places; axes are linear."""
    x0, x1, y0, y1 = ends
    columns = x0 + (cloud.x - x.low) / (x.high - x.low) * (x1 - x0)
    rows = y0 + (np.clip(cloud.y, y.low, y.high) - y.low) / (y.high - y.low) * (y1 - y0)
    n = math.ceil(y0) + 2  # more than there are rows, so that a column never joins the next one
    places = np.unique(np.rint(columns).astype(np.int64) * n + np.rint(rows).astype(np.int64))
    first = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    lengths = np.append(first[1:], len(places)) - first
    strokes = zip(*np.divmod(places[first], n), lengths - 1, strict=True)
    path = "".join(f"M{column} {row}v{length}" for column, row, length in strokes)
    return f'<path d="{path}" class="cloud {escape(cloud.look)}"/>' if path else ""


def _apart(ends: Sequence[tuple[Point, str]], *, lowest: float, least: float = 13) -> list[tuple[float, float, str]]:
    """Places for names near the ends of their lines, with room between them and above the axis."""
    placed: list[tuple[float, float, str]] = []
    for (x, y), name in sorted(ends, key=lambda end: end[0][1]):
        placed.append((x, max(y, placed[-1][1] + least) if placed else y, name))
    for i in reversed(range(len(placed))):
        x, y, name = placed[i]
        placed[i] = (x, min(y, lowest), name)
        lowest = min(y, lowest) - least
    return placed
