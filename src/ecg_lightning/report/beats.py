"""Beats on a page: errors and saliency on ECG paper, embeddings as scatter plots; HTML and SVG.

Colours are the custom properties of ``style.css`` alone; the leads of a beat are drawn one below the other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.explain.facts import ClassFacts, Explanation
from ecg_lightning.explain.mistakes import Mistake, Mistakes, ShownBeat
from ecg_lightning.report.cells import MINUS, Column, Number, Row, Table, clean
from ecg_lightning.report.charts import text
from ecg_lightning.report.page import columns, join, legend, note
from ecg_lightning.report.render import html, swatch

if TYPE_CHECKING:
    from ecg_lightning.explain.embedding import Embedding
    from ecg_lightning.explain.saliency import BeatSaliency, ClassSaliency, Saliency

SECOND, SMALL, LARGE = 200, 8, 40  # units that are a second, a small square of ECG paper (40 ms), a large one (200 ms)
PAPER = 160  # height of the paper of a single lead; a large square less for saliency, and of each of several leads
TALLEST = 280  # height of the paper of typical beats in mV
BARS = 34  # height of the contributions below a trace
LEVELS = 6  # widths of a trace that shows saliency
N_COLOURS = 5  # classes, and patients, that have a colour of their own
PLOT = 400  # width and height of a scatter plot

HEIGHTS = {
    "beat": "Each beat is scaled to its own lowest and highest point: the height is not mV.",
    "record": "Beats are scaled to the lowest and highest point of their record: the height is not mV.",
    "none": "Each beat fills the height of its paper: 10 mm are not 1 mV.",
}
SYNTHETIC = "SYNTHETIC BEATS."
DASHED = "Dashed: the mean of the record's own beats of the predicted class."
WIDTHS = (
    "The wider the trace, the larger the contribution, each picture on its own scale. In colour, and areas above: for "
    "the class; in the colour of the text, and areas below: against it. Below each: a model without training; what "
    "looks the same in both does not come from training."
)
METHODS = {
    "integrated gradients": "Integrated gradients of the class's logit from a flat line at the median of the beat; "
    "above each picture the logit of that line and of the beat. The contributions add up to the difference within "
    "{} %. Compare parts of equal height, and signs: that a peak matters more than a flat line is due to the method.",
    "occlusion": "Occlusion: the change of the class's probability when a short window becomes a straight line.",
}


def mistakes(found: Mistakes, about: Explanation) -> Markup:
    """The most confident errors, drawn on ECG paper; `about` has the rate, leads and scaling of the beats."""
    if not found.n:
        return Markup("<p>None of {:,} beats is predicted wrong.</p>").format(found.n_beats)
    kinds = ", ".join(f"{true} predicted as {predicted} {n:,}" for true, predicted, n in found.pairs)
    some = f"Shown: {len(found.shown)} with high confidence, from different kinds of errors and different records."
    shown, share = some if len(found.shown) < found.n else "All are shown.", percent(found.n / found.n_beats)
    dashed = DASHED * any(one.mistaken_for for one in found.shown)
    return join(
        Markup("<p>{:,} of {:,} beats ({} %): {}. {}</p>").format(found.n, found.n_beats, share, kinds, shown),
        columns(*(_mistake(one, about) for one in found.shown), look="beat-grid"),
        note("ECG paper at 25 mm/s: a large square is 200 ms.", dashed, *_on_paper(about)),
    )


def saliency(found: "Saliency", about: Explanation) -> Markup:
    """Typical beats of each class with what contributes to their class, and the same of a model without training."""
    return join(
        Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
        note(METHODS[found.method].format(percent(found.error)), WIDTHS, *_on_paper(about)),
        *(_class_saliency(one, found, about) for one in found.classes),
    )


def typical(classes: Sequence[ClassFacts], about: Explanation, *, millivolts: bool) -> Markup:
    """The median beat of each class with the range of 80 % of its beats, all on one scale."""
    shown = [(one, one.typical) for one in classes if one.typical]
    values = np.concatenate([np.ravel(curve) for _, curves in shown for curve in curves])
    low, high, height, scale = values.min(), values.max(), PAPER, None
    if millivolts:  # 10 mm/mV, or a part of it where there is no room; lowest and highest value are lines of the paper
        for mm in (10.0, 5.0, 2.5, 1.0, 0.1):
            scale, square = mm * SMALL, LARGE / (mm * SMALL)
            low, high = square * np.floor(values.min() / square), square * np.ceil(values.max() / square)
            if (height := round(scale * (high - low))) <= TALLEST:
                break
    cards, area = [], Markup('<path d="M{}z" fill="var(--{})" opacity=".3"/>')
    for one, (bottom, median, top) in shown:
        paper, panels, look = _Paper(about, [[low, high]], height=height, scale=scale), [], look_of(about, one.name)
        for lead, curve in enumerate(median):
            around = "L".join([*paper.points(top[lead]), *reversed(paper.points(bottom[lead]))])
            band = area.format(around, "muted" if look == "quiet" else f"class-{look[1:]}")
            panels.append(paper.lines(lead) + band + _path(paper.trace(curve), "ink", 2))
        drawn, tall = _stacked(panels, paper.height)
        title = swatch(look, clean(one.name)) + _sub(f"median of {one.n_typical:,} beats")
        cards.append(_card(title, paper.svg(drawn, tall, f"a typical beat of class {one.name}")))
    words = f"{scale / SMALL:g} mm are 1 mV; each beat is shown around its own median." if scale else HEIGHTS["beat"]
    share = "The band holds 80 % of the beats at each time."
    return join(columns(*cards, look="beat-grid"), note("25 mm/s: a large square is 200 ms.", words, share))


def embedding(found: "Embedding", about: Explanation) -> Markup:
    """Test beats in two dimensions, coloured by class and by patient."""
    looks = {name: look_of(about, name) for name in about.classes if name in found.classes}
    plots = [_scatter(found, found.classes, looks, "By class")]
    if found.patients is not None:
        most = sorted(Counter(found.patients).items(), key=lambda one: (-one[1], one[0]))
        looks = {name: f"c{i}" for i, (name, _) in enumerate(most[:N_COLOURS])}
        rest = f"{len(most) - len(looks)} others"
        groups = [name if name in looks else rest for name in found.patients]
        plots.append(_scatter(found, groups, looks | ({rest: "quiet"} if rest in groups else {}), "By patient"))
    drawn = f"{len(found.x):,} of {found.n_beats:,} test beats, balanced by class as far as possible"
    near = "Near points are similar to the model; distances between groups mean little."
    return join(
        Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
        columns(*plots, look="scatter-grid"),
        note(f"{drawn}; {found.method}.", near, SYNTHETIC * about.synthetic),
    )


def _card(title: Markup, *pieces: object) -> Markup:
    card = Markup('<figure class="beat-card"><figcaption class="beat-title">{}</figcaption>{}</figure>')
    return card.format(title, join(*pieces))


def _sub(words: object) -> Markup:
    return Markup('<span class="beat-sub">{}</span>').format(words)


def _mistake(one: Mistake, about: Explanation) -> Markup:
    beat, mean = one.beat, one.mistaken_for
    paper = _Paper(about, [*beat.signals, *(mean or [])], height=PAPER if len(beat.signals) == 1 else PAPER - LARGE)
    panels = []
    for lead, signal in enumerate(beat.signals):
        dashed = _path(paper.trace(mean[lead]), "muted", 1.4, dashes="5 3") if mean else ""
        panels.append(paper.lines(lead) + dashed + _path(paper.trace(signal), "ink", 2))
    drawn, height = _stacked(panels, paper.height)
    true, predicted = (swatch(look_of(about, name), name) for name in (beat.true, beat.predicted))
    title = Markup("{} predicted as {}{}").format(true, predicted, _sub(_place(beat)))
    label = f"a beat of class {beat.true} predicted as {beat.predicted}, {_place(beat)}"
    return _card(title, paper.svg(drawn, height, label), shares(beat.probabilities, about, beat.true))


def shares(probabilities: Mapping[str, float], about: Explanation, true: str = "") -> Markup:
    """Probabilities as a bar, and as numbers those that are visible in it, and that of the `true` class."""
    ranked = sorted(probabilities.items(), key=lambda share: -share[1])
    at, pieces, piece = 0.0, Markup(""), Markup('<rect class="block {}" x="{}" width="{}" height="8"/>')
    for name, share in ranked:
        pieces += piece.format(look_of(about, name), _number(at), _number(300 * share))
        at += 300 * share
    shown = ", ".join(f"{name} {percent(share)} %" for name, share in ranked if share >= 0.01 or name == true)
    bar = Markup('<svg class="beat-shares" viewBox="0 0 300 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return bar.format(pieces) + _sub(shown)


def _class_saliency(one: "ClassSaliency", found: "Saliency", about: Explanation) -> Markup:
    title = Markup("<h3>{}</h3>").format(swatch(look_of(about, one.name), one.name))
    if not one.beats:
        return title + note("No beat of this class is predicted correctly.")
    of = "record" if one.beats[0].beat.record is not None else "class"
    words = [f"{one.n_correct:,} predicted correctly; shown are those nearest to the mean of their {of}."]
    if one.rank_correlation is not None:
        rank = Markup("Rank correlation with the model without training {}").format(Number(one.rank_correlation, 2))
        if one.partial_correlation is not None:
            rank += Markup(", given the height of the beat {}").format(Number(one.partial_correlation, 2))
        words.append(rank + ".")
    cards = columns(*(_saliency(beat, found, about) for beat in one.beats), look="saliency-grid")
    return join(title, note(*words), cards)


def _saliency(one: "BeatSaliency", found: "Saliency", about: Explanation) -> Markup:
    beat, drawn, top = one.beat, Markup(""), 0.0
    paper = _Paper(about, beat.signals, height=PAPER - LARGE)
    for name, shares in (("as trained", one.attributions), ("without training", one.randomised)):
        if not shares:
            continue
        largest = max((abs(share) for lead in shares for share in lead), default=0.0) or 1.0
        panels = []
        for lead, (signal, of_lead) in enumerate(zip(beat.signals, shares, strict=True)):
            relative = [share / largest for share in of_lead]
            words = text(paper.left + paper.width - 3, 12, name, "end") if lead == 0 else ""
            panels.append(paper.lines(lead) + _weighted(paper, signal, relative) + _areas(paper, relative) + words)
        stack, height = _stacked(panels, paper.height + BARS + 4)
        drawn += _moved(stack, top)
        top += height + 12
    title = Markup("{}: {} % {}; {} {} → {}").format(
        _place(beat), percent(beat.probabilities[beat.true]), beat.true, found.unit, Number(one.baseline, 2),
        Number(one.logit, 2),
    )  # fmt: skip
    label = f"saliency of a beat of class {beat.true}, {_place(beat)}, as trained and without training"
    heads = [Column("context (0 is usual)", text=True), Column("value"), Column("contribution")]
    pairs = ((share, (share.value, share.attribution)) for share in one.context)
    rows = [Row([share.name, *(Number(value, 2, signed=True) for value in values)]) for share, values in pairs]
    context = rows and html(Table(columns=heads, rows=rows), "context of the beat")
    return _card(_sub(title), paper.svg(drawn, top - 12, label), context)


def _scatter(found: "Embedding", groups: Sequence[str], looks: Mapping[str, str], title: str) -> Markup:
    """One scatter plot: a path of dots for each group, the largest first, so that the small ones are on top."""
    counts, of = Counter(groups), np.asarray(groups)
    places = np.stack([_to_plot(found.x), PLOT - _to_plot(found.y)], axis=1)
    drawn = Markup('<rect width="{0}" height="{0}" fill="none" stroke="var(--line)"/>').format(PLOT)
    labels = Markup("")
    for name in sorted(looks, key=lambda name: (looks[name] != "quiet", -counts[name])):
        own, colour = places[of == name], "muted" if looks[name] == "quiet" else f"class-{looks[name][1:]}"
        drawn += _path("".join(f"M{_number(x)} {_number(y)}h0" for x, y in own), colour, 3.2)
        if looks[name] != "quiet":
            # Where it is densest: its middle may be in another group, or empty.
            distances = np.hypot(*(own[:, None] - own[None]).transpose(2, 0, 1))
            x, y = own[(distances < PLOT / 16).sum(axis=1).argmax()]
            at = min(max(x, 20), PLOT - 20), min(max(y + 6, 16), PLOT - 5)
            labels += text(*at, clean(name), "middle", look="beat-label")
    keys = legend({f"{clean(name)} {counts[name]:,}": look for name, look in looks.items()}, title)
    label = f"{title}: {len(groups):,} test beats in two dimensions"
    return _card(Markup(title), _svg(drawn + labels, PLOT, PLOT, label), keys)


def _to_plot(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """To the plot's width, less a margin."""
    numbers = np.asarray(values, dtype=np.float64)
    extent = np.ptp(numbers) if len(numbers) else 0.0
    return 10 + (PLOT - 20) * ((numbers - numbers.min()) / extent if extent > 0 else np.full(len(numbers), 0.5))


