"""Beats in a report: mistakes and saliency on ECG paper, embeddings as scatter plots; HTML and SVG without a page.

Every fragment is well-formed, escaped, and needs nothing outside of it but colours: the custom properties ``--ink``,
``--muted``, ``--line``, ``--surface``, ``--accent``, ``--ecg-grid``, ``--ecg-fine`` and ``--class-0`` … ``--class-4``,
and the text class ``axis`` of the page's style sheet. How the fragments are laid out is `STYLE`, to be put into that
style sheet; its classes:

- ``beat-grid``: cards side by side, as many as fit; ``saliency-grid``, ``scatter-grid``: the same for wider ones;
- ``beat-card``: a figure; in it ``beat-title``, ``beat-sub`` (what is said in small), ``beat-shares`` (probabilities
  as a bar), ``beat-context`` (a table of what else is known of a beat);
- ``beat-class``: heading of a class; ``beat-note``: how to read the pictures; ``beat-verdict``: what they say;
- ``beat-legend``, ``beat-swatch``: names with their colours; ``beat-label``: a name in a scatter plot.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.explain.embedding import Embedding
from ecg_lightning.explain.mistakes import Mistake, Mistakes, ShownBeat
from ecg_lightning.explain.saliency import BeatSaliency, ClassSaliency, Saliency
from ecg_lightning.pipeline.explain import Explanation

STYLE = """
.beat-grid, .saliency-grid, .scatter-grid { display: grid; gap: 1.1rem 1.4rem; margin: .8rem 0; }
.beat-grid { grid-template-columns: repeat(auto-fill, minmax(min(100%, 15.5rem), 1fr)); }
.saliency-grid { grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.scatter-grid { grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.beat-card { margin: 0; break-inside: avoid; }
.beat-card svg { display: block; width: 100%; height: auto; max-width: 100%; }
.beat-card svg text { font-size: 11px; fill: var(--muted); }
.beat-card svg .beat-label { font-size: 17px; font-weight: 700; fill: var(--ink); paint-order: stroke;
  stroke: var(--surface); stroke-width: 4px; stroke-linejoin: round; }
.beat-title { font-weight: 600; margin-bottom: .25rem; }
.beat-sub { display: block; font-size: .82rem; font-weight: 400; color: var(--muted); }
.beat-sub, .beat-context { font-variant-numeric: tabular-nums; }
.beat-class { margin: 1.4rem 0 .2rem; }
.beat-note { font-size: .88rem; color: var(--muted); }
.beat-verdict { font-weight: 600; }
.beat-shares { margin: .3rem 0 .15rem; }
.beat-context { width: 100%; border-collapse: collapse; font-size: .8rem; }
.beat-context td, .beat-context th { padding: .1rem .3rem; text-align: right; font-weight: 400;
  border-top: 1px solid var(--line); }
.beat-context th:first-child, .beat-context td:first-child { text-align: left; }
.beat-context thead th { color: var(--muted); border-top: 0; }
.beat-legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; margin: .35rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; }
.beat-swatch { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em; }
"""
"""Layout of the fragments, without a colour of its own."""

SECOND = 200
"""Units of a picture that are a second: a large square of ECG paper (5 mm, 200 ms) is 40 of them, a small one 8."""

SMALL, LARGE = 8, 40

PAPER = 160
"""Height of the paper under a mistake; that of a saliency is a large square less."""

LEVELS = 6
"""Widths of a trace that shows saliency."""

N_COLOURS = 5
"""Classes, and patients, that have a colour of their own."""

PLOT = 400
"""Width and height of a scatter plot."""

HEIGHTS = {
    "beat": "Each beat is scaled to its own lowest and highest point, so that height is not mV.",
    "record": "Beats are scaled to the lowest and highest point of their record, so that height is not mV.",
    "none": "Each beat fills the height of its paper: 10 mm are not 1 mV.",
}


def mistakes(found: Mistakes, about: Explanation) -> Markup:
    """The most confident mistakes, drawn on ECG paper.

    Args:
        found: the mistakes.
        about: what tells classes, sampling rate, beginning and scaling of the beats.
    """
    if not found.n:
        return Markup('<p class="beat-verdict">None of {} beats was mistaken.</p>').format(f"{found.n_beats:,}")
    kinds = ", ".join(f"{true} called {called} {n:,}" for true, called, n in found.pairs)
    shown = (
        "All are shown."
        if len(found.shown) == found.n
        else f"Shown are {len(found.shown)} of those that the network was surest of, taking turns among kinds of "
        "mistakes and among records."
    )
    parts = [
        Markup("<p>{} of {} beats ({} %) {} mistaken: {}. {}</p>").format(
            f"{found.n:,}",
            f"{found.n_beats:,}",
            _percent(found.n / found.n_beats),
            "was" if found.n == 1 else "were",
            kinds,
            shown,
        ),
        Markup('<div class="beat-grid">{}</div>').format(Markup("").join(_mistake(one, about) for one in found.shown)),
        _note(
            "ECG paper as at 25 mm/s: a large square is 200 ms.",
            HEIGHTS[about.scaling],
            _where_r_is(about),
            "Dashed: the mean of the record's own beats of the class that it was mistaken for, where there are any."
            if any(one.mistaken_for for one in found.shown)
            else "",
            _synthetic(about),
        ),
    ]
    return Markup("\n").join(parts)


def saliency(found: Saliency, about: Explanation) -> Markup:
    """Typical beats of each class with what spoke for their class in them, above the same with fresh weights.

    Args:
        found: their saliency.
        about: as in `mistakes`.
    """
    parts = [
        Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
        _note(
            "Integrated gradients of the class's logit against a flat line at the height of the beat's median; above "
            "each picture the logit of that line and of the beat. The wider the trace, the more a part matters, each "
            "picture by its own scale. In colour, and areas up: it speaks for the class; in that of the letters, and "
            "areas down: against it.",
            "Below each: the same with fresh weights, which have learned nothing; what looks the same in both says "
            "nothing of the network.",
            f"The parts add up to the logit but for at most {_percent(found.error)} %.",
            "Compare parts of equal height, and signs: that a peak matters more than a flat line is the method's.",
            HEIGHTS[about.scaling],
            _where_r_is(about),
            _synthetic(about),
        ),
        *(_class_saliency(one, about) for one in found.classes),
    ]
    return Markup("\n").join(parts)


def embedding(found: Embedding, about: Explanation) -> Markup:
    """Test beats in two dimensions, coloured by class and by patient.

    Args:
        found: the embedding.
        about: as in `mistakes`.
    """
    counts = Counter(found.classes)
    names = [name for name in about.classes if counts[name]]
    by_class = {name: _class_colour(about.classes.index(name)) for name in names}
    plots = [_scatter(found, found.classes, by_class, title="By class", names=counts)]
    if found.patients is not None:
        most = [name for name, _ in sorted(Counter(found.patients).items(), key=lambda one: (-one[1], one[0]))]
        colours = {name: _class_colour(i) for i, name in enumerate(most[:N_COLOURS])}
        rest = f"{len(most) - len(colours)} others"
        groups = [name if name in colours else rest for name in found.patients]
        if len(most) > len(colours):
            colours[rest] = "var(--muted)"
        plots.append(_scatter(found, groups, colours, title="By patient", names=Counter(groups)))
    drawn = f"{len(found.x):,} of {found.n_beats:,} test beats, of each class as many or all there are"
    return Markup("\n").join(
        [
            Markup('<p class="beat-verdict">{}</p>').format(found.verdict),
            Markup('<div class="scatter-grid">{}</div>').format(Markup("").join(plots)),
            _note(
                f"{drawn}, by what the network's last layer is given: {found.method}.",
                "Near each other is alike to the network; distances between groups, and directions, mean little.",
                _synthetic(about),
            ),
        ]
    )


def remarks(about: Explanation) -> Markup:
    """Why something is not there."""
    return Markup("\n").join(Markup('<p class="beat-note">{}</p>').format(remark) for remark in about.remarks)


# ------------------------------------------------------------------------------------------------------------- cards


def _mistake(one: Mistake, about: Explanation) -> Markup:
    beat = one.beat
    paper = _Paper(about, [beat.signals[0], (one.mistaken_for or [[]])[0]], height=PAPER)
    drawn = paper.lines()
    if one.mistaken_for:
        drawn += _path(paper.trace(one.mistaken_for[0]), stroke="var(--muted)", width=1.4, dashes="5 3")
    drawn += _path(paper.trace(beat.signals[0]), stroke="var(--ink)", width=2)
    label = f"a beat of class {beat.true} that was called {beat.predicted}, {_place(beat)}"
    return Markup(
        '<figure class="beat-card"><figcaption class="beat-title">{}{} called {}{}<span class="beat-sub">{}</span>'
        "</figcaption>{}{}</figure>"
    ).format(
        _swatch(_class_colour(about.classes.index(beat.true))),
        beat.true,
        _swatch(_class_colour(about.classes.index(beat.predicted))),
        beat.predicted,
        _place(beat),
        _svg(drawn + paper.axis(), paper.width, PAPER + 18, left=paper.left, label=label),
        _shares(beat, about),
    )


def _shares(beat: ShownBeat, about: Explanation) -> Markup:
    """Probabilities as a bar, and those that can be seen in it in figures."""
    ranked = sorted(beat.probabilities.items(), key=lambda share: -share[1])
    at, pieces = 0.0, Markup("")
    for name, share in ranked:
        pieces += Markup('<rect x="{}" width="{}" height="8" fill="{}"/>').format(
            _number(at), _number(300 * share), _class_colour(about.classes.index(name))
        )
        at += 300 * share
    figures = ", ".join(f"{name} {_percent(share)} %" for name, share in ranked if share >= 0.01 or name == beat.true)
    bar = Markup(
        '<svg class="beat-shares" viewBox="0 0 300 8" preserveAspectRatio="none" style="height:8px" '
        'aria-hidden="true">{}</svg>'
    ).format(pieces)
    return bar + Markup('<span class="beat-sub">{}</span>').format(figures)


def _class_saliency(one: ClassSaliency, about: Explanation) -> Markup:
    title = Markup('<h4 class="beat-class">{}{}</h4>').format(
        _swatch(_class_colour(about.classes.index(one.name))), one.name
    )
    if not one.beats:
        return title + Markup('<p class="beat-note">No beat of this class was recognised.</p>')
    of = "record" if one.beats[0].beat.record is not None else "class"
    text = f"{one.n_correct:,} recognised; shown are those nearest to the mean of their {of}."
    if one.rank_correlation is not None and one.partial_correlation is not None:
        text += (
            f" Rank correlation with fresh weights {_signed(f'{one.rank_correlation:.2f}')}, without what both owe to "
            f"the beat's height {_signed(f'{one.partial_correlation:.2f}')}."
        )
    cards = Markup("").join(_saliency(beat, about) for beat in one.beats)
    return title + _note(text) + Markup('<div class="saliency-grid">{}</div>').format(cards)


def _saliency(one: BeatSaliency, about: Explanation) -> Markup:
    beat, height, bars = one.beat, PAPER - LARGE, 34
    panel = height + bars + 16
    paper = _Paper(about, [beat.signals[0]], height=height)
    drawn = Markup("")
    for top, name, shares in ((0, "as trained", one.attributions[0]), (panel, "fresh weights", one.fresh[0])):
        inside = paper.lines() + _weighted(paper, beat.signals[0], shares) + _bars(paper, shares, height + 2, bars)
        inside += Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
            _number(paper.left + paper.width - 3), 12, name
        )
        drawn += Markup('<g transform="translate(0 {})">{}</g>').format(top, inside)
    drawn += Markup('<g transform="translate(0 {})">{}</g>').format(panel + bars, paper.axis())
    label = f"saliency of a beat of class {beat.true}, {_place(beat)}, as trained and with fresh weights"
    rows = Markup("").join(
        Markup("<tr><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            share.name, _signed(f"{share.value:+.2f}"), _signed(f"{share.attribution:+.2f}")
        )
        for share in one.context
    )
    context = Markup(
        '<table class="beat-context"><thead><tr><th>context (0 is usual)</th><th>value</th>'
        "<th>share of logit</th></tr></thead><tbody>{}</tbody></table>"
    ).format(rows)
    return Markup(
        '<figure class="beat-card"><figcaption class="beat-title"><span class="beat-sub">{}: {} % {}; logit {} → {}'
        "</span></figcaption>{}{}</figure>"
    ).format(
        _place(beat),
        _percent(beat.probabilities[beat.true]),
        beat.true,
        _signed(f"{one.baseline:.1f}"),
        _signed(f"{one.logit:.1f}"),
        _svg(drawn, paper.width, 2 * panel + 16, left=paper.left, label=label),
        context if one.context else "",
    )


def _scatter(
    found: Embedding, groups: Sequence[str], colours: dict[str, str], *, title: str, names: Counter[str]
) -> Markup:
    """One scatter plot: a path of dots for each group, the largest first, so that the small ones lie on top."""
    places = np.stack([_spread_out(found.x), PLOT - _spread_out(found.y)], axis=1)
    of = np.asarray(groups)
    order = sorted(colours, key=lambda name: (colours[name] != "var(--muted)", -names[name]))
    drawn = Markup('<rect width="{0}" height="{0}" fill="none" stroke="var(--line)"/>').format(PLOT)
    labels = Markup("")
    for name in order:
        own = places[of == name]
        dots = "".join(f"M{_number(x)} {_number(y)}h0" for x, y in own)
        drawn += Markup('<path d="{}" fill="none" stroke="{}" stroke-width="3.2" stroke-linecap="round"/>').format(
            dots, colours[name]
        )
        if colours[name] != "var(--muted)":
            # Where it is densest: its middle may be another group's, or nobody's.
            distances = np.hypot(*(own[:, None] - own[None]).transpose(2, 0, 1))
            x, y = own[(distances < PLOT / 16).sum(axis=1).argmax()]
            labels += Markup('<text class="beat-label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                _number(min(max(x, 20), PLOT - 20)), _number(min(max(y + 6, 16), PLOT - 5)), name
            )
    legend = Markup("").join(
        Markup('<li>{}{} <span class="beat-sub" style="display:inline">{}</span></li>').format(
            _swatch(colours[name]), name, f"{names[name]:,}"
        )
        for name in colours
    )
    label = f"{title}: {len(groups):,} test beats in two dimensions"
    return Markup(
        '<figure class="beat-card"><figcaption class="beat-title">{}</figcaption>{}'
        '<ul class="beat-legend">{}</ul></figure>'
    ).format(title, _svg(drawn + labels, PLOT, PLOT, label=label), legend)


def _spread_out(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """To the plot's width, less a margin."""
    numbers = np.asarray(values, dtype=np.float64)
    extent = np.ptp(numbers) if len(numbers) else 0.0
    share = (numbers - numbers.min()) / extent if extent > 0 else np.full(len(numbers), 0.5)
    return 10 + (PLOT - 20) * share


# ------------------------------------------------------------------------------------------------------------- paper


class _Paper:
    """ECG paper as wide as a beat can last, with time 0 at the R peak, and as high as it is told."""

    def __init__(self, about: Explanation, signals: Iterable[Sequence[float]], *, height: int) -> None:
        self.fs = about.fs
        self.before = about.before
        self.height = height
        # To whole small squares, so that the paper's edges are lines of it.
        self.left = -SMALL * (int(np.ceil(SECOND * about.before / SMALL - 1e-6)) or 1)
        right = SMALL * int(np.ceil(SECOND * (about.length / about.fs - about.before) / SMALL - 1e-6))
        self.width = right - self.left
        values = [value for signal in signals for value in signal]
        self.low, self.high = min(values), max(values)

    def x(self, position: float) -> float:
        return SECOND * (position / self.fs - self.before)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.height - 12 - (self.height - 26) * share

    def lines(self) -> Markup:
        """Small and large squares, and the R peak."""
        drawn = Markup("")
        for step, colour in ((SMALL, "var(--ecg-fine)"), (LARGE, "var(--ecg-grid)")):
            first = -(-self.left // step) * step
            upright = "".join(f"M{x} 0V{self.height}" for x in range(first, self.left + self.width + 1, step))
            across = "".join(f"M{self.left} {y}h{self.width}" for y in range(0, self.height + 1, step))
            drawn += _path(upright + across, stroke=colour, width=0.7 if step == SMALL else 0.9)
        mark = Markup('<path d="M-4 0h8l-4 7z" fill="var(--ink)"/><text class="axis" x="7" y="10">R</text>')
        return drawn + mark

    def axis(self) -> Markup:
        """Seconds from the R peak, under the paper."""
        labels = Markup("")
        for tick in range(-(-self.left // (2 * LARGE)) * 2 * LARGE, self.left + self.width + 1, 2 * LARGE):
            at_start, at_end = tick < self.left + 10, tick > self.left + self.width - 10
            text = _signed(f"{tick / SECOND:g}") + (" s" if tick == 0 else "")
            labels += Markup('<text class="axis" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                tick, self.height + 13, "start" if at_start else "end" if at_end else "middle", text
            )
        return labels

    def points(self, signal: Sequence[float]) -> list[str]:
        return [f"{_number(self.x(i))} {_number(self.y(value))}" for i, value in enumerate(signal)]

    def trace(self, signal: Sequence[float]) -> str:
        return "M" + "L".join(self.points(signal))


def _weighted(paper: _Paper, signal: Sequence[float], shares: Sequence[float]) -> Markup:
    """A trace, on it its parts in colour, as wide as they matter."""
    drawn = _path(paper.trace(signal), stroke="var(--muted)", width=1.2)
    points, levels = paper.points(signal), _levels(shares)
    for level in range(1, LEVELS + 1):
        for sign, colour in ((-1, "var(--ink)"), (1, "var(--accent)")):
            of = [i for i, one in enumerate(levels) if one == sign * level]
            if of:
                # To each from the one before it: half-way to either side would be truer, and twice as long.
                pieces = "".join(f"M{points[max(i - 1, 0)]}L{points[i]}" for i in of)
                drawn += _path(pieces, stroke=colour, width=1.2 + 0.9 * level)
    return drawn


def _levels(shares: Sequence[float]) -> list[int]:
    """Shares by the largest of them in whole numbers, from -`LEVELS` to `LEVELS`."""
    largest = max(map(abs, shares), default=0.0) or 1.0
    return [round(LEVELS * share / largest) for share in shares]


def _bars(paper: _Paper, shares: Sequence[float], top: float, height: float) -> Markup:
    """Shares as areas above and below a line."""
    largest = max(map(abs, shares), default=0.0) or 1.0
    middle = top + height / 2
    drawn = Markup("")
    for sign, colour in ((1, "var(--accent)"), (-1, "var(--ink)")):
        points = "L".join(
            f"{_number(paper.x(i))} {_number(middle - height / 2 * sign * max(sign * share, 0) / largest)}"
            for i, share in enumerate(shares)
        )
        outline = (
            f"M{_number(paper.x(0))} {_number(middle)}L{points}L{_number(paper.x(len(shares) - 1))} {_number(middle)}z"
        )
        drawn += Markup('<path d="{}" fill="{}"/>').format(outline, colour)
    return drawn + _path(f"M{paper.left} {_number(middle)}h{paper.width}", stroke="var(--line)", width=0.7)


# ------------------------------------------------------------------------------------------------------------ pieces


def _svg(inside: Markup, width: float, height: float, *, label: str, left: float = 0) -> Markup:
    return Markup('<svg viewBox="{} 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _number(left), _number(width), _number(height), label, inside
    )


def _path(d: str, *, stroke: str, width: float, dashes: str | None = None) -> Markup:
    more = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else ""
    return Markup(
        '<path d="{}" fill="none" stroke="{}" stroke-width="{}" stroke-linejoin="round" stroke-linecap="round"{}/>'
    ).format(d, stroke, _number(width), more)


def _swatch(colour: str) -> Markup:
    return Markup('<span class="beat-swatch" style="background:{}"></span>').format(colour)


def _class_colour(at: int) -> str:
    return f"var(--class-{at})" if at < N_COLOURS else "var(--muted)"


def _note(*sentences: str) -> Markup:
    return Markup('<p class="beat-note">{}</p>').format(" ".join(sentence for sentence in sentences if sentence))


def _where_r_is(about: Explanation) -> str:
    begins = "from which times are" if about.before else "where beats begin"
    next_one = ", so that the next QRS complex is mostly in the picture" if about.rr_factor > 1 else ""
    return f"R marks the R peak, {begins}; a beat ends {about.rr_factor:g} RR intervals after that{next_one}."


def _synthetic(about: Explanation) -> str:
    return "SYNTHETIC BEATS: a simulation made them." if about.synthetic else ""


def _place(beat: ShownBeat) -> str:
    """Where a beat is: record and time, and the patient where that is another name."""
    if beat.record is None:
        return f"test beat {beat.row:,}"
    place = f"record {beat.record}"
    if beat.seconds is not None:
        minutes, seconds = divmod(beat.seconds, 60)
        place += f" at {int(minutes)}:{seconds:04.1f}"
    elif beat.sample is not None:
        place += f", sample {beat.sample:,}"
    if beat.patient in (None, beat.record):
        return place
    return f"{place}, {beat.patient if beat.patient.startswith('patient') else f'patient {beat.patient}'}"


def _percent(share: float) -> str:
    """In percent, neither 100 nor, where something is there, 0."""
    text = f"{100 * share:.1f}"
    if text == "100.0":  # nothing that a network says is certain
        return "> 99.9"
    if text == "0.0":
        return "0" if share <= 0 else "< 0.1"
    return text


def _number(value: float) -> str:
    """With one decimal where there is one."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.0", "0") if value else "0"


def _signed(text: str) -> str:
    """With a minus instead of a hyphen, and nothing before a zero."""
    return "0" + text[2:] if text.startswith(("-0", "+0")) and not text.strip("+-0.") else text.replace("-", "−")
