"""The page of an annotated recording: burden, rate, events on ECG paper, uncertain and typical beats, signal."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.metrics import rhythm
from ecg_lightning.report import charts
from ecg_lightning.report.cells import NONE, Cell, Column, Number, Row, Table, clean, duration
from ecg_lightning.report.page import Part, aside, columns, definitions, figure, join, legend, note, prose, render
from ecg_lightning.report.recording_beats import events, typical_beats, uncertain
from ecg_lightning.report.recording_view import ENDS, HOUR, Strip, View, number, per_minute, percent
from ecg_lightning.report.recordings import problems
from ecg_lightning.report.render import html

if TYPE_CHECKING:
    import pandas as pd

STRETCHES = 40  # without usable signal, the longest ones
MANY = 1500  # beats of a class, from which on each is a small point of the tachogram
FEW = 20  # beats, below which a share of them is not drawn
NAMES = {
    "N": "normal, bundle branch block, escape", "S": "supraventricular ectopic", "V": "ventricular ectopic",
    "F": "fusion", "Q": "paced, unknown or not classified",
}  # fmt: skip
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
    view = View(
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
        ("events", "Events", events(view)),
        ("uncertain", "Most uncertain beats", uncertain(view)),
        ("typical", "Typical beats", typical_beats(view)),
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


def _overview(view: View) -> Markup:
    about, found = view.about, view.summary
    classes, rate, pauses = found["classes"], found["rate"], found["pauses"]
    burdens = [f"{name} {percent(classes[name]['share'])} ({classes[name]['beats']:,})" for name in found["ectopy"]]
    if len(view.names) == 2:
        name, mean = view.names[1], number(_mean(view.probabilities[:, 1]), 2)
        burdens = [f"{clean(name)} {percent(classes[name]['share'])}", f"mean probability of {clean(name)} {mean}"]
    words = [f"{found['beats']:,} beats in {duration(about['duration_s'])}{': ' * bool(burdens)}{', '.join(burdens)}."]
    if rate["mean"] is not None:
        words.append(f"Mean heart rate {per_minute(rate['mean'])}.")
    for name, of in found["ectopy"].items():
        runs = [(key, of[key]) for key in ENDS if of[key]]
        runs = runs[: 1 if runs and runs[0][1] == runs[1][1] else 2]
        shown = (f"{key} {run['beats']} beats at {per_minute(run['rate'])}" for key, run in runs)
        words += [f"Runs of {name}: {', '.join(shown)}."] * bool(runs)
    if pauses["longest"] and pauses["over_2_s"]:
        words.append(f"Longest RR interval {pauses['longest']['seconds']:.2f} s.")
    facts = {
        "recording": about.get("path", ""),
        "start": f"{view.start:%Y-%m-%d %H:%M:%S}" if view.start else "not known; times are h:mm:ss from the start",
        "length": f"{duration(about['duration_s'])}, {percent(found['usable_share'])} of it with usable signal",
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


def _classes(view: View) -> Markup:
    heads = [Column("class", text=True), *map(Column, ("beats", "share", "per hour", "mean probability"))]
    rows = []
    for at, (name, of) in enumerate(view.summary["classes"].items()):
        sure = number(_mean(view.probabilities[view.classes == name, at]), 2)
        about = NAMES.get(name, "") if view.summary["ectopy"] else ""
        cell = Cell(name, swatch=at if at < 5 else None, below=about)
        rows.append(Row([cell, Number(of["beats"]), percent(of["share"]), number(of["per_hour"], 1), sure]))
    if rest := view.summary["without_class"]:
        rows.append(Row(["not classified", Number(rest), percent(rest / view.summary["beats"]), "", ""]))
    hours = "Per hour: of usable signal. Mean probability: of the beats of the class, of their own class."
    return join(html(Table(columns=heads, rows=rows), "Beats of each class"), note(hours), _ectopy(view))


def _ectopy(view: View) -> Markup:
    if not view.summary["ectopy"]:
        return Markup("")
    names = ("single", "couplets", "triplets", "runs ≥ 4")
    heads = [Column("in a row", text=True), *map(Column, (*names, *ENDS, "bigeminy", "trigeminy"))]
    rows = []
    for name, of in view.summary["ectopy"].items():
        counted = [Number(of[key]) for key in ("single", "couplets", "triplets", "runs")]
        ends = [of[key] for key in ENDS]
        places = [f"{per_minute(run['rate'])}, {view.clock(run['start_s'])}" if run else "" for run in ends]
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


def _rate(view: View) -> Markup:
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


def _intervals(view: View, found: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """Numbers about rate, pauses and variability, in two columns."""
    rate, pauses, hrv = found["rate"], found["pauses"], found["variability"]
    facts = {"mean heart rate": per_minute(rate["mean"])}
    over = f"over {rate['intervals']} RR intervals"
    for name in ("lowest", "highest"):
        if event := rate[name]:
            facts[f"{name} heart rate"] = f"{per_minute(event['rate'])} {over}, {view.clock(event['start_s'])}"
    facts |= {f"RR intervals > {limit:g} s": f"{pauses[f'over_{limit:g}_s']:,}" for limit in rhythm.PAUSES_S}
    if longest := pauses["longest"]:
        facts["longest RR interval"] = f"{longest['seconds']:.2f} s, {view.clock(longest['start_s'])}"
    if hrv is None:
        return definitions(facts), note("Variability is not computed: the model does not separate ectopic beats.")
    shown = {"N–N intervals": f"{hrv['intervals']:,}, {percent(hrv['share'])} of all intervals"}
    for name in ("SDNN", "RMSSD"):
        value = hrv[f"{name.lower()}_ms"]
        shown[name] = NONE if value is None else f"{value:.0f} ms"
    shown["pNN50"] = percent(hrv["pnn50"])
    if hrv["irregular"] is not None:
        n = round(hrv["irregular"] * hrv["groups"])
        shown["irregular"] = f"{n:,} of {hrv['groups']:,} groups of {rhythm.GROUP} N–N differences"
    about = note(
        "N–N: between neighbours of class N, without other editing. SDNN depends on the length of the recording.",
        "Irregular: RMSSD above a tenth of the mean interval. It describes the intervals and is no diagnosis.",
    )
    return definitions(facts), Markup("<div>{}</div>").format(join(definitions(shown), about))


def _periods(view: View, period_s: float, first_s: float) -> list[dict[str, Any]]:
    return rhythm.periods(
        view.times, view.classes, names=view.names, duration_s=view.about["duration_s"], unusable=view.unusable,
        usable=~rhythm.doubtful(view.flags), period_s=period_s, first_s=first_s,
    )  # fmt: skip


def _course(view: View) -> Markup:
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
            number(one["rate"], 0),
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


def _burden(view: View, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
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
    chart = view.panel("Burden over time", f"Share of {', '.join(names)}, at most {percent(top)}.", y, lines=lines)
    return figure(join(legend({clean(name): view.look(name) for name in names}, "Classes"), chart))


def _probability(view: View) -> Markup:
    """Of the second of two classes, of every beat."""
    name, values = view.names[1], view.probabilities[:, 1]
    known = np.isfinite(values)
    cloud = charts.Cloud(x=view.times[known], y=values[known], look=view.look(name))
    y = charts.percent_axis(f"probability of {clean(name)}, %")
    return figure(view.panel(f"Probability of {clean(name)}", f"Of {known.sum():,} beats.", y, clouds=[cloud]))


def _signal(view: View) -> Markup:
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


def _method(view: View) -> Markup:
    about, card = view.about, view.about.get("card") or {}
    threshold = about.get("threshold")
    facts = {
        "model": " – ".join(filter(None, (str(about["model"]), card.get("title", "")))),
        "trained on": _trained_on(card.get("trained_on") or {}),
        "classes": ", ".join(view.names) + "; at the model's operating point" * bool(about.get("operating_point")),
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
    coverage, error = (percent(one) for one in promise)
    return f"{text}; on the model's validation beats that kept {coverage}, of which {error} were wrong"


def _trained_on(stated: Mapping[str, Any]) -> str:
    """Databases and people of the card of weights."""
    databases, people = stated.get("databases") or {}, stated.get("patients") or {}
    words = ", ".join(str(one.get("title", name)) for name, one in databases.items())
    return f"{words}; {people['train']:,} people" if people.get("train") else words


def _expected(test: Mapping[str, Any]) -> str:
    """What a test says that the card of weights states."""
    f1 = ", ".join(f"{name} {percent(one['f1'])}" for name, one in test["classes"].items() if one["f1"] is not None)
    leads = "each lead" if test["leads"] == "each" else ", ".join(map(str, test["leads"]))
    return f"{test['tested_on']}, {leads}, {test['beats']:,} beats ({test['protocol'].partition(':')[0]}): F1 of {f1}."


def _plain(value: Any) -> str:
    """Plain values of any depth in one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