class _Paper:
    """ECG paper as wide as a beat can last, with time 0 at the R peak; all leads on one scale.

    It fills the height, or has a `scale` in units of height for one of the signals.
    """

    def __init__(
        self, about: Explanation, signals: Iterable[Sequence[float]], *, height: int, scale: float | None = None
    ) -> None:
        self.about, self.height, self.scale = about, height, scale
        # To whole small squares, so that the paper's edges are lines of it.
        self.left = -SMALL * (int(np.ceil(SECOND * about.before / SMALL - 1e-6)) or 1)
        right = SMALL * int(np.ceil(SECOND * (about.length / about.fs - about.before) / SMALL - 1e-6))
        self.width = right - self.left
        values = [value for signal in signals for value in signal]
        self.low, self.high = min(values), max(values)

    def x(self, position: float) -> float:
        return SECOND * (position / self.about.fs - self.about.before)

    def y(self, value: float) -> float:
        if self.scale is not None:
            return self.scale * (self.high - value)
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.height - 12 - (self.height - 26) * share

    def points(self, signal: Sequence[float]) -> list[str]:
        return [f"{_number(self.x(i))} {_number(self.y(value))}" for i, value in enumerate(signal)]

    def trace(self, signal: Sequence[float]) -> str:
        return "M" + "L".join(self.points(signal))

    def lines(self, lead: int) -> Markup:
        """Small and large squares, the R peak, and the lead's name where there are several."""
        drawn = Markup("")
        for step, colour, width in ((SMALL, "ecg-fine", 0.7), (LARGE, "ecg-grid", 0.9)):
            first = -(-self.left // step) * step
            upright = "".join(f"M{x} 0V{self.height}" for x in range(first, self.left + self.width + 1, step))
            across = "".join(f"M{self.left} {y}h{self.width}" for y in range(0, self.height + 1, step))
            drawn += _path(upright + across, colour, width)
        if lead == 0:
            drawn += Markup('<path d="M-4 0h8l-4 7z" fill="var(--ink)"/>') + text(7, 10, "R")
        names = self.about.lead_names
        return drawn + (text(self.left + 4, self.height - 4, clean(names[lead])) if len(names) > 1 else "")

    def svg(self, drawn: Markup, height: float, label: str) -> Markup:
        """The whole picture, with seconds from the R peak below `height`."""
        right = self.left + self.width
        for tick in range(-(-self.left // (2 * LARGE)) * 2 * LARGE, right + 1, 2 * LARGE):
            anchor = "start" if tick < self.left + 10 else "end" if tick > right - 10 else "middle"
            words = f"{tick / SECOND:g}".replace("-", MINUS) if tick else "0 s"
            drawn += text(tick, height + 13, words, anchor)
        return _svg(drawn, self.width, height + 18, label, left=self.left)


def _stacked(panels: Sequence[Markup], height: float) -> tuple[Markup, float]:
    """Panels of the leads one below the other, and their height."""
    return Markup("").join(_moved(one, at * height) for at, one in enumerate(panels)), len(panels) * height


def _moved(drawn: Markup, down: float) -> Markup:
    return Markup('<g transform="translate(0 {})">{}</g>').format(_number(down), drawn)


def _weighted(paper: _Paper, signal: Sequence[float], shares: Sequence[float]) -> Markup:
    """A trace, on it its parts in colour, as wide as their contribution from -1 to 1."""
    drawn, points = _path(paper.trace(signal), "muted", 1.2), paper.points(signal)
    levels = [round(LEVELS * share) for share in shares]
    for level in range(1, LEVELS + 1):
        for sign, colour in ((-1, "ink"), (1, "accent")):
            # To each from the one before it: half-way to either side would be truer, and twice as long.
            of = (i for i, one in enumerate(levels) if one == sign * level)
            if pieces := "".join(f"M{points[max(i - 1, 0)]}L{points[i]}" for i in of):
                drawn += _path(pieces, colour, 1.2 + 0.9 * level)
    return drawn


def _areas(paper: _Paper, shares: Sequence[float]) -> Markup:
    """Contributions from -1 to 1 as areas above and below a line, under the paper."""
    middle = paper.height + 2 + BARS / 2
    drawn, ends = Markup(""), [f"{_number(paper.x(at))} {_number(middle)}" for at in (0, len(shares) - 1)]
    for sign, colour in ((1, "accent"), (-1, "ink")):
        heights = (middle - BARS / 2 * sign * max(sign * share, 0) for share in shares)
        points = "L".join(f"{_number(paper.x(i))} {_number(height)}" for i, height in enumerate(heights))
        drawn += Markup('<path d="M{}L{}L{}z" fill="var(--{})"/>').format(ends[0], points, ends[1], colour)
    return drawn + _path(f"M{paper.left} {_number(middle)}h{paper.width}", "line", 0.7)


def _svg(inside: Markup, width: float, height: float, label: str, *, left: float = 0) -> Markup:
    svg = Markup('<svg viewBox="{} 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return svg.format(_number(left), _number(width), _number(height), label, inside)


def _path(d: str, colour: str, width: float, *, dashes: str = "") -> Markup:
    more = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else ""
    line = Markup('<path class="stroke" d="{}" stroke="var(--{})" stroke-width="{}"{}/>')
    return line.format(d, colour, _number(width), more)


def look_of(about: Explanation, name: str) -> str:
    """The colour of a class."""
    at = about.classes.index(name)
    return f"c{at}" if at < N_COLOURS else "quiet"


def _on_paper(about: Explanation) -> tuple[str, ...]:
    """How to read beats on paper, and whether they are simulated."""
    begins = "times are relative to it" if about.before else "beats begin there"
    peak = f"R: the R peak, {begins}; a beat ends {about.rr_factor:g} RR intervals after it."
    return HEIGHTS[about.scaling], peak, SYNTHETIC * about.synthetic


def _place(beat: ShownBeat) -> str:
    """Where a beat is: record and time, and the patient where that is another name."""
    if beat.record is None:
        return f"test beat {beat.row:,}"
    place = f"record {clean(beat.record)}"
    if beat.seconds is not None:
        minutes, seconds = divmod(beat.seconds, 60)
        place += f" at {int(minutes)}:{seconds:04.1f}"
    elif beat.sample is not None:
        place += f", sample {beat.sample:,}"
    if beat.patient in (None, beat.record):
        return place
    patient = clean(beat.patient)
    return f"{place}, {patient if patient.startswith('patient') else f'patient {patient}'}"


def percent(share: float) -> str:
    """In percent, neither 100 nor, where something is there, 0."""
    shown = f"{100 * share:.1f}"
    if shown == "100.0":  # no prediction is certain
        return "> 99.9"
    return ("0" if share <= 0 else "< 0.1") if shown == "0.0" else shown


def _number(value: float) -> str:
    """With one decimal where there is one."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.0", "0") if value else "0"
