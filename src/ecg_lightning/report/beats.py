"""Beats on a page: errors and saliency on ECG paper, embeddings as scatter plots; HTML and SVG.

Colours are the custom properties of ``style.css`` alone; the leads of a beat are drawn one below the other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.explain.embedding import Embedding
from ecg_lightning.explain.mistakes import Mistake, Mistakes, ShownBeat
from ecg_lightning.explain.saliency import BeatSaliency, ClassSaliency, Saliency
from ecg_lightning.pipeline.explain import Explanation
from ecg_lightning.report.cells import MINUS, Column, Number, Row, Table, clean
from ecg_lightning.report.page import columns, join, note
from ecg_lightning.report.render import html

SECOND = 200
"""Units of a picture that are a second: a large square of ECG paper (5 mm, 200 ms) is 40 of them, a small one 8."""

SMALL, LARGE = 8, 40

PAPER = 160
"""Height of the paper of a single lead; a large square less for saliency, and of each of several leads."""

LEVELS = 6
"""Widths of a trace that shows saliency."""

N_COLOURS = 5
"""Classes, and patients, that have a colour of their own."""

PLOT = 400
"""Width and height of a scatter plot."""

HEIGHTS = {
    "beat": "Each beat is scaled to its own lowest and highest point: the height is not mV.",
    "record": "Beats are scaled to the lowest and highest point of their record: the height is not mV.",
    "none": "Each beat fills the height of its paper: 10 mm are not 1 mV.",
}

Leads = Sequence[Sequence[float]]
"""Samples by lead."""


def mistakes(found: Mistakes, about: Explanation) -> Markup:
    """The most confident errors, drawn on ECG paper; `about` has the rate, leads and scaling of the beats."""
    if not found.n:
        return Markup("<p>None of {} beats is predicted wrong.</p>").format(f"{found.n_beats:,}")
    kinds = ", ".join(f"{true} predicted as {predicted} {n:,}" for true, predicted, n in found.pairs)
    shown = "All are shown."
    if len(found.shown) < found.n:
        shown = f"Shown: {len(found.shown)} with high confidence, from different kinds of errors and different records."
    share = _percent(found.n / found.n_beats)
    mean = "Dashed: the mean of the record's own beats of the predicted class."
    return join(
        Markup("<p>{:,} of {:,} beats ({} %): {}. {}</p>").format(found.n, found.n_beats, share, kinds, shown),
        columns(*(_mistake(one, about) for one in found.shown), look="beat-grid"),
        note(
            "ECG paper at 25 mm/s: a large square is 200 ms.", HEIGHTS[about.scaling], _r_peak(about),
            mean if any(one.mistaken_for for one in found.shown) else "", _synthetic(about),
        ),
    )  # fmt: skip


def saliency(found: Saliency, about: Explanation) -> Markup:
    """Typical beats of each class with what contributes to their class, and the same of a model without training."""
    how = {
        "integrated gradients": "Integrated gradients of the class's logit from a flat line at the median of the beat; "
        "above each picture the logit of that line and of the beat. The contributions add up to the difference"
        f" within {_percent(found.error)} %. Compare parts of equal height, and signs: that a peak matters more than a "
        "flat line is due to the method.",
        "occlusion": "Occlusion: the change of the class's probability when a short window becomes a straight line.",
    }
    return join(
        Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
        note(
            how.get(found.method, f"Method: {found.method}."),
            "The wider the trace, the larger the contribution, each picture on its own scale. In colour, and areas "
            "above: for the class; in the colour of the text, and areas below: against it. Below each: a model without "
            "training; what looks the same in both does not come from training.",
            HEIGHTS[about.scaling], _r_peak(about), _synthetic(about),
        ),
        *(_class_saliency(one, found, about) for one in found.classes),
    )  # fmt: skip


def embedding(found: Embedding, about: Explanation) -> Markup:
    """Test beats in two dimensions, coloured by class and by patient."""
    counts = Counter(found.classes)
    colours = {name: _colour(about.classes.index(name)) for name in about.classes if counts[name]}
    plots = [_scatter(found, found.classes, colours, "By class")]
    if found.patients is not None:
        most = [name for name, _ in sorted(Counter(found.patients).items(), key=lambda one: (-one[1], one[0]))]
        colours = {name: _colour(i) for i, name in enumerate(most[:N_COLOURS])}
        rest = f"{len(most) - len(colours)} others"
        groups = [name if name in colours else rest for name in found.patients]
        colours |= {rest: "var(--muted)"} if len(most) > len(colours) else {}
        plots.append(_scatter(found, groups, colours, "By patient"))
    drawn = f"{len(found.x):,} of {found.n_beats:,} test beats, balanced by class as far as possible"
    return join(
        Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
        columns(*plots, look="scatter-grid"),
        note(
            f"{drawn}; {found.method}.", "Near points are similar to the model; distances between groups mean little.",
            _synthetic(about),
        ),
    )  # fmt: skip


# Cards


def _card(title: Markup, *pieces: object) -> Markup:
    return Markup('<figure class="beat-card"><figcaption class="beat-title">{}</figcaption>{}</figure>').format(
        title, join(*pieces)
    )


def _sub(text: object) -> Markup:
    return Markup('<span class="beat-sub">{}</span>').format(text)


def _mistake(one: Mistake, about: Explanation) -> Markup:
    beat, mean = one.beat, one.mistaken_for
    paper = _Paper(about, [*beat.signals, *(mean or [])], height=PAPER if len(beat.signals) == 1 else PAPER - LARGE)

    def traces(lead: int) -> Markup:
        dashed = _path(paper.trace(mean[lead]), "var(--muted)", 1.4, dashes="5 3") if mean else Markup("")
        return paper.lines(lead) + dashed + _path(paper.trace(beat.signals[lead]), "var(--ink)", 2)

    drawn, height = _stacked(traces, len(beat.signals), paper.height)
    true, predicted = (_swatch(_colour(about.classes.index(name))) + name for name in (beat.true, beat.predicted))
    label = f"a beat of class {beat.true} predicted as {beat.predicted}, {_place(beat)}"
    return _card(
        Markup("{} predicted as {}{}").format(true, predicted, _sub(_place(beat))),
        _svg(drawn + paper.axis(height), paper.width, height + 18, left=paper.left, label=label),
        _shares(beat, about),
    )


def _shares(beat: ShownBeat, about: Explanation) -> Markup:
    """Probabilities as a bar, and those that are visible in it as numbers."""
    ranked = sorted(beat.probabilities.items(), key=lambda share: -share[1])
    at, pieces = 0.0, Markup("")
    for name, share in ranked:
        pieces += Markup('<rect x="{}" width="{}" height="8" fill="{}"/>').format(
            _number(at), _number(300 * share), _colour(about.classes.index(name))
        )
        at += 300 * share
    shown = ", ".join(f"{name} {_percent(share)} %" for name, share in ranked if share >= 0.01 or name == beat.true)
    bar = Markup(
        '<svg class="beat-shares" viewBox="0 0 300 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>{}'
    )
    return bar.format(pieces, _sub(shown))


def _class_saliency(one: ClassSaliency, found: Saliency, about: Explanation) -> Markup:
    title = Markup("<h3>{}{}</h3>").format(_swatch(_colour(about.classes.index(one.name))), one.name)
    if not one.beats:
        return title + note("No beat of this class is predicted correctly.")
    of = "record" if one.beats[0].beat.record is not None else "class"
    text = f"{one.n_correct:,} predicted correctly; shown are those nearest to the mean of their {of}."
    if one.rank_correlation is not None:
        text += f" Rank correlation with the model without training {_signed(f'{one.rank_correlation:.2f}')}"
        if one.partial_correlation is not None:
            text += f", given the height of the beat {_signed(f'{one.partial_correlation:.2f}')}"
        text += "."
    return join(
        title, note(text), columns(*(_saliency(beat, found, about) for beat in one.beats), look="saliency-grid")
    )


def _saliency(one: BeatSaliency, found: Saliency, about: Explanation) -> Markup:
    beat, bars = one.beat, 34
    paper = _Paper(about, beat.signals, height=PAPER - LARGE)
    drawn, top = Markup(""), 0.0
    for name, shares in (("as trained", one.attributions), ("without training", one.randomised)):
        if not shares:
            continue
        largest = max((abs(share) for lead in shares for share in lead), default=0.0) or 1.0

        def panel(lead: int, shares: Leads = shares, largest: float = largest, name: str = name) -> Markup:
            inside = paper.lines(lead) + _weighted(paper, beat.signals[lead], shares[lead], largest)
            inside += _areas(paper, shares[lead], largest, bars)
            return inside + _text(paper.left + paper.width - 3, 12, name if lead == 0 else "", "end")

        stack, height = _stacked(panel, len(beat.signals), paper.height + bars + 4)
        drawn += Markup('<g transform="translate(0 {})">{}</g>').format(top, stack)
        top += height + 12
    label = f"saliency of a beat of class {beat.true}, {_place(beat)}, as trained and without training"
    title = Markup("{}: {} % {}; {} {} → {}").format(
        _place(beat), _percent(beat.probabilities[beat.true]), beat.true, found.unit,
        _signed(f"{one.baseline:.2f}"), _signed(f"{one.logit:.2f}"),
    )  # fmt: skip
    heads = [Column("context (0 is usual)", text=True), Column("value"), Column("contribution")]
    rows = [
        Row([share.name, *(Number(value, 2, signed=True) for value in (share.value, share.attribution))])
        for share in one.context
    ]
    return _card(
        _sub(title),
        _svg(drawn + paper.axis(top - 12), paper.width, top + 6, left=paper.left, label=label),
        rows and html(Table(columns=heads, rows=rows), "context of the beat"),
    )


def _scatter(found: Embedding, groups: Sequence[str], colours: dict[str, str], title: str) -> Markup:
    """One scatter plot: a path of dots for each group, the largest first, so that the small ones are on top."""
    counts, of = Counter(groups), np.asarray(groups)
    places = np.stack([_to_plot(found.x), PLOT - _to_plot(found.y)], axis=1)
    drawn = Markup('<rect width="{0}" height="{0}" fill="none" stroke="var(--line)"/>').format(PLOT)
    labels = Markup("")
    for name in sorted(colours, key=lambda name: (colours[name] != "var(--muted)", -counts[name])):
        own = places[of == name]
        drawn += _path("".join(f"M{_number(x)} {_number(y)}h0" for x, y in own), colours[name], 3.2)
        if colours[name] != "var(--muted)":
            # Where it is densest: its middle may be another group's, or nobody's.
            distances = np.hypot(*(own[:, None] - own[None]).transpose(2, 0, 1))
            x, y = own[(distances < PLOT / 16).sum(axis=1).argmax()]
            at = min(max(x, 20), PLOT - 20), min(max(y + 6, 16), PLOT - 5)
            labels += _text(*at, name, "middle", look="beat-label")
    items = Markup("").join(
        Markup("<li>{}{} {}</li>").format(_swatch(colours[name]), clean(name), f"{counts[name]:,}") for name in colours
    )
    label = f"{title}: {len(groups):,} test beats in two dimensions"
    legend = Markup('<ul class="legend">{}</ul>').format(items)
    return _card(Markup(title), _svg(drawn + labels, PLOT, PLOT, label=label), legend)


def _to_plot(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """To the plot's width, less a margin."""
    numbers = np.asarray(values, dtype=np.float64)
    extent = np.ptp(numbers) if len(numbers) else 0.0
    return 10 + (PLOT - 20) * ((numbers - numbers.min()) / extent if extent > 0 else np.full(len(numbers), 0.5))


