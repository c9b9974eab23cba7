"""The page of an annotated recording: burden, rate, events on ECG paper, uncertain and typical beats, signal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.explain.facts import AFTER_S, BEFORE_S, ClassFacts, Explanation
from ecg_lightning.metrics import rhythm
from ecg_lightning.report import charts
from ecg_lightning.report.beats import look_of, shares, typical
from ecg_lightning.report.cells import NONE, Cell, Column, Number, Row, Table, clean, duration
from ecg_lightning.report.page import Part, aside, columns, definitions, figure, join, legend, note, prose, render
from ecg_lightning.report.render import html, swatch
from ecg_lightning.report.strip import Mark, Signals, strip

if TYPE_CHECKING:
    import pandas as pd

Strip = Callable[[float, float], tuple[Sequence[str], Signals, float]]
"""Start and length in seconds → lead names, signals ``[leads, t]`` in mV with NaN in gaps, their rate in Hz."""

STRIP_S = 7.0  # 175 mm, which fit a page of A4
LEAD_IN_S = 1.5  # before what a strip shows
UNCERTAIN, UNCERTAIN_S = 12, 3.0  # beats, and the length of their strips
TYPICAL = 30  # beats of a class
STRETCHES = 40  # without usable signal, the longest ones
WIDE, TALL = 940.0, 260.0
TICKS_S = (5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800)
MANY = 1500  # beats of a class, from which on each is a small point of the tachogram
FEW = 20  # beats, below which a share of them is not drawn
HOUR = 3600.0
LITTLE_SIGNAL, MANY_FLAGS = 0.9, 0.05  # share of usable signal below, of flagged beats above which a page warns
NAMES = {
    "N": "normal, bundle branch block, escape", "S": "supraventricular ectopic", "V": "ventricular ectopic",
    "F": "fusion", "Q": "paced, unknown or not classified",
}  # fmt: skip
ENDS = ("longest", "fastest")  # of runs
KINDS = {"V": "ventricular", "S": "supraventricular"}


def write_recording_page(beats: "pd.DataFrame", about: Mapping[str, Any], path: Path, *, strip: Strip) -> Path:
    """Write the page of one recording and return its path.

    Args:
        beats: as `annotate` returns them, a row a beat.
        about: ``beats.attrs["about"]``; ``card``, that of the weights, and ``command`` are shown where they are given.
        path: the page; DataError if it cannot be written.
        strip: reads a stretch of the recording.
    """
    page = recording_page(beats, about, strip=strip)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def recording_page(beats: "pd.DataFrame", about: Mapping[str, Any], *, strip: Strip) -> str:
    """The page as HTML."""
    view = _View(
        about=about, strip=strip, summary=rhythm.summary_of(beats, about),
        times=beats["time_s"].to_numpy(np.float64), classes=np.asarray(beats["class"], dtype=str),
        flags=np.asarray(beats["flag"], dtype=str), confidence=beats["confidence"].to_numpy(np.float64),
        probabilities=beats[[f"p_{name}" for name in about["classes"]]].to_numpy(np.float64),
    )  # fmt: skip
    parts = (
        ("overview", "Overview", _overview(view)),
        ("classes", "Beats by class", _classes(view)),
        ("rate", "Heart rate and intervals", _rate(view)),
        ("course", "Over time", _course(view)),
        ("events", "Events", _events(view)),
        ("uncertain", "Most uncertain beats", _uncertain(view)),
        ("typical", "Typical beats", _typical(view)),
        ("signal", "Signal", _signal(view)),
        ("method", "How it was made", _method(view)),
    )
    start, length = view.start, duration(about["duration_s"])
    when = f"recorded from {start:%Y-%m-%d %H:%M:%S}, {length}" if start else f"{length}, start not known"
    return render(
        title=clean(about["record"]),
        kicker="Annotated recording",
        subtitle=clean(
            f"R peaks by {_finder(about)}, classes by {about['model']}; {when}. For research; not a medical device."
        ),
        warning="",
        parts=[Part(*part) for part in parts if part[2]],
        origin="From the recording and its beats as the model classifies them; nothing was corrected by hand.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
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


def _number(value: float | None, digits: int | None = None, *, factor: float = 1) -> Number | str:
    return NONE if value is None else Number(value, digits, factor=factor)


def _percent(share: float | None) -> str:
    """Of a share, with what is not 0 never shown as 0."""
    if share is None:
        return NONE
    if share < 0.00005:
        return "< 0.01 %" if share else "0 %"
    return f"{100 * share:.{1 if share >= 0.1 else 2}f} %"


def _per_minute(rate: float | None) -> str:
    return NONE if rate is None else f"{rate:.0f}/min"


# Parts of the page ----------------------------------------------------------------------------------------------------


def _overview(view: _View) -> Markup:
    about, found = view.about, view.summary
    classes, rate, pauses = found["classes"], found["rate"], found["pauses"]
    burdens = [f"{name} {_percent(classes[name]['share'])} ({classes[name]['beats']:,})" for name in found["ectopy"]]
    if len(view.names) == 2:
        name, mean = view.names[1], _number(_mean(view.probabilities[:, 1]), 2)
        burdens = [f"{clean(name)} {_percent(classes[name]['share'])}", f"mean probability of {clean(name)} {mean}"]
    words = [f"{found['beats']:,} beats in {duration(about['duration_s'])}{': ' * bool(burdens)}{', '.join(burdens)}."]
    if rate["mean"] is not None:
        words.append(f"Mean heart rate {_per_minute(rate['mean'])}.")
    for name, of in found["ectopy"].items():
        runs = [(key, of[key]) for key in ENDS if of[key]]
        runs = runs[: 1 if runs and runs[0][1] == runs[1][1] else 2]
        shown = (f"{key} {run['beats']} beats at {_per_minute(run['rate'])}" for key, run in runs)
        words += [f"Runs of {name}: {', '.join(shown)}."] * bool(runs)
    if pauses["longest"] and pauses["over_2_s"]:
        words.append(f"Longest RR interval {pauses['longest']['seconds']:.2f} s.")
    facts = {
        "recording": about.get("path", ""),
        "start": f"{view.start:%Y-%m-%d %H:%M:%S}" if view.start else "not known; times are h:mm:ss from the start",
        "length": f"{duration(about['duration_s'])}, {_percent(found['usable_share'])} of it with usable signal",
        "leads": f"{', '.join(about['leads'])} (of {', '.join(about['all_leads'])}), {about['fs']:g} Hz",
        "model": about["model"],
        "R peaks": _finder(about),
    }
    cautions = problems(found)
    if long := pauses["not_counted"]:
        cautions.append(f"long RR intervals over missing or noisy signal, not counted as pauses: {long:,}")
    care = aside("To be considered", cautions)
    return join(prose(words), definitions({name: clean(fact) for name, fact in facts.items()}), care)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _classes(view: _View) -> Markup:
    heads = [Column("class", text=True), *map(Column, ("beats", "share", "per hour", "mean probability"))]
    rows = []
    for at, (name, of) in enumerate(view.summary["classes"].items()):
        sure = _number(_mean(view.probabilities[view.classes == name, at]), 2)
        about = NAMES.get(name, "") if view.summary["ectopy"] else ""
        cell = Cell(name, swatch=at if at < 5 else None, below=about)
        rows.append(Row([cell, Number(of["beats"]), _percent(of["share"]), _number(of["per_hour"], 1), sure]))
    if rest := view.summary["without_class"]:
        rows.append(Row(["not classified", Number(rest), _percent(rest / view.summary["beats"]), "", ""]))
    hours = "Per hour: of usable signal. Mean probability: of the beats of the class, of their own class."
    return join(html(Table(columns=heads, rows=rows), "Beats of each class"), note(hours), _ectopy(view))


def _ectopy(view: _View) -> Markup:
    if not view.summary["ectopy"]:
        return Markup("")
    names = ("single", "couplets", "triplets", "runs ≥ 4")
    heads = [Column("in a row", text=True), *map(Column, (*names, *ENDS, "bigeminy", "trigeminy"))]
    rows = []
    for name, of in view.summary["ectopy"].items():
        counted = [Number(of[key]) for key in ("single", "couplets", "triplets", "runs")]
        ends = [of[key] for key in ENDS]
        places = [f"{_per_minute(run['rate'])}, {view.clock(run['start_s'])}" if run else "" for run in ends]
        runs = [Cell(f"{run['beats']} beats" if run else NONE, below=at) for run, at in zip(ends, places, strict=True)]
        kinds = (of["bigeminy"], of["trigeminy"])
        episodes = [
            Cell(Number(one["episodes"]), below=f"{one['beats']:,} beats" * bool(one["beats"])) for one in kinds
        ]
        rows.append(Row([Cell(name, swatch=view.names.index(name), below=KINDS[name]), *counted, *runs, *episodes]))
    fast = view.summary["ectopy"].get("V", {}).get("tachycardia")
    notes = note(
        "" if fast is None else f"Triplets and runs of V faster than {rhythm.TACHYCARDIA:g}/min: {fast:,}.",
        "Longest and fastest: of at least three beats. Fusion beats end a row, as other classes and gaps do.",
        "Bigeminy, trigeminy: at least three single ectopic beats with one, two beats of class N between neighbours.",
    )
    return join(html(Table(columns=heads, rows=rows), "Ectopic beats in a row"), notes)


def _rate(view: _View) -> Markup:
    """Trend, tachogram, and numbers about rate, pauses and variability."""
    if len(view.times) < 2:
        return Markup("")
    bin_s = max(10.0, view.about["duration_s"] / 480)
    means = [(0.5 * (one["start_s"] + one["stop_s"]), one["rate"]) for one in _periods(view, bin_s, bin_s)]
    rates = [rate for _, rate in means if rate is not None] or [60.0]
    low, high = 10 * np.floor(min(rates) / 10), 10 * np.floor(max(rates) / 10 + 1)
    y = charts.Axis(name="heart rate, /min", low=low, high=high, ticks=charts.nice_ticks(low, high))
    trend = view.panel("Heart rate", f"From {min(rates):.0f} to {max(rates):.0f}/min.", y, lines=_lines(means))
    at, rr = view.times[1:], np.diff(view.times)
    top = float(min(3.0, max(1.0, np.ceil(5 * np.quantile(rr, 0.999)) / 5)))
    own = {name: of for name in view.names if (of := view.classes[1:] == name).any()}
    sizes = {name: " large" if name in KINDS and of.sum() < MANY else "" for name, of in own.items()}
    clouds = [charts.Cloud(x=at[of], y=rr[of], look=view.look(name) + sizes[name]) for name, of in own.items()]
    y = charts.Axis(name="RR interval, s", low=0, high=top, ticks=charts.nice_ticks(0, top))
    words = f"{len(rr):,} RR intervals by the class of the beat that ends them, above {top:g} s at the edge."
    tachogram = view.panel("Tachogram", words, y, clouds=clouds)
    return join(
        figure(trend, f"Mean heart rate of {bin_s:.0f} s each. Shaded: no usable signal."),
        figure(join(legend({clean(name): view.look(name) for name in own}, "Classes"), tachogram), words),
        columns(*_intervals(view, view.summary)),
    )


def _lines(points: Iterable[tuple[float, float | None]], look: str = "accent") -> list[charts.Line]:
    """Joined points, interrupted where one has no value."""
    pieces = (list(piece) for there, piece in groupby(points, key=lambda point: point[1] is not None) if there)
    return [charts.Line(points=piece, look=look) for piece in pieces]  # type: ignore[arg-type]


def _intervals(view: _View, found: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """Numbers about rate, pauses and variability, in two columns."""
    rate, pauses, hrv = found["rate"], found["pauses"], found["variability"]
    facts = {"mean heart rate": _per_minute(rate["mean"])}
    over = f"over {rate['intervals']} RR intervals"
    for name in ("lowest", "highest"):
        if event := rate[name]:
            facts[f"{name} heart rate"] = f"{_per_minute(event['rate'])} {over}, {view.clock(event['start_s'])}"
    facts |= {f"RR intervals > {limit:g} s": f"{pauses[f'over_{limit:g}_s']:,}" for limit in rhythm.PAUSES_S}
    if longest := pauses["longest"]:
        facts["longest RR interval"] = f"{longest['seconds']:.2f} s, {view.clock(longest['start_s'])}"
    if hrv is None:
        return definitions(facts), note("Variability is not computed: the model does not separate ectopic beats.")
    shown = {"N–N intervals": f"{hrv['intervals']:,}, {_percent(hrv['share'])} of all intervals"}
    for name in ("SDNN", "RMSSD"):
        value = hrv[f"{name.lower()}_ms"]
        shown[name] = NONE if value is None else f"{value:.0f} ms"
    shown["pNN50"] = _percent(hrv["pnn50"])
    if hrv["irregular"] is not None:
        n = round(hrv["irregular"] * hrv["groups"])
        shown["irregular"] = f"{n:,} of {hrv['groups']:,} groups of {rhythm.GROUP} N–N differences"
    about = note(
        "N–N: between neighbours of class N, without other editing. SDNN depends on the length of the recording.",
        "Irregular: RMSSD above a tenth of the mean interval. It describes the intervals and is no diagnosis.",
    )
    return definitions(facts), Markup("<div>{}</div>").format(join(definitions(shown), about))


def _periods(view: _View, period_s: float, first_s: float) -> list[dict[str, Any]]:
    return rhythm.periods(
        view.times, view.classes, names=view.names, duration_s=view.about["duration_s"], unusable=view.unusable,
        usable=~rhythm.doubtful(view.flags), period_s=period_s, first_s=first_s,
    )  # fmt: skip


def _course(view: _View) -> Markup:
    """Burden, or the probability of the second of two classes, by hour or by a shorter period."""
    period = next((one for one in (60.0, 300.0, 600.0) if view.about["duration_s"] <= 12 * one), HOUR)
    rows = _periods(view, period, period - view.into_day % period)
    names = [*view.summary["ectopy"]] or [*view.names[len(view.names) == 2 :]]
    heads = [Column("from", text=True), *map(Column, ("usable, %", "beats", "mean rate, /min"))]
    heads += [Column(head) for name in names for head in (name, f"{name}, %")]
    listed = []
    for one in rows:
        usable = one["usable_s"] / ((one["stop_s"] - one["start_s"]) or 1)
        cells: list[Cell | Number | str] = [
            Number(usable, 0, factor=100),
            Number(one["beats"]),
            _number(one["rate"], 0),
        ]
        for name in names:
            n, share = one["classes"][name], one["classes"][name] / (one["beats"] or 1)
            cells += [Number(n), Cell(Number(share, 1, factor=100), shade=0.7 * share**0.5 if n else None)]
        listed.append(Row([view.clock(one["start_s"]), *cells]))
    table = html(Table(columns=heads, rows=listed), "By period", look="heat")
    if len(rows) > 30:
        table = Markup("<details><summary>As a table</summary>{}</details>").format(table)
    chart = _probability(view) if len(view.names) == 2 else _burden(view, rows, names)
    return join(chart, note(f"Periods of {duration(period)}; percent of their beats."), table)


def _burden(view: _View, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
    """A line of steps for each class."""
    steps = {
        name: [
            (one[end], one["classes"][name] / one["beats"] if one["beats"] >= FEW else None)
            for one in rows
            for end in ("start_s", "stop_s")
        ]
        for name in names
    }
    top = max((share or 0.0 for of in steps.values() for _, share in of), default=0.0)
    lines = [line for name, of in steps.items() for line in _lines(of, view.look(name))]
    y = charts.percent_axis("% of beats", 0, min(1.0, max(0.01, 1.1 * top)))
    chart = view.panel("Burden over time", f"Share of {', '.join(names)}, at most {_percent(top)}.", y, lines=lines)
    return figure(join(legend({clean(name): view.look(name) for name in names}, "Classes"), chart))


def _probability(view: _View) -> Markup:
    """Of the second of two classes, of every beat."""
    name, values = view.names[1], view.probabilities[:, 1]
    known = np.isfinite(values)
    cloud = charts.Cloud(x=view.times[known], y=values[known], look=view.look(name))
    y = charts.percent_axis(f"probability of {clean(name)}, %")
    return figure(view.panel(f"Probability of {clean(name)}", f"Of {known.sum():,} beats.", y, clouds=[cloud]))


def _events(view: _View) -> Markup:
    cards = []
    for title, event in _found_events(view):
        start, stop = event["start_s"], event["stop_s"]
        cards.append(_strip_card(clean(title), view.draw(start - LEAD_IN_S, STRIP_S, title, (start, stop))))
    if not cards:
        return Markup("")
    words = (
        "The line marks the event; a longer one is shown from its start. Above each beat its class. Each lead is drawn",
        "around its own median; at 25 mm/s a small square is 40 ms, a large one 200 ms.",
    )
    return join(columns(*cards, look="strips"), note(*words))


def _found_events(view: _View) -> list[tuple[str, Mapping[str, Any]]]:
    """Title and event of what is worth a look, the same stretch once."""
    found = view.summary
    events: list[tuple[str, Mapping[str, Any] | None]] = []
    for name, of in found["ectopy"].items():
        words = f"run of {name}: {{beats}} beats at {{rate:.0f}}/min"
        events += [(f"{key.capitalize()} {words}", of[key]) for key in ENDS]
        events.append((f"Fastest couplet of {name}: {{rate:.0f}}/min", of["fastest_couplet"]))
        words = f"of {name}: {{beats}} {name} in {{length:.1f}} s"
        events += [(f"Longest {key} {words}", of[key]["longest"]) for key in ("bigeminy", "trigeminy")]
    if found["pauses"]["over_2_s"]:
        events.append(("Longest RR interval: {length:.2f} s", found["pauses"]["longest"]))
    over = f"{{rate:.0f}}/min over {found['rate']['intervals']} RR intervals"
    events += [(f"{key.capitalize()} heart rate: {over}", found["rate"][key]) for key in ("highest", "lowest")]
    shown: dict[tuple[float, float], tuple[str, Mapping[str, Any]]] = {}
    for title, event in events:
        if event:
            words = title.format(**event, length=event["stop_s"] - event["start_s"])
            shown.setdefault((event["start_s"], event["stop_s"]), (f"{words}, {view.clock(event['start_s'])}", event))
    return [*shown.values()]


def _strip_card(title: Markup | str, *pieces: Any) -> Markup:
    card = Markup('<figure class="keep"><figcaption class="beat-title">{}</figcaption>{}</figure>')
    return card.format(title, join(*pieces))


def _uncertain(view: _View) -> Markup:
    known = np.flatnonzero(np.isfinite(view.confidence) & ~rhythm.doubtful(view.flags))
    chosen: list[int] = []
    for at in known[np.argsort(view.confidence[known], kind="stable")][:500]:
        if all(abs(view.times[at] - view.times[one]) >= UNCERTAIN_S for one in chosen):
            chosen.append(int(at))
        if len(chosen) == UNCERTAIN:
            break
    cards = []
    for at in chosen:
        when, name = view.times[at], str(view.classes[at])
        label = f"A beat of class {name} at {view.clock(when)}"
        drawn = view.draw(when - UNCERTAIN_S / 2, UNCERTAIN_S, label, (when - 0.15, when + 0.15))
        chances = dict(zip(view.names, view.probabilities[at].tolist(), strict=True))
        title = Markup("{} at {}").format(swatch(view.look(name), clean(name)), view.clock(when))
        cards.append(_strip_card(title, drawn, shares(chances, view.explanation)))
    if not cards:
        return Markup("")
    uncertain, threshold = view.summary["uncertain"], view.about.get("threshold")
    below = "" if threshold is None else f"{uncertain:,} beats are below the confidence of {threshold:g} and flagged."
    words = "The beats with the lowest confidence, at least three seconds apart, without those in noise."
    return join(note(words, below), columns(*cards, look="strips small-strips"))


def _typical(view: _View) -> Markup:
    """Medians of beats that are spread over the recording."""
    facts: list[ClassFacts] = []
    leads, fs, n = (), 0.0, 0
    for name in view.names:
        start, last = view.times - BEFORE_S, view.about["duration_s"] - BEFORE_S - AFTER_S
        there = np.flatnonzero((view.classes == name) & (view.flags == "") & (start >= 0) & (start <= last))
        windows: list[Signals] = []
        for at in there[np.unique(np.linspace(0, len(there) - 1, TYPICAL).astype(int))] if len(there) else ():
            leads, signals, fs = view.strip(float(start[at]), BEFORE_S + AFTER_S)  # type: ignore[assignment]
            n = int((BEFORE_S + AFTER_S) * fs) - 1  # one fewer, as where it starts is rounded
            window = np.asarray(signals[:, :n], dtype=np.float64)
            if window.shape[1] == n and np.isfinite(window).all():
                windows.append(window - np.median(window, axis=1, keepdims=True))
        curves = tuple(np.quantile(windows, (0.1, 0.5, 0.9), axis=0).astype(np.float32)) if windows else None
        count, no = view.summary["classes"][name]["beats"], {"people": None, "quality": None, "poor": 0.0}
        facts.append(ClassFacts(name=name, n=count, typical=curves, n_typical=len(windows), **no))  # type: ignore[arg-type]
    if not any(one.typical for one in facts):
        return Markup("")
    about = Explanation(classes=view.names, fs=fs, lead_names=tuple(map(clean, leads)), length=n, before=BEFORE_S)
    return typical(facts, about, millivolts=True)


def _signal(view: _View) -> Markup:
    names = (*rhythm.DOUBTFUL, "uncertain")
    flags = [Row([name, Number(int(rhythm.flagged(view.flags, name).sum()))]) for name in names]
    counted = html(Table(columns=[Column("flag", text=True), Column("beats")], rows=flags), "Flags of beats")
    stretches = sorted(view.about["unusable"], key=lambda one: one[0] - one[1])[:STRETCHES]
    heads = [Column("from", text=True), Column("why", text=True), Column("seconds")]
    rows = [Row([view.clock(start), why, Number(stop - start, 1)]) for start, stop, why in sorted(stretches)]
    n, found = len(view.about["unusable"]), view.summary
    words = f"Stretches without usable signal: {n:,}, {duration(found['duration_s'] - found['usable_s'])} in all."
    some = f"The {STRETCHES} longest are listed." if n > STRETCHES else ""
    listed = html(Table(columns=heads, rows=rows), "Stretches without usable signal") if rows else ""
    if n > 12:
        listed = Markup("<details><summary>The stretches</summary>{}</details>").format(listed)
    return join(note(words if n else "No stretch is without usable signal.", some), columns(counted, listed))


def _method(view: _View) -> Markup:
    about, card = view.about, view.about.get("card") or {}
    threshold = about.get("threshold")
    facts = {
        "model": " – ".join(filter(None, (str(about["model"]), card.get("title", "")))),
        "trained on": _trained_on(card.get("trained_on") or {}),
        "classes": ", ".join(view.names),
        "R peaks": _finder(about),
        "abstention": _abstention(threshold, about.get("promise")),
        "versions": _plain(about.get("versions", "")),
        "attribution": _plain(card.get("attribution", "")),
    }
    shown: dict[str, Any] = {name: clean(fact) for name, fact in facts.items()}
    if tests := card.get("expected"):
        shown["on unseen people"] = join(*(note(_expected(one)) for one in tests))
    if command := about.get("command"):
        shown["command"] = Markup("<pre>{}</pre>").format(clean(command))
    return definitions(shown)


def _finder(about: Mapping[str, Any]) -> str:
    """Who or what found the R peaks."""
    return str(about["detector"] or f"annotator {about['annotator']}")


def _abstention(threshold: float | None, promise: Sequence[float] | None) -> str:
    if threshold is None:
        return "none: every beat that has a signal is classified"
    text = f"beats with a confidence below {threshold:g} are left unclassified"
    if promise is None:
        return text
    coverage, error = (_percent(one) for one in promise)
    return f"{text}; on the model's validation beats that kept {coverage}, of which {error} were wrong"


def _trained_on(stated: Mapping[str, Any]) -> str:
    """Databases and people of the card of weights."""
    databases, people = stated.get("databases") or {}, stated.get("patients") or {}
    words = ", ".join(str(one.get("title", name)) for name, one in databases.items())
    return f"{words}; {people['train']:,} people" if people.get("train") else words


def _expected(test: Mapping[str, Any]) -> str:
    """What a test says that the card of weights states."""
    f1 = ", ".join(f"{name} {_percent(one['f1'])}" for name, one in test["classes"].items() if one["f1"] is not None)
    leads = "each lead" if test["leads"] == "each" else ", ".join(map(str, test["leads"]))
    return f"{test['tested_on']}, {leads}, {test['beats']:,} beats ({test['protocol'].partition(':')[0]}): F1 of {f1}."


def _plain(value: Any) -> str:
    """Plain values of any depth in one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# Many recordings ------------------------------------------------------------------------------------------------------


