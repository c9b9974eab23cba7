"""What the parts of the page of a recording share: its beats, and how times, shares and stretches are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.explain.facts import Explanation
from ecg_lightning.report import charts
from ecg_lightning.report.beats import look_of
from ecg_lightning.report.cells import NONE, Number, clean
from ecg_lightning.report.strip import Mark, Signals, strip

Strip = Callable[[float, float], tuple[Sequence[str], Signals, float]]
"""Start and length in seconds → lead names, signals ``[leads, t]`` in mV with NaN in gaps, their rate in Hz."""

WIDE, TALL = 940.0, 260.0
TICKS_S = (5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800)
HOUR = 3600.0
ENDS = ("longest", "fastest")  # of runs


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A recording's beats as arrays ``[b]``, and how times are written."""

    about: Mapping[str, Any]
    strip: Strip
    summary: Mapping[str, Any]
    times: npt.NDArray[np.float64]
    classes: npt.NDArray[np.str_]
    flags: npt.NDArray[np.str_]
    confidence: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]  # [b, classes]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.about["classes"])

    @cached_property
    def start(self) -> datetime | None:
        return datetime.fromisoformat(self.about["start"]) if self.about.get("start") else None

    @cached_property
    def explanation(self) -> Explanation:  # what pictures of beats need
        return Explanation(classes=self.names)

    @cached_property
    def unusable(self) -> list[tuple[float, float]]:
        return [(start, stop) for start, stop, *_ in self.about["unusable"]]

    def look(self, name: str) -> str:
        return look_of(self.explanation, name) if name in self.names else "quiet"

    def clock(self, seconds: float, *, short: bool = False) -> str:
        """The time of day and, after midnight, the day; h:mm:ss from the start where that is not known."""
        minutes, rest = divmod(int(seconds + self.into_day), 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24) if self.start else (0, hours)
        shown = f"{hours:{'02' if self.start else ''}}:{minutes:02d}"
        shown += f":{rest:02d}" * (not short or self.about["duration_s"] < 600)
        return shown + f" (day {days + 1})" * bool(days and not short)

    @cached_property
    def into_day(self) -> float:  # seconds from midnight to the start, by which hours and ticks are those of the clock
        at = self.start
        return at.hour * HOUR + at.minute * 60.0 + at.second + at.microsecond / 1e6 if at else 0.0

    def axis(self) -> charts.Axis:
        """Of time, over the whole recording."""
        length = self.about["duration_s"]
        step = next((one for one in TICKS_S if length / one <= 13), TICKS_S[-1])
        ticks = np.arange(-self.into_day % step, length + 1e-6, step).tolist()
        name = "time of day" if self.start else "time from the start, h:mm" + ":ss" * (length < 600)
        return charts.Axis(name=name, low=0, high=length, ticks=ticks, words=lambda at: self.clock(at, short=True))

    def panel(self, title: str, description: str, y: charts.Axis, **drawn: Any) -> Markup:
        """A wide chart over time, in which stretches without usable signal are shaded."""
        drawn = {"lines": (), "x": self.axis(), "y": y, "spans": self.unusable, **drawn}
        chart = charts.panel(title=title, description=description, width=WIDE, height=TALL, **drawn)
        return Markup('<div class="wide" role="region" aria-label="{}" tabindex="0">{}</div>').format(title, chart)

    def draw(self, start: float, seconds: float, label: str, bracket: tuple[float, float] | None = None) -> Markup:
        """A stretch on ECG paper with the classes of its beats."""
        seconds = min(seconds, self.about["duration_s"])
        start = max(0.0, min(start, self.about["duration_s"] - seconds))
        leads, signals, fs = self.strip(start, seconds)
        there = slice(*np.searchsorted(self.times, (start, start + seconds)))
        marks = [
            Mark(float(time - start), clean(name), self.look(str(name)))
            for time, name in zip(self.times[there], self.classes[there], strict=True)
        ]
        ends = (bracket[0] - start, bracket[1] - start) if bracket else None
        return strip(leads, signals, fs, marks, label=f"{label}, from {self.clock(start)}", bracket=ends)


def number(value: float | None, digits: int | None = None, *, factor: float = 1) -> Number | str:
    """A number of a table, or the sign for none."""
    return NONE if value is None else Number(value, digits, factor=factor)


def percent(share: float | None) -> str:
    """Of a share, with what is not 0 never shown as 0."""
    if share is None:
        return NONE
    if share < 0.00005:
        return "< 0.01 %" if share else "0 %"
    return f"{100 * share:.{1 if share >= 0.1 else 2}f} %"


def per_minute(rate: float | None) -> str:
    """A rate in beats a minute."""
    return NONE if rate is None else f"{rate:.0f}/min"
