"""The page of an annotated recording: burden, rate, events on ECG paper, uncertain and typical beats, signal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.metrics import rhythm
from ecg_lightning.pipeline.data_report import AFTER_S, BEFORE_S, ClassFacts
from ecg_lightning.pipeline.explain import Explanation
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
HOUR = 3600.0
LITTLE_SIGNAL = 0.9  # share of usable signal below which a page warns
NAMES = {
    "N": "normal, bundle branch block, escape", "S": "supraventricular ectopic", "V": "ventricular ectopic",
    "F": "fusion", "Q": "paced, unknown or not classified",
}  # fmt: skip
KINDS = {"V": "ventricular", "S": "supraventricular"}

Item = TypeVar("Item")


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
            f"R peaks by {about['detector']}, classes by {about['model']}; {when}. For research; not a medical device."
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

    def look(self, name: str) -> str:
        return look_of(self.explanation, name) if name in self.names else "quiet"

    def clock(self, seconds: float, *, short: bool = False) -> str:
        """The time of day and, after midnight, the day; h:mm:ss from the start where that is not known."""
        if self.start is None:
            minutes, rest = divmod(int(seconds), 60)
            return f"{minutes // 60}:{minutes % 60:02d}" + f":{rest:02d}" * (
                not short or self.about["duration_s"] < 600
            )
        when = self.start + timedelta(seconds=seconds)
        day = (when.date() - self.start.date()).days
        shown = f"{when:%H:%M}" if short and self.about["duration_s"] >= 600 else f"{when:%H:%M:%S}"
        return shown + f" (day {day + 1})" * bool(day and not short)

    @cached_property
    def into_day(self) -> float:  # seconds from midnight to the start, by which hours and ticks are those of the clock
        return (
            0.0 if self.start is None else (self.start - self.start.replace(hour=0, minute=0, second=0)).total_seconds()
        )

    def axis(self) -> charts.Axis:
        """Of time, over the whole recording."""
        length = self.about["duration_s"]
        step = next((one for one in TICKS_S if length / one <= 13), TICKS_S[-1])
        ticks = np.arange(-self.into_day % step, length + 1e-6, step).tolist()
        name = "time of day" if self.start else "time from the start, h:mm" + ":ss" * (length < 600)
        return charts.Axis(name=name, low=0, high=length, ticks=ticks, words=lambda at: self.clock(at, short=True))

    def panel(self, title: str, description: str, y: charts.Axis, **drawn: Any) -> Markup:
        """A wide chart over time, in which stretches without usable signal are shaded."""
        spans = [(start, stop) for start, stop, *_ in self.about["unusable"]]
        chart = charts.panel(
            drawn.pop("lines", ()), title=title, description=description, x=self.axis(), y=y, width=WIDE, height=TALL,
            spans=spans, **drawn,
        )  # fmt: skip
        return Markup('<div class="wide" role="region" aria-label="{}" tabindex="0">{}</div>').format(title, chart)

    def draw(self, start: float, seconds: float, label: str, bracket: tuple[float, float] | None = None) -> Markup:
        """A stretch on ECG paper with the classes of its beats."""
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
    return (
        NONE
        if share is None
        else "< 0.01 %"
        if 0 < share < 0.00005
        else f"{100 * share:.{1 if share >= 0.1 else 2}f} %"
    )


def _per_minute(rate: float | None) -> str:
    return NONE if rate is None else f"{rate:.0f}/min"


# Parts of the page ----------------------------------------------------------------------------------------------------


def _overview(view: _View) -> Markup:
    about, found = view.about, view.summary
    classes, rate, pauses = found["classes"], found["rate"], found["pauses"]
    words = [f"{found['beats']:,} beats in {duration(about['duration_s'])}."]
    if found["ectopy"]:
        burdens = (
            f"{name} {_percent(classes[name]['share'])} ({classes[name]['beats']:,})" for name in found["ectopy"]
        )
        words[0] = f"{words[0][:-1]}: {', '.join(burdens)}."
    elif len(view.names) == 2:
        share, mean = classes[view.names[1]]["share"], _mean(view.probabilities[:, 1])
        words[0] = (
            f"{words[0][:-1]}: {_percent(share)} predicted {clean(view.names[1])}, mean probability {_or_none(mean)}."
        )
    if rate["mean"] is not None:
        words.append(f"Mean heart rate {_per_minute(rate['mean'])}.")
    for name, of in found["ectopy"].items():
        if of["longest"]:
            words.append(
                f"Longest run of {name}: {of['longest']['beats']} beats at {_per_minute(of['longest']['rate'])}."
            )
    if pauses["longest"] and pauses["over_2_s"]:
        words.append(f"Longest RR interval {pauses['longest']['seconds']:.2f} s.")
    facts = {
        "recording": about.get("path", ""),
        "start": f"{view.start:%Y-%m-%d %H:%M:%S}" if view.start else "not known; times are h:mm:ss from the start",
        "length": f"{duration(about['duration_s'])}, {_percent(found['usable_share'])} of it with usable signal",
        "leads": f"{', '.join(about['leads'])} (of {', '.join(about['all_leads'])}), {about['fs']:g} Hz",
        "model": about["model"],
        "R peaks": about["detector"],
    }
    return join(prose(words), definitions({name: clean(fact) for name, fact in facts.items()}), _care(view))


def _care(view: _View) -> Markup:
    found, n = view.summary, view.summary["beats"] or 1
    care = []
    if not found["beats"]:
        care.append("No beat was found.")
    if found["usable_share"] < LITTLE_SIGNAL:
        care.append(f"Only {_percent(found['usable_share'])} of the recording has usable signal.")
    if found["doubtful"] / n > 0.05:
        care.append(f"{_percent(found['doubtful'] / n)} of the beats are in noise or next to a gap.")
    if found["uncertain"] / n > 0.05:
        care.append(f"The model is uncertain about {_percent(found['uncertain'] / n)} of the beats.")
    if found["pauses"]["not_counted"]:
        n_long = found["pauses"]["not_counted"]
        care.append(
            f"{n_long:,} long RR intervals are over signal that is missing or doubtful, and not counted as pauses."
        )
    return aside("To be considered", care)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _or_none(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _classes(view: _View) -> Markup:
    heads = [Column("class", text=True), *map(Column, ("beats", "% of beats", "per hour", "mean probability"))]
    rows = []
    for at, (name, of) in enumerate(view.summary["classes"].items()):
        sure = _number(_mean(view.probabilities[view.classes == name, at]), 2)
        about = NAMES.get(name, "") if view.summary["ectopy"] else ""
        cell = Cell(name, swatch=at if at < 5 else None, below=about)
        rows.append(
            Row([cell, Number(of["beats"]), _number(of["share"], 2, factor=100), _number(of["per_hour"], 1), sure])
        )
    hours = "Per hour: of usable signal. Mean probability: of the beats of the class, of their own class."
    return join(html(Table(columns=heads, rows=rows), "Beats of each class"), note(hours), _ectopy(view))


def _ectopy(view: _View) -> Markup:
    if not view.summary["ectopy"]:
        return Markup("")
    names = ("single", "couplets", "triplets", "runs ≥ 4")
    heads = [Column("in a row", text=True), *map(Column, (*names, "longest", "fastest", "bigeminy", "trigeminy"))]
    rows = []
    for name, of in view.summary["ectopy"].items():
        counted = [Number(of[key]) for key in ("single", "couplets", "triplets", "runs")]
        cells: list[Cell | str] = []
        for event in (of["longest"], of["fastest"]):
            words = f"{event['beats']} beats" if event else NONE
            cells.append(
                Cell(words, below=f"{_per_minute(event['rate'])}, {view.clock(event['start_s'])}" if event else "")
            )
        for key in ("bigeminy", "trigeminy"):
            n, beats = of[key]["episodes"], of[key]["beats"]
            cells.append(Cell(f"{n:,}" if n else "0", below=f"{beats:,} beats" if n else ""))
        rows.append(Row([Cell(name, swatch=view.names.index(name), below=KINDS[name]), *counted, *cells]))
    fast = view.summary["ectopy"].get("V", {}).get("tachycardia", 0)
    words = (
        f"Of the triplets and runs of V, {fast:,} are faster than {rhythm.TACHYCARDIA:g}/min.",
        "Longest and fastest: of at least three beats. Fusion beats end a row, as any other class and unusable signal do.",
        "Bigeminy, trigeminy: episodes of at least three single ectopic beats with one, two beats of class N between them.",
    )
    return join(html(Table(columns=heads, rows=rows), "Ectopic beats in a row"), note(*words))


def _rate(view: _View) -> Markup:
    times, found = view.times, view.summary
    if len(times) < 2:
        return Markup("")
    rr = np.diff(times)
    high = float(min(3.0, max(1.0, np.ceil(5 * np.quantile(rr, 0.999)) / 5)))
    own = {name: view.classes[1:] == name for name in view.names}
    clouds = [
        charts.Cloud(x=times[1:][of], y=rr[of], look=f"{view.look(name)}{'' if at == 0 else ' large'}")
        for at, (name, of) in enumerate(own.items())
        if of.any()
    ]
    looks = {clean(name): view.look(name) for name in view.names if own[name].any()}
    y = charts.Axis(name="RR interval, s", low=0, high=high, ticks=charts.nice_ticks(0, high))
    described = f"RR intervals of {len(rr):,} beats by the class of the beat that ends them."
    beyond = int((rr > high).sum())
    words = (
        f"{described} {f'{beyond:,} above {high:g} s are drawn at the edge. ' * bool(beyond)}Shaded: no usable signal."
    )
    tachogram = view.panel("Tachogram", described, y, clouds=clouds)
    return join(
        figure(_trend(view), "Mean heart rate, /min."),
        figure(join(legend(looks, "Classes"), tachogram), words),
        columns(*_intervals(view, found)),
    )


def _trend(view: _View) -> Markup:
    """Mean rate of short periods."""
    length = view.about["duration_s"]
    bin_s = max(10.0, length / 480)
    means = [(0.5 * (one["start_s"] + one["stop_s"]), one["rate"]) for one in _periods(view, bin_s, bin_s)]
    rates = [rate for _, rate in means if rate is not None]
    low, high = (10 * np.floor(min(rates) / 10), 10 * np.ceil(max(rates) / 10 + 1e-9)) if rates else (40, 120)
    lines = [charts.Line(points=piece) for piece in _pieces(means)]
    y = charts.Axis(name="heart rate, /min", low=low, high=high, ticks=charts.nice_ticks(low, high))
    about = f"Means of {bin_s:.0f} s; from {min(rates, default=0):.0f} to {max(rates, default=0):.0f}/min."
    return view.panel("Heart rate", about, y, lines=lines)


def _pieces(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Points without those that have no value, divided there."""
    piece: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            piece.append((at, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _intervals(view: _View, found: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """Numbers about rate, pauses and variability, in two columns."""
    rate, pauses, hrv = found["rate"], found["pauses"], found["variability"]
    facts = {"mean heart rate": _per_minute(rate["mean"])}
    for name in ("lowest", "highest"):
        if event := rate[name]:
            words = (
                f"{_per_minute(event['rate'])} over {rate['intervals']} RR intervals, {view.clock(event['start_s'])}"
            )
            facts[f"{name} heart rate"] = words
    facts |= {f"RR intervals > {limit:g} s": f"{pauses[f'over_{limit:g}_s']:,}" for limit in rhythm.PAUSES_S}
    if longest := pauses["longest"]:
        facts["longest RR interval"] = f"{longest['seconds']:.2f} s, {view.clock(longest['start_s'])}"
    if hrv is None:
        return definitions(facts), note(
            "Variability is not computed: these classes do not tell normal from ectopic beats."
        )
    shown = {
        "N–N intervals": f"{hrv['intervals']:,}, {_percent(hrv['share'])} of all intervals",
        "SDNN": _in_ms(hrv["sdnn_ms"]),
        "RMSSD": _in_ms(hrv["rmssd_ms"]),
        "pNN50": _percent(hrv["pnn50"]),
    }
    if hrv["irregular"] is not None:
        n = round(hrv["irregular"] * hrv["groups"])
        shown["irregular"] = f"{n:,} of {hrv['groups']:,} groups of {rhythm.GROUP} N–N differences"
    about = note(
        "N–N: between neighbouring beats of class N, without other editing; SDNN depends on the length of the recording.",
        "Irregular: RMSSD above a tenth of the mean interval. It has many causes and names none of them.",
    )
    return definitions(facts), Markup("<div>{}</div>").format(join(definitions(shown), about))


def _in_ms(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f} ms"


def _periods(view: _View, period_s: float, first_s: float) -> list[dict[str, Any]]:
    return rhythm.periods(
        view.times, view.classes, names=view.names, duration_s=view.about["duration_s"], period_s=period_s,
        unusable=[(start, stop) for start, stop, *_ in view.about["unusable"]], first_s=first_s,
    )  # fmt: skip


def _course(view: _View) -> Markup:
    """Burden, or the probability of a second class of two, by hour or by a shorter period."""
    length = view.about["duration_s"]
    period = next((one for one in (60.0, 300.0, 600.0) if length <= 12 * one), HOUR)
    rows = _periods(view, period, period - view.into_day % period)
    names = list(view.summary["ectopy"]) or list(view.names)
    heads = [Column("from", text=True), *map(Column, ("usable, %", "beats", "mean rate, /min"))]
    for name in names:
        heads += [Column(f"{name}", about=f"beats of class {name}"), Column(f"{name}, %")]
    cells = []
    for one in rows:
        usable = one["usable_s"] / ((one["stop_s"] - one["start_s"]) or 1)
        cell: list[Cell | Number | str] = [Number(usable, 0, factor=100), Number(one["beats"]), _number(one["rate"], 0)]
        for name in names:
            n, share = one["classes"][name], one["classes"][name] / (one["beats"] or 1)
            cell += [Number(n), Cell(Number(share, 1, factor=100), shade=0.7 * share**0.5 if n else None)]
        cells.append(Row([view.clock(one["start_s"]), *cell]))
    table = html(Table(columns=heads, rows=cells), "By period", look="heat")
    if view.summary["ectopy"]:
        chart = _burden(view, rows, names)
    else:
        chart = _probability(view) if len(view.names) == 2 else Markup("")
    if len(rows) > 30:
        table = Markup("<details><summary>As a table</summary>{}</details>").format(table)
    return join(chart, note(f"Periods of {duration(period)}; percent of their beats."), table)


def _burden(view: _View, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
    """A line of steps for each ectopic class."""
    lines, top = [], 0.0
    for name in names:
        steps = []
        for one in rows:
            share = one["classes"][name] / one["beats"] if one["beats"] else None
            steps += [(one["start_s"], share), (one["stop_s"], share)]
            top = max(top, share or 0.0)
        lines += [charts.Line(points=piece, look=view.look(name)) for piece in _pieces(steps)]
    y = charts.percent_axis("% of beats", 0, min(1.0, max(0.01, 1.1 * top)))
    chart = view.panel("Burden over time", f"Share of {' and '.join(names)}, at most {_percent(top)}.", y, lines=lines)
    return figure(join(legend({name: view.look(name) for name in names}, "Classes"), chart))


def _probability(view: _View) -> Markup:
    """Of the second of two classes, of every beat."""
    name, values = view.names[1], view.probabilities[:, 1]
    known = np.isfinite(values)
    cloud = charts.Cloud(x=view.times[known], y=values[known], look=view.look(name))
    y = charts.percent_axis(f"probability of {clean(name)}, %")
    return figure(view.panel(f"Probability of {clean(name)}", f"Of {known.sum():,} beats.", y, clouds=[cloud]))


def _events(view: _View) -> Markup:
    cards = [
        _strip_card(clean(title), view.draw(at - LEAD_IN_S, STRIP_S, title, (at, event["stop_s"])))
        for title, at, event in _found_events(view)
    ]
    if not cards:
        return Markup("")
    words = (
        "The line marks the event; a longer one is shown from its start. Above each beat its class. Each lead is drawn",
        "around its own median; at 25 mm/s a small square is 40 ms, a large one 200 ms.",
    )
    return join(columns(*cards, look="strips"), note(*words))


def _found_events(view: _View) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    """Title, start and event of what is worth a look, the same event once."""
    found, events = view.summary, []
    for name, of in found["ectopy"].items():
        for key in ("longest", "fastest"):
            if event := of[key]:
                seconds = event["stop_s"] - event["start_s"]
                words = f"{event['beats']} beats at {_per_minute(event['rate'])}, {seconds:.1f} s"
                events.append((f"{key.capitalize()} run of {name}: {words}", event))
        if event := of["fastest_couplet"]:
            events.append((f"Fastest couplet of {name}: {_per_minute(event['rate'])}", event))
        for key in ("bigeminy", "trigeminy"):
            if event := of[key]["longest"]:
                seconds = event["stop_s"] - event["start_s"]
                events.append((f"Longest {key} of {name}: {event['beats']} {name} in {seconds:.1f} s", event))
    if (event := found["pauses"]["longest"]) and found["pauses"]["over_2_s"]:
        events.append((f"Longest RR interval: {event['seconds']:.2f} s", event))
    for key in ("highest", "lowest"):
        if event := found["rate"][key]:
            over = f"over {found['rate']['intervals']} RR intervals"
            events.append((f"{key.capitalize()} heart rate: {_per_minute(event['rate'])} {over}", event))
    shown = set()
    for title, event in events:
        if (place := (event["start_s"], event["stop_s"])) not in shown:
            shown.add(place)
            yield f"{title}, {view.clock(event['start_s'])}", event["start_s"], event


def _strip_card(title: Markup | str, *pieces: Any) -> Markup:
    card = Markup('<figure class="keep"><figcaption class="beat-title">{}</figcaption>{}</figure>')
    return card.format(title, join(*pieces))


def _doubtful(view: _View) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.any([np.char.find(view.flags, one) >= 0 for one in rhythm.DOUBTFUL], axis=0)
    return found


def _uncertain(view: _View) -> Markup:
    known = np.flatnonzero(np.isfinite(view.confidence) & ~_doubtful(view))
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
    below = (
        f"{uncertain:,} beats are below the confidence of {threshold:g} and flagged." if threshold is not None else ""
    )
    words = "The beats with the lowest confidence, at least three seconds apart, without those in noise."
    return join(note(words, below), columns(*cards, look="strips small-strips"))


def _typical(view: _View) -> Markup:
    """Medians of beats that are spread over the recording."""
    facts, names, fs, n = [], (), 0.0, 0
    for name in view.names:
        clean_ones = np.flatnonzero((view.classes == name) & (view.flags == ""))
        windows: list[Signals] = []
        for at in np.unique(np.linspace(0, len(clean_ones) - 1, TYPICAL).astype(int)) if len(clean_ones) else ():
            start = view.times[clean_ones[at]] - BEFORE_S
            if start < 0 or start + BEFORE_S + AFTER_S > view.about["duration_s"]:
                continue
            names, signals, fs = view.strip(start, BEFORE_S + AFTER_S)
            n = int((BEFORE_S + AFTER_S) * fs)
            if signals.shape[1] >= n and np.isfinite(signals[:, :n]).all():
                window = np.asarray(signals[:, :n], dtype=np.float64)
                windows.append(window - np.median(window, axis=1, keepdims=True))
        low, middle, high = np.quantile(windows, (0.1, 0.5, 0.9), axis=0) if windows else (None, None, None)
        curves = None if low is None else (low, middle, high)
        count = view.summary["classes"][name]["beats"]
        one = ClassFacts(
            name=name, n=count, people=None, quality=None, poor=0.0, typical=curves, n_typical=len(windows)
        )
        facts.append(one)
    if not any(one.typical for one in facts):
        return Markup("")
    about = Explanation(classes=view.names, fs=fs, lead_names=tuple(map(clean, names)), length=n, before=BEFORE_S)
    return typical(facts, about, millivolts=True)


def _signal(view: _View) -> Markup:
    flags = [
        Row([name, Number(int((np.char.find(view.flags, name) >= 0).sum()))])
        for name in (*rhythm.DOUBTFUL, "uncertain")
    ]
    counted = html(Table(columns=[Column("flag", text=True), Column("beats")], rows=flags), "Flags of beats")
    stretches = sorted(view.about["unusable"], key=lambda one: one[0] - one[1])[:STRETCHES]
    heads = [Column("from", text=True), Column("why", text=True), Column("seconds")]
    rows = [Row([view.clock(start), why, Number(stop - start, 1)]) for start, stop, why in sorted(stretches)]
    n, found = len(view.about["unusable"]), view.summary
    words = f"{n:,} stretches without usable signal, {duration(found['duration_s'] - found['usable_s'])} in all."
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
        "trained on": _plain(card.get("trained_on", "")),
        "expected scores": _plain(card.get("expected", "")),
        "classes": ", ".join(view.names),
        "R peaks": about["detector"],
        "abstention": f"below a confidence of {threshold:g}" if threshold is not None else "none",
        "versions": _plain(about.get("versions", "")),
        "attribution": _plain(card.get("attribution", "")),
    }
    shown: dict[str, Any] = {name: clean(fact) for name, fact in facts.items()}
    if command := about.get("command"):
        shown["command"] = Markup("<pre>{}</pre>").format(clean(command))
    return definitions(shown)


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
    names = ("hours", "beats", "V %", "S %", "rate", "longest RR, s", "usable %")
    heads = [Column("record", text=True), *map(Column, names), Column("problems", text=True, wrap=True)]
    rows = []
    for about, found in recordings:
        if found is None:
            rows.append(
                Row([about["record"], *[NONE] * len(names), about.get("error", "not annotated")], mark="caution")
            )
            continue
        shares = [found["classes"].get(name, {}).get("share") if name in found["ectopy"] else None for name in "VS"]
        longest = found["pauses"]["longest"]
        numbers = (
            Number(found["duration_s"] / HOUR, 2), Number(found["beats"]), *(_number(one, 2, factor=100) for one in shares),
            _number(found["rate"]["mean"], 0), _number(longest and longest["seconds"], 2),
            Number(found["usable_share"], 1, factor=100),
        )  # fmt: skip
        rows.append(Row([about["record"], *numbers, "; ".join(problems(found))]))
    return Table(columns=heads, rows=rows)


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is to be considered with the summary of a recording, in a few words each."""
    n = found["beats"]
    return [
        *["no beats"] * (not n),
        *["little usable signal"] * (found["usable_share"] < LITTLE_SIGNAL),
        *[f"{_percent(found['doubtful'] / n)} noisy"] * bool(n and found["doubtful"] / n > 0.05),
        *[f"{_percent(found['uncertain'] / n)} uncertain"] * bool(n and found["uncertain"] / n > 0.05),
    ]