def recordings_table(recordings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> Table:
    """A row a recording, from what is known about it and its summary by `rhythm.summary_of`.

    Of a recording that could not be annotated the summary is None, and ``about["error"]`` says why.
    """
    known = next((found for _, found in recordings if found is not None), None)  # all by one model
    burdened = ["V", "S"] if known is None or known["ectopy"] else [*known["classes"]][1:]
    names = ("minutes", "beats", *(f"{name} %" for name in burdened), "rate", "longest RR, s", "usable %")
    heads = [Column("record", text=True), *map(Column, names), Column("problems", text=True, wrap=True)]
    rows = []
    for about, found in recordings:
        if found is None:
            why = about.get("error", "not annotated")
            rows.append(Row([about["record"], *[NONE] * len(names), why], mark="caution"))
            continue
        shares = [found["classes"].get(name, {}).get("share") for name in burdened]
        longest = found["pauses"]["longest"]
        burdens = (_number(one, 2, factor=100) for one in shares)
        numbers = (
            Number(found["duration_s"] / 60, 1), Number(found["beats"]), *burdens, _number(found["rate"]["mean"], 0),
            _number(longest and longest["seconds"], 2), Number(found["usable_share"], 1, factor=100),
        )  # fmt: skip
        rows.append(Row([about["record"], *numbers, "; ".join(problems(found))]))
    return Table(columns=heads, rows=rows)


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is to be considered with the summary of a recording, in a few words each."""
    n = found["beats"]
    shares = {"noisy": found["doubtful"] / (n or 1), "uncertain": found["uncertain"] / (n or 1)}
    return [
        *["no beats"] * (not n),
        *[f"{_percent(found['usable_share'])} usable signal"] * (found["usable_share"] < LITTLE_SIGNAL),
        *[f"{_percent(share)} of beats {name}" for name, share in shares.items() if share > MANY_FLAGS],
    ]