# Paper


class _Paper:
    """ECG paper as wide as a beat can last, with time 0 at the R peak; all leads on one scale."""

    def __init__(self, about: Explanation, signals: Iterable[Sequence[float]], *, height: int) -> None:
        self.about, self.height = about, height
        # To whole small squares, so that the paper's edges are lines of it.
        self.left = -SMALL * (int(np.ceil(SECOND * about.before / SMALL - 1e-6)) or 1)
        right = SMALL * int(np.ceil(SECOND * (about.length / about.fs - about.before) / SMALL - 1e-6))
        self.width = right - self.left
        values = [value for signal in signals for value in signal]
        self.low, self.high = min(values), max(values)

    def x(self, position: float) -> float:
        return SECOND * (position / self.about.fs - self.about.before)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.height - 12 - (self.height - 26) * share

    def lines(self, lead: int) -> Markup:
        """Small and large squares, the R peak, and the lead's name where there are several."""
        drawn = Markup("")
        for step, colour in ((SMALL, "var(--ecg-fine)"), (LARGE, "var(--ecg-grid)")):
            first = -(-self.left // step) * step
            upright = "".join(f"M{x} 0V{self.height}" for x in range(first, self.left + self.width + 1, step))
            across = "".join(f"M{self.left} {y}h{self.width}" for y in range(0, self.height + 1, step))
            drawn += _path(upright + across, colour, 0.7 if step == SMALL else 0.9)
        if lead == 0:
            drawn += Markup('<path d="M-4 0h8l-4 7z" fill="var(--ink)"/>') + _text(7, 10, "R")
        names = self.about.lead_names
        return drawn + (_text(self.left + 4, self.height - 4, names[lead]) if len(names) > 1 else Markup(""))

    def axis(self, top: float) -> Markup:
        """Seconds from the R peak, below `top`."""
        labels = Markup("")
        for tick in range(-(-self.left // (2 * LARGE)) * 2 * LARGE, self.left + self.width + 1, 2 * LARGE):
            at_start, at_end = tick < self.left + 10, tick > self.left + self.width - 10
            text = _signed(f"{tick / SECOND:g}") + (" s" if tick == 0 else "")
            labels += _text(tick, top + 13, text, "start" if at_start else "end" if at_end else "middle")
        return labels

    def points(self, signal: Sequence[float]) -> list[str]:
        return [f"{_number(self.x(i))} {_number(self.y(value))}" for i, value in enumerate(signal)]

    def trace(self, signal: Sequence[float]) -> str:
        return "M" + "L".join(self.points(signal))


def _stacked(draw: Callable[[int], Markup], n: int, height: float) -> tuple[Markup, float]:
    """Panels of the leads one below the other, and their height."""
    panels = (Markup('<g transform="translate(0 {})">{}</g>').format(_number(at * height), draw(at)) for at in range(n))
    return Markup("").join(panels), n * height


def _weighted(paper: _Paper, signal: Sequence[float], shares: Sequence[float], largest: float) -> Markup:
    """A trace, on it its parts in colour, as wide as their contribution."""
    drawn, points = _path(paper.trace(signal), "var(--muted)", 1.2), paper.points(signal)
    levels = [round(LEVELS * share / largest) for share in shares]
    for level in range(1, LEVELS + 1):
        for sign, colour in ((-1, "var(--ink)"), (1, "var(--accent)")):
            of = [i for i, one in enumerate(levels) if one == sign * level]
            # To each from the one before it: half-way to either side would be truer, and twice as long.
            pieces = "".join(f"M{points[max(i - 1, 0)]}L{points[i]}" for i in of)
            drawn += _path(pieces, colour, 1.2 + 0.9 * level) if of else Markup("")
    return drawn


def _areas(paper: _Paper, shares: Sequence[float], largest: float, height: float) -> Markup:
    """Contributions as areas above and below a line, under the paper."""
    middle = paper.height + 2 + height / 2
    drawn = Markup("")
    for sign, colour in ((1, "var(--accent)"), (-1, "var(--ink)")):
        points = "L".join(
            f"{_number(paper.x(i))} {_number(middle - height / 2 * sign * max(sign * share, 0) / largest)}"
            for i, share in enumerate(shares)
        )
        start, end = (f"{_number(paper.x(at))} {_number(middle)}" for at in (0, len(shares) - 1))
        drawn += Markup('<path d="M{}L{}L{}z" fill="{}"/>').format(start, points, end, colour)
    return drawn + _path(f"M{paper.left} {_number(middle)}h{paper.width}", "var(--line)", 0.7)


# Pieces


def _svg(inside: Markup, width: float, height: float, *, label: str, left: float = 0) -> Markup:
    return Markup('<svg viewBox="{} 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _number(left), _number(width), _number(height), label, inside
    )


def _path(d: str, stroke: str, width: float, *, dashes: str = "") -> Markup:
    more = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else ""
    line = '<path d="{}" fill="none" stroke="{}" stroke-width="{}" stroke-linejoin="round" stroke-linecap="round"{}/>'
    return Markup(line).format(d, stroke, _number(width), more)


def _text(x: float, y: float, words: str, anchor: str = "start", *, look: str = "axis") -> Markup:
    text = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return text.format(look, _number(x), _number(y), anchor, clean(words)) if words else Markup("")


def _swatch(colour: str) -> Markup:
    return Markup('<span class="beat-swatch" style="background:{}"></span>').format(colour)


def _colour(at: int) -> str:
    return f"var(--class-{at})" if at < N_COLOURS else "var(--muted)"


def _r_peak(about: Explanation) -> str:
    begins = "times are relative to it" if about.before else "beats begin there"
    return f"R: the R peak, {begins}; a beat ends {about.rr_factor:g} RR intervals after it."


def _synthetic(about: Explanation) -> str:
    return "SYNTHETIC BEATS." if about.synthetic else ""


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


def _percent(share: float) -> str:
    """In percent, neither 100 nor, where something is there, 0."""
    text = f"{100 * share:.1f}"
    if text == "100.0":  # no prediction is certain
        return "> 99.9"
    return ("0" if share <= 0 else "< 0.1") if text == "0.0" else text


def _number(value: float) -> str:
    """With one decimal where there is one."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.0", "0") if value else "0"


def _signed(text: str) -> str:
    """With a minus instead of a hyphen, and none before a zero."""
    return text.lstrip("-+") if not text.strip("+-0.") else text.replace("-", MINUS)
